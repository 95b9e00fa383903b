//! Files of real Keras versions, read.

use irori::interchange::{Format, import, import_beside, read_safetensors};
use serde_json::{Value, json};

use super::*;

/// What the script that wrote the fixtures says must be read from `file`.
fn expected(file: &str) -> BTreeMap<String, (Vec<usize>, Vec<u32>)> {
    let prefix = format!("{file}:");
    let found: BTreeMap<_, _> = bits(&read_safetensors(&fixture("expected.safetensors")).unwrap())
        .into_iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(&prefix)?.to_owned(), value)))
        .collect();
    assert!(!found.is_empty(), "nothing is expected of {file}");
    found
}

#[test]
fn whole_models_of_every_keras_give_their_weights_bit_for_bit() {
    let files = [
        ("keras3.h5", Format::H5, Some("3.15.1")),
        ("keras3.keras", Format::Keras, Some("3.15.1")),
        ("deflated.keras", Format::Keras, Some("3.15.1")),
        ("tf_keras.h5", Format::H5, Some("2.21.0")),
        ("tf_keras.keras", Format::Keras, Some("2.21.0")),
        ("keras2_14.keras", Format::Keras, Some("2.21.0")),
        ("keras2_0.h5", Format::H5, Some("2.0.8")),
        ("keras2_0_variable.h5", Format::H5, Some("2.1.6")),
        ("keras2_0_split.h5", Format::H5, Some("2.3.1")),
        ("keras2_0_theano.h5", Format::H5, Some("2.0.8")),
        ("keras2_0_channels_first.h5", Format::H5, Some("2.0.8")),
        ("keras1.h5", Format::H5, Some("1.2.2")),
        ("keras1_theano.h5", Format::H5, Some("1.2.2")),
        ("float16.h5", Format::H5, Some("3.15.1")),
        ("float16.keras", Format::Keras, Some("3.15.1")),
        ("bfloat16.h5", Format::H5, Some("3.15.1")),
        ("bfloat16.keras", Format::Keras, Some("3.15.1")),
        ("float64.h5", Format::H5, Some("3.15.1")),
        ("float64.keras", Format::Keras, Some("3.15.1")),
        ("mixed_float16.h5", Format::H5, Some("3.15.1")),
        ("mixed_float16.keras", Format::Keras, Some("3.15.1")),
    ];
    for (file, format, version) in files {
        let imported =
            import(fixture(file), None).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(bits(&imported.parameters), expected(file), "{file}");
        assert_eq!(
            imported.parameters.check(&imported.architecture),
            Ok(()),
            "{file}"
        );
        assert_eq!(imported.source.format, format, "{file}");
        assert_eq!(imported.source.keras_version.as_deref(), version, "{file}");
    }
}

#[test]
fn weights_alone_go_to_the_architecture_beside_them() {
    for (file, document, format) in [
        ("keras3.weights.h5", "keras3.json", Format::Weights),
        ("tf_keras.weights.h5", "tf_keras.json", Format::Weights),
        (
            "tf_keras_weights.h5",
            "tf_keras.json",
            Format::LegacyWeights,
        ),
    ] {
        assert_eq!(
            code(import(fixture(file), None)),
            "architecture_missing",
            "{file}"
        );
        let imported = import(fixture(file), Some(architecture(document))).unwrap();
        assert_eq!(bits(&imported.parameters), expected(file), "{file}");
        assert_eq!(imported.source.format, format, "{file}");
        assert_eq!(imported.compile, None, "{file}");
    }
}

#[test]
fn layers_of_other_names_take_their_weights_in_order() {
    let mut document: Value = serde_json::from_slice(&fixture("tf_keras.json")).unwrap();
    for (i, layer) in document["config"]["layers"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .enumerate()
    {
        layer["config"]["name"] = json!(format!("other_{i}"));
    }
    let renamed = Architecture::from_value(&document).unwrap();
    let imported = import(fixture("tf_keras_weights.h5"), Some(renamed)).unwrap();
    let values: Vec<_> = imported.parameters.iter().map(|(_, p)| p.clone()).collect();
    let original = import(fixture("tf_keras.h5"), None).unwrap().parameters;
    assert_eq!(
        values,
        original.iter().map(|(_, p)| p.clone()).collect::<Vec<_>>()
    );
    assert!(imported.parameters.get("other_1/kernel").is_some());
}

#[test]
fn the_compile_settings_are_kept_as_found() {
    let keras_3 = import(fixture("keras3.h5"), None).unwrap().compile.unwrap();
    assert_eq!(keras_3["optimizer_config"]["class_name"], "Adam");
    assert_eq!(keras_3["loss"], "categorical_crossentropy");
    let archive = import(fixture("keras3.keras"), None)
        .unwrap()
        .compile
        .unwrap();
    assert_eq!(archive["optimizer"]["class_name"], "Adam");
    assert_eq!(archive["loss"], "categorical_crossentropy");
    let tf_keras = import(fixture("tf_keras.h5"), None)
        .unwrap()
        .compile
        .unwrap();
    assert_eq!(tf_keras["optimizer_config"]["config"]["momentum"], 0.9);
    assert_eq!(import(fixture("keras1.h5"), None).unwrap().compile, None);
    assert_eq!(
        import(fixture("float64.keras"), None).unwrap().compile,
        None
    );
}

#[test]
fn a_channels_first_model_becomes_its_channels_last_twin() {
    for file in ["keras2_0_channels_first.h5", "keras1_theano.h5"] {
        let twin = file.replace("_channels_first", "").replace("_theano", "");
        let turned = import(fixture(file), None).unwrap();
        let twin = import(fixture(&twin), None).unwrap();
        assert_eq!(turned.architecture, twin.architecture, "{file}");
        assert_eq!(turned.parameters, twin.parameters, "{file}");
    }
}

#[test]
fn a_channels_first_document_beside_the_weights_is_turned_with_them() {
    for (weights, document, whole) in [
        (
            "keras2_0_channels_first_weights.h5",
            "keras2_0_channels_first.json",
            "keras2_0.h5",
        ),
        (
            "keras2_0_channels_first.safetensors",
            "keras2_0_channels_first.json",
            "keras2_0.h5",
        ),
        (
            "keras1_theano_weights.h5",
            "keras1_theano.json",
            "keras1.h5",
        ),
        ("tf_keras_weights.h5", "tf_keras.json", "tf_keras.h5"),
    ] {
        let document: Value = serde_json::from_slice(&fixture(document)).unwrap();
        let imported = import_beside(fixture(weights), document).unwrap();
        let whole = import(fixture(whole), None).unwrap();
        assert_eq!(imported.architecture, whole.architecture, "{weights}");
        assert_eq!(
            bits(&imported.parameters),
            bits(&whole.parameters),
            "{weights}"
        );
    }
    let error = import_beside(
        fixture("tf_keras_weights.h5"),
        json!({"class_name": "Other"}),
    );
    assert!(matches!(error, Err(InterchangeError::Architecture(_))));
}

#[test]
fn code_in_a_model_is_refused_by_name_and_not_run() {
    for file in ["lambda.h5", "lambda.keras"] {
        let error = import(fixture(file), None).unwrap_err();
        assert!(error.to_string().contains("Lambda"), "{error}");
    }
}
