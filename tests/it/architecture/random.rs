//! Documents at random, whole and damaged.

use irori::architecture::{Activation, Architecture};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{assert_fixed_point, functional};

/// A layer that fits an image of any size, with options at random.
fn image_layer() -> impl Strategy<Value = Value> {
    let padding = prop_oneof![Just("valid"), Just("same")];
    let activation = prop::sample::select(Activation::names().collect::<Vec<_>>());
    let window = (1usize..4, 1usize..4, 1usize..3, padding, activation);
    (0..14, window, any::<bool>(), 1usize..9).prop_map(
        |(kind, (rows, columns, stride, padding, activation), flag, count)| {
            let size = [rows, columns];
            match kind {
                0 => json!({"class_name": "Conv2D", "filters": count, "kernel_size": size, "strides": stride, "padding": padding, "activation": activation, "use_bias": flag}),
                1 => json!({"class_name": "Conv2D", "filters": count, "kernel_size": size, "dilation_rate": stride, "padding": padding, "kernel_regularizer": "l2"}),
                2 => json!({"class_name": "DepthwiseConv2D", "kernel_size": size, "strides": stride, "padding": padding, "depth_multiplier": 1 + count % 2}),
                3 => json!({"class_name": "SeparableConv2D", "filters": count, "kernel_size": size, "padding": padding, "activation": activation}),
                4 => json!({"class_name": "MaxPooling2D", "pool_size": size, "padding": padding}),
                5 => json!({"class_name": "AveragePooling2D", "pool_size": size, "strides": stride, "padding": padding}),
                6 => json!({"class_name": "BatchNormalization", "scale": flag, "momentum": 0.1 * rows as f64, "trainable": flag}),
                7 => json!({"class_name": "LayerNormalization", "center": flag, "axis": if flag { json!(-1) } else { json!([1, 2, 3]) }}),
                8 => json!({"class_name": "ZeroPadding2D", "padding": [[rows, 0], [1, columns]]}),
                9 if flag => json!({"class_name": "SpatialDropout2D", "rate": 0.5, "trainable": count > 4}),
                9 => json!({"class_name": "Dropout", "rate": 0.1 * rows as f64, "seed": count}),
                10 => json!({"class_name": "UpSampling2D", "size": size}),
                11 => json!({"class_name": "Rescaling", "scale": 1.0 / count as f64}),
                12 => json!({"class_name": "LeakyReLU", "negative_slope": 0.1 * rows as f64}),
                _ => json!({"class_name": "Dense", "units": count, "activation": activation}),
            }
        },
    )
}

fn chain() -> impl Strategy<Value = Value> {
    let layers = prop::collection::vec(image_layer(), 0..8);
    (layers, 12usize..30, 12usize..30, 1usize..5, 1usize..12).prop_map(
        |(mut layers, height, width, channels, classes)| {
            layers.push(json!({"class_name": "GlobalAveragePooling2D"}));
            layers.push(json!({"class_name": "Dense", "units": classes, "activation": "softmax"}));
            layers[0]["input_shape"] = json!([height, width, channels]);
            json!({ "layers": layers })
        },
    )
}

/// Replaces the value that comes `at`th in the document by another.
fn replace(value: &mut Value, at: &mut usize, by: &Value) -> bool {
    if *at == 0 {
        *value = by.clone();
        return true;
    }
    *at -= 1;
    match value {
        Value::Array(list) => list.iter_mut().any(|item| replace(item, at, by)),
        Value::Object(map) => map.values_mut().any(|item| replace(item, at, by)),
        _ => false,
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3i64..40).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!(1u64 << 31)),
        "[a-zA-Z_0-9]{0,12}".prop_map(Value::from),
        Just(json!("channels_first")),
        Just(json!("same")),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            inner.prop_map(|value| json!({"class_name": "Dense", "config": value})),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_chains_come_back_the_same(document in chain()) {
        match Architecture::from_value(&document) {
            Ok(architecture) => {
                assert_fixed_point(&architecture);
                let parameters: usize = architecture.variables().iter()
                    .map(|variable| variable.shape.iter().product::<usize>())
                    .sum();
                let text = parameters.to_string();
                let total = architecture.summary().lines()
                    .find_map(|line| line.strip_prefix(" Total params: ").map(str::to_owned))
                    .expect("a total");
                let total: String = total.split(' ').next().expect("a number").replace(',', "");
                prop_assert_eq!(total, text);
            }
            // Enough valid windows one after the other leave nothing of the image.
            Err(error) => prop_assert_eq!(error.code(), "incompatible_input"),
        }
    }

    #[test]
    fn a_changed_document_is_read_or_refused(
        document in chain(),
        written in any::<bool>(),
        at in 0usize..400,
        by in any_value(),
    ) {
        let mut document = match Architecture::from_value(&document) {
            Ok(architecture) if written => architecture.to_json(),
            _ => document,
        };
        replace(&mut document, &mut { at }, &by);
        match Architecture::from_value(&document) {
            Ok(architecture) => assert_fixed_point(&architecture),
            Err(error) => prop_assert!(!error.to_string().is_empty() && error.to_string().len() < 5_000),
        }
    }

    #[test]
    fn a_changed_functional_document_is_read_or_refused(
        file in prop::sample::select(vec!["keras2", "keras3"]),
        at in 0usize..300,
        by in any_value(),
    ) {
        let mut document = functional::chain(file);
        replace(&mut document, &mut { at }, &by);
        match Architecture::from_value(&document) {
            Ok(architecture) => assert_fixed_point(&architecture),
            Err(error) => prop_assert!(!error.to_string().is_empty() && error.to_string().len() < 5_000),
        }
    }

    #[test]
    fn a_damaged_text_is_read_or_refused(
        document in chain(),
        place in any::<prop::sample::Index>(),
        byte in any::<char>(),
    ) {
        let mut text: Vec<char> = document.to_string().chars().collect();
        let place = place.index(text.len());
        text[place] = byte;
        let text: String = text.into_iter().collect();
        if let Ok(architecture) = Architecture::from_json(&text) {
            assert_fixed_point(&architecture);
        }
    }
}
