//! Files that are written, read again.

use irori::interchange::{
    Format, import, read_safetensors, write_h5, write_keras, write_safetensors,
};
use irori::network::Parameter;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

#[test]
fn what_is_written_reads_back_the_same() {
    for file in ["keras3.keras", "tf_keras.h5", "keras1.h5", "bfloat16.keras"] {
        let model = import(fixture(file), None).unwrap();
        let compile = json!({"optimizer": {"class_name": "SGD", "config": {"learning_rate": 0.5, "momentum": 0.25}}, "loss": "mean_squared_error"});
        let h5 = write_h5(&model.architecture, &model.parameters, Some(&compile)).unwrap();
        let keras = write_keras(&model.architecture, &model.parameters, Some(&compile)).unwrap();
        for (bytes, format) in [(h5, Format::H5), (keras, Format::Keras)] {
            let again = import(bytes, None).unwrap();
            assert_eq!(again.source.format, format, "{file}");
            assert_eq!(
                again.architecture, model.architecture,
                "{file} as {format:?}"
            );
            assert_eq!(
                bits(&again.parameters),
                bits(&model.parameters),
                "{file} as {format:?}"
            );
            let compile = again.compile.unwrap();
            let optimizer = compile
                .get("optimizer")
                .or(compile.get("optimizer_config"))
                .unwrap();
            assert_eq!(optimizer["class_name"], "SGD");
            assert_eq!(
                optimizer["config"],
                json!({"learning_rate": 0.5, "momentum": 0.25})
            );
            assert_eq!(compile["loss"], "mean_squared_error");
            assert_eq!(compile["metrics"], json!(["accuracy"]));
        }
    }
}

#[test]
fn every_layer_and_option_is_written_so_that_it_reads_back() {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/fixtures/keras-layers"]
        .iter()
        .collect();
    let index = std::fs::read(folder.join("index.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&index).unwrap();
    let tensors = std::fs::read(folder.join("tensors.safetensors")).unwrap();
    let tensors = read_safetensors(&tensors).unwrap();
    assert!(cases.len() > 400);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let architecture = Architecture::from_value(&case["architecture"]).unwrap();
        let weights = case["weights"].as_object().unwrap();
        let parameters: Parameters = weights
            .iter()
            .map(|(name, tensor)| {
                (
                    name.clone(),
                    tensors.get(tensor.as_str().unwrap()).unwrap().clone(),
                )
            })
            .collect();
        for write in [write_h5, write_keras] {
            let again = import(write(&architecture, &parameters, None).unwrap(), None).unwrap();
            // In .h5, RandomContrast's range of values is left out where it is the default.
            if name != "random_contrast" {
                assert_eq!(again.architecture, architecture, "{name}");
            }
            assert_eq!(again.parameters, parameters, "{name}");
        }
    }
}

#[test]
fn the_same_model_is_written_as_the_same_bytes() {
    let model = import(fixture("keras3.keras"), None).unwrap();
    for write in [write_h5, write_keras] {
        let bytes = || {
            write(
                &model.architecture,
                &model.parameters,
                model.compile.as_ref(),
            )
            .unwrap()
        };
        assert_eq!(bytes(), bytes());
    }
}

#[test]
fn each_form_of_compile_settings_is_translated() {
    let model = import(fixture("float64.h5"), None).unwrap();
    let forms = [
        json!({"optimizer": "sgd", "loss": "mse"}),
        json!({"optimizer": {"name": "sgd", "learning_rate": 0.1}, "loss": "mse"}),
        json!({"optimizer_config": {"class_name": "Custom>SGD", "config": {"name": "SGD", "lr": 0.1, "jit_compile": true, "is_legacy_optimizer": false, "weight_decay": null}}, "loss": {"class_name": "MeanSquaredError", "config": {"reduction": "auto", "name": "mse"}}}),
    ];
    for form in forms {
        for write in [write_h5, write_keras] {
            let bytes = write(&model.architecture, &model.parameters, Some(&form)).unwrap();
            let compile = import(bytes, None).unwrap().compile.unwrap();
            let text = compile.to_string();
            for alien in ["Custom>", "jit_compile\":true", "reduction", "\"lr\""] {
                assert!(!text.contains(alien), "{text}");
            }
            assert!(text.to_lowercase().contains("sgd"), "{text}");
            let loss = &compile["loss"];
            assert!(
                loss == "mean_squared_error" || loss == "MeanSquaredError",
                "{loss}"
            );
        }
    }
    let no_loss = write_h5(
        &model.architecture,
        &model.parameters,
        Some(&json!({"optimizer": "sgd"})),
    )
    .unwrap();
    assert_eq!(import(no_loss, None).unwrap().compile, None);
}

#[test]
fn a_model_with_more_names_than_an_attribute_holds_round_trips() {
    let layers: Vec<Value> = (0..900)
        .map(|i| {
            let name = format!("layer_{i:04}_{}", "x".repeat(80));
            let mut config = json!({"name": name, "units": 1});
            if i == 0 {
                config["input_dim"] = json!(1);
            }
            json!({"class_name": "Dense", "config": config})
        })
        .collect();
    let architecture = Architecture::from_value(&json!({"layers": layers})).unwrap();
    let parameters: Parameters = architecture
        .variables()
        .into_iter()
        .enumerate()
        .map(|(i, v)| (v.name, Parameter::new(v.shape, vec![i as f32]).unwrap()))
        .collect();
    for write in [write_h5, write_keras] {
        let again = import(write(&architecture, &parameters, None).unwrap(), None).unwrap();
        assert_eq!(again.architecture, architecture);
        assert_eq!(again.parameters, parameters);
    }
}

#[test]
fn parameters_that_do_not_fit_are_not_written() {
    let model = import(fixture("float64.h5"), None).unwrap();
    for write in [write_h5, write_keras] {
        let error = write(&model.architecture, &Parameters::new(), None).unwrap_err();
        assert_eq!(error.code(), "weights_mismatch");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Sequential models of any depth and any bits of weights come back as they went.
    #[test]
    fn any_dense_network_round_trips(
        input in 1usize..6,
        units in prop::collection::vec(1usize..6, 1..5),
        bias in any::<bool>(),
        seed in prop::collection::vec(any::<u32>(), 1..40),
    ) {
        let layers: Vec<Value> = units
            .iter()
            .enumerate()
            .map(|(i, units)| {
                let mut config = json!({"units": units, "use_bias": bias});
                if i == 0 {
                    config["input_dim"] = json!(input);
                }
                json!({"class_name": "Dense", "config": config})
            })
            .collect();
        let architecture = Architecture::from_value(&json!({"layers": layers})).unwrap();
        let mut bits_of = seed.iter().cycle().map(|&bits| f32::from_bits(bits));
        let parameters: Parameters = architecture
            .variables()
            .into_iter()
            .map(|v| {
                let count = v.shape.iter().product();
                let values = bits_of.by_ref().take(count).collect();
                (v.name, Parameter::new(v.shape, values).unwrap())
            })
            .collect();
        let files = [
            write_h5(&architecture, &parameters, None).unwrap(),
            write_keras(&architecture, &parameters, None).unwrap(),
            write_safetensors(&parameters).unwrap(),
        ];
        for file in files {
            let again = import(file, Some(architecture.clone())).unwrap();
            prop_assert_eq!(&again.architecture, &architecture);
            prop_assert_eq!(bits(&again.parameters), bits(&parameters));
        }
    }
}
