//! Architectures: Keras documents of every age, what people type, and what is refused.

mod faults;
mod functional;
mod keras;
mod random;

use irori::architecture::{
    Activation, Architecture, ArchitectureError, Conv2D, Dense, Initializer, Layer, Padding,
    Regularizer, Shape,
};
use serde_json::{Value, json};

fn fixture(path: &str) -> Value {
    let path = format!("{}/tests/fixtures/{path}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect(&path);
    serde_json::from_str(&text).expect(&path)
}

fn read(document: &Value) -> Architecture {
    Architecture::from_value(document).unwrap_or_else(|error| panic!("{error}\n{document}"))
}

fn fault(document: Value) -> ArchitectureError {
    match Architecture::from_value(&document) {
        Err(error) => error,
        Ok(_) => panic!("{document} is taken"),
    }
}

/// `{"layers": […]}` with one layer of this class on an image of 8 × 6 × 4.
fn on_image(class_name: &str, mut config: Value) -> Value {
    config["input_shape"] = json!([8, 6, 4]);
    json!({"layers": [{"class_name": class_name, "config": config}]})
}

fn only_layer(document: &Value) -> Layer {
    read(document).nodes[1].layer.clone()
}

/// Names, classes and shapes as the fixtures of whole models list them.
fn layers_of(architecture: &Architecture) -> Value {
    let nodes = architecture.nodes.iter().skip(1);
    nodes
        .map(|node| json!([node.name, node.layer.class_name(), node.output_shape.dims()]))
        .collect()
}

fn assert_fixed_point(architecture: &Architecture) {
    let document = architecture.to_json();
    assert_eq!(&read(&document), architecture);
    assert_eq!(read(&document).to_json(), document);
    let text = document.to_string();
    assert_eq!(
        &Architecture::from_json(&text).expect("own text"),
        architecture
    );
}

#[test]
fn the_tutorial_network_typed_by_hand() {
    let layers = json!([
        {"class_name": "Conv2D", "config": {"filters": 32, "kernel_size": 2, "padding": "same", "input_shape": [28, 28, 1]}},
        {"class_name": "MaxPooling2D"},
        {"class_name": "Conv2D", "filters": 32, "kernel_size": [2, 2], "activation": "relu", "name": "second"},
        {"class_name": "MaxPooling2D", "config": {"pool_size": 2, "strides": null}},
        {"class_name": "Flatten"},
        {"class_name": "Dense", "units": 10, "activation": "softmax"},
    ]);
    let expected = json!([
        ["conv2d", "Conv2D", [28, 28, 32]],
        ["max_pooling2d", "MaxPooling2D", [14, 14, 32]],
        ["second", "Conv2D", [13, 13, 32]],
        ["max_pooling2d_1", "MaxPooling2D", [6, 6, 32]],
        ["flatten", "Flatten", [1152]],
        ["dense", "Dense", [10]],
    ]);
    for document in [
        layers.clone(),
        json!({"layers": layers}),
        json!({"class_name": "Sequential", "config": {"layers": layers}}),
        json!({"class_name": "Sequential", "config": layers}),
    ] {
        let architecture = read(&document);
        assert_eq!(layers_of(&architecture), expected);
        assert_eq!(architecture.name, "sequential");
        assert_eq!(architecture.nodes[0].name, "input_layer");
        assert_eq!(architecture.input_shape(), &Shape::new([28, 28, 1]));
        assert_eq!(architecture.output_shape().to_string(), "(None, 10)");
        assert_fixed_point(&architecture);
    }
}

#[test]
fn defaults_are_those_of_keras() {
    let Layer::Conv2D(conv) =
        only_layer(&on_image("Conv2D", json!({"filters": 2, "kernel_size": 3})))
    else {
        panic!("not a Conv2D");
    };
    let Conv2D {
        window,
        groups,
        activation,
        use_bias,
        kernel_initializer,
        bias_initializer,
        ..
    } = conv;
    assert_eq!((window.strides, window.dilation_rate), ([1, 1], [1, 1]));
    assert_eq!(
        (window.padding, groups, use_bias),
        (Padding::Valid, 1, true)
    );
    assert_eq!(activation, Activation::Linear);
    assert_eq!(kernel_initializer, Initializer::glorot_uniform());
    assert_eq!(bias_initializer, Initializer::Zeros);
    let Layer::MaxPooling2D(pooling) =
        only_layer(&on_image("MaxPooling2D", json!({"pool_size": [3, 2]})))
    else {
        panic!("not a MaxPooling2D");
    };
    assert_eq!(pooling.strides, [3, 2]);
    let Layer::BatchNormalization(norm) = only_layer(&on_image("BatchNormalization", json!({})))
    else {
        panic!("not a BatchNormalization");
    };
    assert_eq!((norm.momentum, norm.epsilon), (0.99, 0.001));
    assert!(norm.center && norm.scale);
    let slope = Layer::LeakyReLU {
        negative_slope: 0.3,
    };
    assert_eq!(only_layer(&on_image("LeakyReLU", json!({}))), slope);
}

#[test]
fn the_input_may_be_said_in_many_ways() {
    for (input, shape) in [
        (json!({"input_shape": [784]}), vec![784]),
        (json!({"input_shape": 784}), vec![784]),
        (json!({"input_dim": 784}), vec![784]),
        (json!({"batch_input_shape": [null, 784]}), vec![784]),
        (
            json!({"batch_shape": [32, 784], "input_dim": 784}),
            vec![784],
        ),
        (json!({"input_shape": [8, 6]}), vec![8, 6]),
        (json!({"input_shape": [8, 6, 3]}), vec![8, 6, 3]),
    ] {
        let mut config = input.clone();
        config["units"] = json!(2);
        let on_layer = json!([{"class_name": "Dense", "config": config}]);
        assert_eq!(read(&on_layer).input_shape().dims(), shape, "{input}");
        let mut config = input;
        config["name"] = json!("pixels");
        let own_layer = json!([
            {"class_name": "InputLayer", "config": config},
            {"class_name": "Dense", "config": {"units": 2}},
        ]);
        let architecture = read(&own_layer);
        assert_eq!(architecture.input_shape().dims(), shape);
        assert_eq!(architecture.nodes[0].name, "pixels");
    }
    // Keras does not look at what later layers say, and tutorials' models have it wrong.
    for later in [
        json!({"input_shape": [28, 28, 1]}),
        json!({"batch_input_shape": [null, null, 7]}),
        json!({"input_dim": "many"}),
    ] {
        let mut config = later;
        config["units"] = json!(2);
        let document = json!([
            {"class_name": "Dense", "config": {"units": 5, "input_dim": 784}},
            {"class_name": "Dense", "config": config},
        ]);
        let architecture = read(&document);
        assert_eq!(
            layers_of(&architecture),
            json!([["dense", "Dense", [5]], ["dense_1", "Dense", [2]]])
        );
        assert_fixed_point(&architecture);
    }
    let built = json!({"class_name": "Sequential", "config": {
        "layers": [{"class_name": "Dense", "config": {"units": 2}}],
        "build_input_shape": [4, 784],
    }});
    assert_eq!(read(&built).input_shape().dims(), [784]);
}

#[test]
fn objects_may_be_written_in_many_ways() {
    let dense = |config: Value| {
        let mut layer = json!({"class_name": "Dense", "units": 2, "input_dim": 3});
        for (key, value) in config.as_object().expect("object") {
            layer[key] = value.clone();
        }
        match only_layer(&json!([layer])) {
            Layer::Dense(dense) => dense,
            other => panic!("{other:?}"),
        }
    };
    let activation = |value: Value| dense(json!({"activation": value})).activation;
    assert_eq!(activation(json!("swish")), Activation::Silu);
    assert_eq!(activation(json!({"class_name": "gelu"})), Activation::Gelu);
    assert_eq!(
        activation(
            json!({"module": "builtins", "class_name": "function", "config": "relu6", "registered_name": "function"})
        ),
        Activation::Relu6
    );
    let relu = json!({"class_name": "ReLU", "config": {"max_value": 6.0, "negative_slope": 0.0, "threshold": 0.0}});
    assert_eq!(activation(relu), Activation::Relu6);
    assert_eq!(
        activation(
            json!({"class_name": "LeakyReLU", "config": {"alpha": {"type": "ndarray", "value": 0.5}}})
        ),
        Activation::LeakyRelu {
            negative_slope: 0.5
        }
    );
    let initializer = |value: Value| dense(json!({"kernel_initializer": value})).kernel_initializer;
    for same in [
        json!("glorot_uniform"),
        json!("GlorotUniform"),
        json!(null),
        json!({"class_name": "VarianceScaling", "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": null}}),
    ] {
        assert_eq!(initializer(same), Initializer::glorot_uniform());
    }
    assert_eq!(
        initializer(json!({"class_name": "HeNormal", "config": {"seed": {"class_name": "SeedGenerator", "config": {"seed": 9}}}})).seed(),
        Some(9)
    );
    let regularizer = |value: Value| dense(json!({"kernel_regularizer": value})).kernel_regularizer;
    assert_eq!(
        regularizer(json!("l2")),
        Some(Regularizer { l1: 0.0, l2: 0.01 })
    );
    assert_eq!(
        regularizer(json!({"class_name": "L1L2", "config": {"l1": 0.5, "l2": 0.25}})),
        Some(Regularizer { l1: 0.5, l2: 0.25 })
    );
    assert_eq!(
        regularizer(json!({"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.0}})),
        None
    );
}

#[test]
fn fans_are_those_of_keras() {
    let document = json!([
        {"class_name": "Conv2D", "filters": 16, "kernel_size": [3, 2], "groups": 2, "input_shape": [8, 8, 4]},
        {"class_name": "Flatten"},
        {"class_name": "Dense", "units": 5},
    ]);
    let fans: Vec<_> = read(&document)
        .variables()
        .iter()
        .map(|variable| (variable.name.clone(), variable.fans()))
        .collect();
    assert_eq!(
        fans,
        [
            ("conv2d/kernel".to_owned(), (12, 96)),
            ("conv2d/bias".to_owned(), (16, 16)),
            ("dense/kernel".to_owned(), (672, 5)),
            ("dense/bias".to_owned(), (5, 5)),
        ]
    );
}

#[test]
fn a_dense_layer_reads_as_it_is_written() {
    let document = json!([{"class_name": "Dense", "units": 3, "input_dim": 2, "activation": "tanh", "use_bias": false}]);
    assert_eq!(
        only_layer(&document),
        Layer::Dense(Dense {
            units: 3,
            activation: Activation::Tanh,
            use_bias: false,
            kernel_initializer: Initializer::glorot_uniform(),
            bias_initializer: Initializer::Zeros,
            kernel_regularizer: None,
            bias_regularizer: None,
        })
    );
}
