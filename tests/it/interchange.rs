//! Model files in and out: what real Keras files say, what is written back, and what hostile files get for an answer.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hdf5_pure::{AttrValue, FileBuilder};
use irori::architecture::Architecture;
use irori::interchange::{
    Format, Imported, InterchangeError, import, read_safetensors, write_h5, write_keras,
    write_safetensors,
};
use irori::network::{Parameter, ParameterFault, Parameters};
use proptest::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fn fixture(file: &str) -> Vec<u8> {
    let path: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "tests/fixtures/interchange",
        file,
    ]
    .iter()
    .collect();
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn architecture(file: &str) -> Architecture {
    Architecture::from_json(std::str::from_utf8(&fixture(file)).unwrap()).unwrap()
}

/// Shape and bits of each parameter.
fn bits(parameters: &Parameters) -> BTreeMap<String, (Vec<usize>, Vec<u32>)> {
    parameters
        .iter()
        .map(|(name, p)| {
            let bits = p.values.iter().map(|value| value.to_bits()).collect();
            (name.to_owned(), (p.shape.clone(), bits))
        })
        .collect()
}

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

fn class_names(architecture: &Architecture) -> Vec<String> {
    let document = architecture.to_json();
    let layers = document["config"]["layers"].as_array().unwrap();
    layers
        .iter()
        .map(|layer| layer["class_name"].as_str().unwrap().to_owned())
        .collect()
}

fn code(result: Result<Imported, InterchangeError>) -> &'static str {
    match result {
        Ok(imported) => panic!("was accepted: {:?}", imported.source),
        Err(error) => error.code(),
    }
}

// What real files say.

#[test]
fn whole_models_of_every_keras_give_their_weights_bit_for_bit() {
    let files = [
        ("keras3.h5", Format::H5, Some("3.15.1")),
        ("keras3.keras", Format::Keras, Some("3.15.1")),
        ("deflated.keras", Format::Keras, Some("3.15.1")),
        ("tf_keras.h5", Format::H5, Some("2.21.0")),
        ("tf_keras.keras", Format::Keras, Some("2.21.0")),
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
fn code_in_a_model_is_refused_by_name_and_not_run() {
    for file in ["lambda.h5", "lambda.keras"] {
        let error = import(fixture(file), None).unwrap_err();
        assert!(error.to_string().contains("Lambda"), "{error}");
    }
}

// What does not fit.

#[test]
fn every_mismatch_is_listed() {
    let mut document: Value = serde_json::from_slice(&fixture("tf_keras.json")).unwrap();
    let layers = document["config"]["layers"].as_array_mut().unwrap();
    let dense: Vec<usize> = (0..layers.len())
        .filter(|&i| layers[i]["class_name"] == "Dense")
        .collect();
    layers[dense[0]]["config"]["units"] = json!(6);
    let other = Architecture::from_value(&document).unwrap();
    let Err(InterchangeError::Weights(error)) = import(fixture("tf_keras_weights.h5"), Some(other))
    else {
        panic!("was accepted");
    };
    let mut names: Vec<String> = error
        .faults
        .iter()
        .map(|fault| match fault {
            ParameterFault::Shape {
                name,
                expected,
                found,
            } => format!("{name} {expected:?} {found:?}"),
            other => panic!("{other}"),
        })
        .collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names[0].starts_with("dense/bias [6] [5]"), "{names:?}");
    assert!(names[1].starts_with("dense/kernel "), "{names:?}");
    assert_eq!(names[2], "dense_1/kernel [6, 4] [5, 4]");

    let fewer = json!({"layers": [{"class_name": "Dense", "config": {"units": 2, "input_dim": 3, "name": "mine"}}]});
    let fewer = Architecture::from_value(&fewer).unwrap();
    let error = import(fixture("tf_keras_weights.h5"), Some(fewer)).unwrap_err();
    assert_eq!(error.code(), "weights_mismatch");
    for part in [
        "mine/kernel of shape [3, 2] is missing",
        "mine/bias",
        "dense_1/kernel:0 of shape [5, 4] belongs to no layer",
    ] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}

#[test]
fn a_channels_first_model_that_has_no_twin_is_refused_with_the_reason() {
    let conv = json!({"class_name": "Conv2D", "config": {
        "name": "c", "filters": 2, "kernel_size": 2, "data_format": "channels_first", "batch_input_shape": [null, 1, 4, 4]}});
    let flatten = json!({"class_name": "Flatten", "config": {"name": "f"}});
    let dense = json!({"class_name": "Dense", "config": {"name": "d", "units": 2}});
    let cases = [
        (
            vec![
                conv.clone(),
                json!({"class_name": "MaxPooling2D", "config": {"name": "p", "data_format": "channels_last"}}),
            ],
            "channels_last",
        ),
        (vec![conv.clone(), dense.clone()], "width"),
        (
            vec![
                conv.clone(),
                json!({"class_name": "Reshape", "config": {"name": "r", "target_shape": [18]}}),
            ],
            "axes",
        ),
        (
            vec![
                conv.clone(),
                json!({"class_name": "BatchNormalization", "config": {"name": "b", "axis": 3}}),
                flatten.clone(),
                dense,
            ],
            "axis",
        ),
        (vec![conv.clone()], "output is an image"),
        (vec![conv, flatten], "no Dense layer follows"),
    ];
    for (layers, reason) in cases {
        let document =
            json!({"class_name": "Sequential", "config": {"name": "s", "layers": layers}});
        let error = import(h5_with_config(&document.to_string()), None).unwrap_err();
        assert_eq!(error.code(), "channels_first_unsupported", "{error}");
        assert!(error.to_string().contains(reason), "{reason}: {error}");
    }
}

fn h5_with_config(config: &str) -> Vec<u8> {
    let mut file = FileBuilder::new();
    file.set_attr("model_config", AttrValue::VarLenString(config.to_owned()));
    let mut weights = file.create_group("model_weights");
    weights.set_attr("layer_names", AttrValue::F64Array(vec![]));
    file.add_group(weights.finish());
    file.finish().unwrap()
}

// What is written.

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
fn the_same_model_is_written_as_the_same_bytes() {
    let model = import(fixture("keras3.keras"), None).unwrap();
    let write = |f: fn(&Architecture, &Parameters, Option<&Value>) -> _| -> Vec<u8> {
        f(
            &model.architecture,
            &model.parameters,
            model.compile.as_ref(),
        )
        .map_err(|e: InterchangeError| e)
        .unwrap()
    };
    assert_eq!(write(write_h5), write(write_h5));
    assert_eq!(write(write_keras), write(write_keras));
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

// Safetensors.

#[test]
fn safetensors_of_every_float_are_read() {
    let f16 = half::f16::from_f32(0.1);
    let bf16 = half::bf16::from_f32(0.1);
    let tensors = [
        (
            "a/f16",
            Dtype::F16,
            f16.to_le_bytes().to_vec(),
            f16.to_f32(),
        ),
        (
            "b/bf16",
            Dtype::BF16,
            bf16.to_le_bytes().to_vec(),
            bf16.to_f32(),
        ),
        ("c/f32", Dtype::F32, 0.1f32.to_le_bytes().to_vec(), 0.1),
        ("d/f64", Dtype::F64, 0.1f64.to_le_bytes().to_vec(), 0.1),
    ];
    let views = tensors
        .iter()
        .map(|(name, dtype, data, _)| (*name, TensorView::new(*dtype, vec![1, 1], data).unwrap()));
    let parameters = read_safetensors(&safetensors::serialize(views, None).unwrap()).unwrap();
    for (name, _, _, value) in &tensors {
        assert_eq!(
            parameters.get(name),
            Some(&Parameter {
                shape: vec![1, 1],
                values: vec![*value]
            })
        );
    }
}

#[test]
fn safetensors_that_are_none_are_refused() {
    let integers = safetensors::serialize(
        [("n", TensorView::new(Dtype::I32, vec![1], &[0; 4]).unwrap())],
        None,
    )
    .unwrap();
    assert_eq!(
        read_safetensors(&integers).unwrap_err().code(),
        "weights_not_float"
    );

    let whole = write_safetensors(&import(fixture("keras1.h5"), None).unwrap().parameters).unwrap();
    for length in 0..whole.len() {
        assert_eq!(
            read_safetensors(&whole[..length]).unwrap_err().code(),
            "safetensors_malformed",
            "{length}"
        );
    }
    // A shape whose product overflows.
    let header = r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,0]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    assert_eq!(
        read_safetensors(&bytes).unwrap_err().code(),
        "safetensors_malformed"
    );
}

#[test]
fn safetensors_of_another_model_are_refused() {
    let weights =
        write_safetensors(&import(fixture("keras1.h5"), None).unwrap().parameters).unwrap();
    assert_eq!(code(import(weights.clone(), None)), "architecture_missing");
    assert_eq!(
        code(import(weights, Some(architecture("keras3.json")))),
        "weights_mismatch"
    );
}

// What hostile files get.

#[test]
fn what_is_no_model_file_is_told_so() {
    for bytes in [
        &b""[..],
        b"{}",
        b"GIF89a\x01\x00\x01\x00",
        b"PK\x05\x06",
        &[0; 64],
    ] {
        assert_eq!(
            code(import(bytes.to_vec(), None)),
            "model_file_unrecognized",
            "{bytes:?}"
        );
    }
    let mut empty = FileBuilder::new();
    empty.create_dataset("x").with_f32_data(&[1.0]);
    assert_eq!(
        code(import(empty.finish().unwrap(), None)),
        "hdf5_not_keras"
    );
}

#[test]
fn a_file_cut_short_is_refused_wherever_it_is_cut() {
    for file in ["keras2_0.h5", "float16.keras", "deflated.keras"] {
        let whole = fixture(file);
        for length in (0..whole.len()).step_by(97) {
            let _ = code(import(whole[..length].to_vec(), None));
        }
    }
}

#[test]
fn a_document_nested_without_end_is_refused() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let config = format!(r#"{{"class_name":"Sequential","config":{deep}}}"#);
    assert_eq!(
        code(import(h5_with_config(&config), None)),
        "model_file_json_malformed"
    );
    assert_eq!(
        code(import(archive(&[("config.json", config.as_bytes())]), None)),
        "model_file_json_malformed"
    );
}

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, bytes) in entries {
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn an_archive_without_its_parts_is_refused() {
    assert_eq!(
        code(import(archive(&[("readme.txt", b"hello")]), None)),
        "keras_archive_malformed"
    );
}

#[test]
fn a_zip_bomb_is_not_unpacked() {
    let model = import(fixture("float64.keras"), None).unwrap();
    let document = model.architecture.to_json().to_string();
    let zeros = vec![0; 64 << 20];
    let bomb = archive(&[
        ("config.json", document.as_bytes()),
        ("metadata.json", b"{}"),
        ("model.weights.h5", &zeros),
    ]);
    assert!(bomb.len() < 100_000);
    let started = Instant::now();
    assert_eq!(code(import(bomb, None)), "model_file_too_large");
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn storage_that_was_never_written_takes_no_memory() {
    // 20,000 × 20,000 weights, all of them the fill value: 1.6 GB from a file of a few kilobytes.
    let started = Instant::now();
    assert_eq!(
        code(import(fixture("unwritten.h5"), None)),
        "model_file_too_large"
    );
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn links_that_run_in_circles_end() {
    let _ = code(import(fixture("circular.h5"), None));
}

#[test]
fn weights_that_are_no_floats_are_refused() {
    let config = json!({"class_name": "Sequential", "config": {"name": "s", "layers": [
        {"class_name": "Dense", "config": {"name": "d", "units": 1, "use_bias": false, "batch_input_shape": [null, 2]}}]}});
    let mut file = FileBuilder::new();
    file.set_attr("model_config", AttrValue::VarLenString(config.to_string()));
    let mut weights = file.create_group("model_weights");
    weights.set_attr("layer_names", AttrValue::StringArray(vec!["d".into()]));
    let mut layer = weights.create_group("d");
    layer.set_attr("weight_names", AttrValue::StringArray(vec!["k".into()]));
    layer
        .create_dataset("k")
        .with_i32_data(&[1, 2])
        .with_shape(&[2, 1]);
    weights.add_group(layer.finish());
    file.add_group(weights.finish());
    assert_eq!(
        code(import(file.finish().unwrap(), None)),
        "weights_not_float"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Damaged files get an answer: a model if the damage did no harm, or an error. Never a panic, and soon.
    #[test]
    fn damage_is_survived(
        file in prop::sample::select(vec![
            "keras2_0.h5", "keras2_0_split.h5", "keras1_theano.h5", "bfloat16.h5",
            "float16.keras", "deflated.keras", "lambda.h5",
        ]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = fixture(file);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let started = Instant::now();
        if let Ok(imported) = import(bytes, None) {
            prop_assert_eq!(imported.parameters.check(&imported.architecture), Ok(()));
        }
        prop_assert!(started.elapsed() < Duration::from_secs(5));
    }
}
