//! Files and architectures that do not fit each other.

use irori::interchange::import;
use irori::network::ParameterFault;
use serde_json::{Value, json};

use super::*;

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
