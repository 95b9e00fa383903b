//! Models of the Functional API: chains are read, everything else is refused.

use serde_json::{Value, json};

use super::{assert_fixed_point, fault, fixture, layers_of, read};

/// The fixture's chain as Keras 3 or Keras 2 wrote it.
pub(super) fn chain(file: &str) -> Value {
    let models = fixture(&format!("architecture/{file}.json"));
    let mut models = models.as_array().expect("list").iter();
    let model = models.find(|model| model["name"] == "functional");
    model.expect("functional")["document"].clone()
}

/// The inputs of a call as Keras 2 wrote them.
fn call(inputs: &[&str]) -> Value {
    inputs.iter().map(|name| json!([name, 0, 0, {}])).collect()
}

/// An image, a convolution and a pooling with these calls, and this end.
fn model(convolution: Value, pooling: Value, output: &str) -> Value {
    let layers = json!([
        {"class_name": "InputLayer", "name": "image", "inbound_nodes": [],
         "config": {"name": "image", "batch_input_shape": [null, 8, 8, 1]}},
        {"class_name": "Conv2D", "name": "conv", "inbound_nodes": convolution,
         "config": {"name": "conv", "filters": 4, "kernel_size": 3}},
        {"class_name": "GlobalAveragePooling2D", "name": "pool", "inbound_nodes": pooling,
         "config": {"name": "pool"}},
    ]);
    json!({"class_name": "Model", "keras_version": "2.0.4", "backend": "tensorflow", "config": {
        "name": "model_1",
        "layers": layers,
        "input_layers": [["image", 0, 0]],
        "output_layers": [[output, 0, 0]],
    }})
}

#[test]
fn a_chain_is_written_as_the_sequential_that_it_is() {
    for file in ["keras3", "keras2"] {
        let architecture = read(&chain(file));
        assert_eq!(architecture.name, "chain");
        assert_eq!(architecture.nodes[0].name, "photo");
        assert_eq!(architecture.nodes[6].inputs, [5]);
        let document = architecture.to_json();
        assert_eq!(document["class_name"], "Sequential");
        assert_eq!(document["config"]["layers"][0]["config"]["name"], "photo");
        assert_fixed_point(&architecture);
    }
}

#[test]
fn calls_may_be_written_in_many_ways() {
    let keras_1 = json!([[["conv", 0, 0]]]);
    let keras_3 = json!([{
        "args": [{"class_name": "__keras_tensor__", "config": {
            "shape": [null, 6, 6, 4], "dtype": "float32", "keras_history": ["conv", 0, 0],
        }}],
        "kwargs": {"mask": null, "training": false},
    }]);
    for pooling in [json!([call(&["conv"])]), keras_1, keras_3] {
        let mut document = model(json!([call(&["image"])]), pooling, "pool");
        // A single input as such, as a list, and by a name.
        for input in [
            json!(["image", 0, 0]),
            json!([["image", 0, 0]]),
            json!({"pixels": ["image", 0, 0]}),
        ] {
            document["config"]["input_layers"] = input;
            assert_eq!(
                layers_of(&read(&document)),
                json!([
                    ["conv", "Conv2D", [6, 6, 4]],
                    ["pool", "GlobalAveragePooling2D", [4]],
                ])
            );
        }
    }
}

#[test]
fn what_is_no_chain_is_refused() {
    let image = || json!([call(&["image"])]);
    let refused = |document: Value, message: &str| {
        let error = fault(document);
        assert_eq!(error.code(), "unsupported_model", "{error}");
        let rest = "; a Functional model has to be a chain here, in which each layer takes the one \
                    output of the layer before it in the list";
        assert_eq!(error.to_string(), format!("{message}{rest}"));
    };
    refused(
        model(image(), json!([call(&["image", "conv"])]), "pool"),
        r#"layer 3 "pool" (GlobalAveragePooling2D): it takes 2 inputs, "image", "conv""#,
    );
    refused(
        model(image(), image(), "pool"),
        r#"layer 3 "pool" (GlobalAveragePooling2D): it takes the output of "image", and the layer before it is "conv""#,
    );
    refused(
        model(image(), json!([call(&["conv"]), call(&["conv"])]), "pool"),
        r#"layer 3 "pool" (GlobalAveragePooling2D): it is called 2 times"#,
    );
    refused(
        model(json!([]), json!([call(&["conv"])]), "pool"),
        r#"layer 2 "conv" (Conv2D): it takes no input"#,
    );
    refused(
        model(image(), json!([call(&["conv"])]), "conv"),
        r#"the model: "output_layers" has "conv", where "pool" alone is expected"#,
    );
    let mut two_inputs = model(image(), json!([call(&["conv"])]), "pool");
    two_inputs["config"]["input_layers"] = json!([["image", 0, 0], ["depth", 0, 0]]);
    refused(
        two_inputs,
        r#"the model: "input_layers" has "image", "depth", where "image" alone is expected"#,
    );
    let mut no_input = model(image(), json!([call(&["conv"])]), "pool");
    no_input["config"]["layers"]
        .as_array_mut()
        .expect("list")
        .remove(0);
    refused(
        no_input,
        r#"layer 1 "conv" (Conv2D): it comes first and is no InputLayer"#,
    );
}

#[test]
fn layers_of_other_classes_are_refused_by_name() {
    for (class_name, calls) in [
        ("Add", json!([call(&["image", "conv"])])),
        ("Concatenate", json!([call(&["image", "conv"])])),
        // TensorFlow's operations have calls of their own form.
        (
            "TFOpLambda",
            json!([["conv", 0, 0, {"y": 127.5, "name": null}]]),
        ),
    ] {
        let mut document = model(json!([call(&["image"])]), calls, "pool");
        document["config"]["layers"][2]["class_name"] = json!(class_name);
        let error = fault(document);
        assert_eq!(error.code(), "unknown_layer");
        let message = format!(
            r#"layer 3 "pool" ({class_name}): unknown layer class "{class_name}"; supported are "#
        );
        assert!(error.to_string().starts_with(&message), "{error}");
    }
}

#[test]
fn malformed_calls_are_refused() {
    let image = || json!([call(&["image"])]);
    for (pooling, code, message) in [
        (
            json!(null),
            "missing_field",
            r#""inbound_nodes" is missing; allowed is one call, [[[name, 0, 0, {}]]] with the name of the layer before"#,
        ),
        (
            json!([[["conv", 1, 0, {}]]]),
            "invalid_field",
            r#""inbound_nodes" is [[["conv",1,0,{}]]]; allowed is one call, [[[name, 0, 0, {}]]] with the name of the layer before"#,
        ),
        (
            json!({"conv": 0}),
            "invalid_field",
            r#""inbound_nodes" is {"conv":0}; allowed is one call, [[[name, 0, 0, {}]]] with the name of the layer before"#,
        ),
        // Keras 2 keeps to this in training, whatever the model is called with.
        (
            json!([[["conv", 0, 0, {"training": false}]]]),
            "unsupported_option",
            r#""training" is false, which is not supported; supported is null"#,
        ),
        (
            json!([[["conv", 0, 0, {"initial_state": [1]}]]]),
            "unknown_field",
            r#"unknown field "initial_state"; known are mask, training"#,
        ),
    ] {
        let error = fault(model(image(), pooling, "pool"));
        assert_eq!(error.code(), code);
        assert_eq!(
            error.to_string(),
            format!(r#"layer 3 "pool" (GlobalAveragePooling2D): {message}"#)
        );
    }
    let mut endless = model(image(), json!([call(&["conv"])]), "pool");
    endless["config"]["output_layers"] = json!(null);
    assert_eq!(
        fault(endless).to_string(),
        r#"the model: "output_layers" is missing; allowed is [["pool", 0, 0]]"#
    );
    let empty = json!({"class_name": "Functional", "config": {"layers": []}});
    assert_eq!(fault(empty).code(), "no_layers");
}
