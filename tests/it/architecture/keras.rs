//! Documents that Keras wrote, and that are written as Keras writes them.

use irori::architecture::{Distribution, Fan, Initializer, Layer, Regularizer};
use serde_json::{Value, json};

use super::{assert_fixed_point, fault, fixture, layers_of, on_image, only_layer, read};

/// Options that came after Keras 3.0, or that Keras writes though they are at their default.
const LEFT_OUT: [&str; 14] = [
    "optional",
    "quantization_config",
    "renorm",
    "renorm_clipping",
    "renorm_momentum",
    "rms_scaling",
    "input_axes",
    "output_axes",
    "pad_to_aspect_ratio",
    "fill_mode",
    "fill_value",
    "antialias",
    "build_config",
    "compile_config",
];

/// Everything that Irori writes has the value that Keras wrote, and nothing of weight is left out.
fn assert_same_document(ours: &Value, keras: &Value, path: &str) {
    match (ours, keras) {
        (Value::Object(ours), Value::Object(keras)) => {
            for (key, value) in ours {
                let path = format!("{path}/{key}");
                let theirs = keras
                    .get(key)
                    .unwrap_or_else(|| panic!("{path} is not Keras'"));
                assert_same_document(value, theirs, &path);
            }
            for key in keras.keys().filter(|key| !ours.contains_key(*key)) {
                let in_augmentation =
                    ours.contains_key("seed") && (key == "data_format" || keras[key].is_null());
                let in_activation = ["trainable", "dtype"].contains(&key.as_str())
                    && path.ends_with("/activation/config");
                assert!(
                    LEFT_OUT.contains(&key.as_str()) || in_augmentation || in_activation,
                    "{path}/{key} is left out"
                );
            }
        }
        (Value::Array(ours), Value::Array(keras)) => {
            assert_eq!(ours.len(), keras.len(), "{path}");
            for (index, (ours, keras)) in ours.iter().zip(keras).enumerate() {
                assert_same_document(ours, keras, &format!("{path}/{index}"));
            }
        }
        (Value::Number(ours), Value::Number(keras)) => {
            assert_eq!(ours.as_f64(), keras.as_f64(), "{path}");
        }
        // A fixed batch size is not kept.
        (Value::Null, Value::Number(_)) if path.ends_with("shape/0") => {}
        _ => assert_eq!(ours, keras, "{path}"),
    }
}

#[test]
fn whole_models_of_keras_3() {
    for model in fixture("architecture/keras3.json")
        .as_array()
        .expect("list")
    {
        let name = &model["name"];
        let architecture = read(&model["document"]);
        assert_eq!(layers_of(&architecture), model["layers"], "{name}");
        let variables: Value = architecture
            .variables()
            .iter()
            .map(|variable| json!([variable.name, variable.shape, variable.trainable]))
            .collect();
        let mut expected = model["variables"].clone();
        // Normalization's counter, which nothing is computed from.
        if let Value::Array(list) = &mut expected {
            list.retain(|variable| variable[1] != json!([]));
        }
        assert_eq!(variables, expected, "{name}");
        assert_fixed_point(&architecture);
    }
}

#[test]
fn documents_are_written_as_keras_3_writes_them() {
    let models = fixture("architecture/keras3.json");
    let models = models.as_array().expect("list").iter();
    let models = models.filter(|model| model["document"]["class_name"] == "Sequential");
    let models = models.map(|model| (model["name"].to_string(), model["document"].clone()));
    let layers = fixture("keras-layers/index.json");
    let layers = layers.as_array().expect("list").iter();
    let layers = layers.map(|case| (case["name"].to_string(), case["architecture"].clone()));
    for (name, document) in models.chain(layers) {
        let architecture = read(&document);
        assert_same_document(&architecture.to_json(), &document, &name);
        assert_fixed_point(&architecture);
    }
}

#[test]
fn the_summary_is_keras_table() {
    let models = fixture("architecture/keras3.json");
    for model in models.as_array().expect("list") {
        // Keras shows the batch size that the one was called with, and the InputLayer of the other.
        if ["built_by_calling", "functional"].contains(&model["name"].as_str().expect("text")) {
            continue;
        }
        let keras = model["summary"].as_str().expect("text");
        let ours = read(&model["document"]).summary();
        assert_eq!(ours.trim_end(), keras.trim_end(), "{}", model["name"]);
        assert!(ours.lines().all(|line| line.chars().count() == 80
            || line.starts_with(' ')
            || line.starts_with('M')));
    }
}

#[test]
fn whole_models_of_keras_2() {
    for model in fixture("architecture/keras2.json")
        .as_array()
        .expect("list")
    {
        let name = &model["name"];
        let architecture = read(&model["document"]);
        assert_eq!(layers_of(&architecture), model["layers"], "{name}");
        // Keras 2 has other names for some weights; places, shapes and roles are the same.
        let variables: Value = architecture
            .variables()
            .iter()
            .map(|variable| json!([variable.node_name(), variable.shape, variable.trainable]))
            .collect();
        let expected: Value = model["variables"]
            .as_array()
            .expect("list")
            .iter()
            .filter(|variable| variable[1] != json!([]))
            .map(|variable| {
                let layer = variable[0].as_str().expect("name").rsplit_once('/');
                json!([layer.expect("layer/variable").0, variable[1], variable[2]])
            })
            .collect();
        assert_eq!(variables, expected, "{name}");
        assert_fixed_point(&architecture);
    }
}

#[test]
fn a_model_of_keras_1() {
    let architecture = read(&fixture("architecture/keras1.json"));
    assert_eq!(
        layers_of(&architecture),
        json!([
            ["convolution2d_1", "Conv2D", [26, 14, 32]],
            ["zeropadding2d_1", "ZeroPadding2D", [28, 16, 32]],
            ["batchnormalization_1", "BatchNormalization", [28, 16, 32]],
            ["maxpooling2d_1", "MaxPooling2D", [14, 8, 32]],
            ["dropout_1", "Dropout", [14, 8, 32]],
            ["flatten_1", "Flatten", [3584]],
            ["dense_1", "Dense", [10]],
        ])
    );
    let Layer::Conv2D(conv) = &architecture.nodes[1].layer else {
        panic!("{:?}", architecture.nodes[1]);
    };
    assert_eq!(conv.window.kernel_size, [3, 2]);
    assert_eq!(conv.window.strides, [1, 2]);
    assert_eq!(
        conv.kernel_regularizer,
        Some(Regularizer { l1: 0.0, l2: 0.01 })
    );
    let Layer::Dense(dense) = &architecture.nodes[7].layer else {
        panic!("{:?}", architecture.nodes[7]);
    };
    assert!(!dense.use_bias);
    let he_normal = Initializer::VarianceScaling {
        scale: 2.0,
        mode: Fan::In,
        distribution: Distribution::TruncatedNormal,
        seed: None,
    };
    assert_eq!(dense.kernel_initializer, he_normal);
    assert_fixed_point(&architecture);
}

#[test]
fn a_compiled_model_of_keras_1_0() {
    let mut document = fixture("architecture/keras1.json");
    let architecture = read(&document);
    document["keras_version"] = json!("1.0.4");
    document["loss"] = json!("categorical_crossentropy");
    document["optimizer"] = json!({"name": "Adadelta", "lr": 1.0, "rho": 0.95, "epsilon": 1e-8});
    document["metrics"] = json!(["accuracy"]);
    document["sample_weight_mode"] = json!(null);
    document["class_mode"] = json!("categorical");
    document["theano_mode"] = json!(null);
    assert_eq!(read(&document), architecture);
    // Typed by hand it would be lost without a word.
    let typed = json!({"loss": "mse", "layers": [{"class_name": "Flatten", "input_shape": [2]}]});
    assert_eq!(fault(typed).code(), "unknown_field");
}

#[test]
fn random_layers_take_what_some_versions_write_on_all_of_them() {
    for (class_name, options) in [
        ("RandomFlip", json!({"mode": "horizontal"})),
        (
            "RandomRotation",
            json!({"factor": [-0.1, 0.1], "fill_mode": "reflect"}),
        ),
        ("RandomZoom", json!({"height_factor": 0.1})),
        (
            "RandomTranslation",
            json!({"height_factor": 0.1, "width_factor": 0.2}),
        ),
        (
            "RandomContrast",
            json!({"factor": 0.1, "value_range": [0, 255]}),
        ),
        (
            "RandomBrightness",
            json!({"factor": 0.1, "value_range": [0, 255]}),
        ),
    ] {
        let plain = only_layer(&on_image(class_name, options.clone()));
        let mut more = options;
        more["value_range"] = json!([0, 255]);
        more["auto_vectorize"] = json!(true);
        assert_eq!(only_layer(&on_image(class_name, more)), plain);
    }
}
