//! What is refused, and what the refusal says.

use irori::architecture::{Architecture, MAX_LAYERS};
use serde_json::{Value, json};

use super::{fault, on_image, read};

#[test]
fn faults_name_layer_field_found_and_allowed() {
    for (class_name, config, code, message) in [
        (
            "Conv2D",
            json!({"kernel_size": 3}),
            "missing_field",
            r#"layer 1 "conv2d" (Conv2D): "filters" is missing; allowed is an integer from 1 to 2147483648"#,
        ),
        (
            "Conv2D",
            json!({"filters": "many", "kernel_size": 3}),
            "invalid_field",
            r#"layer 1 "conv2d" (Conv2D): "filters" is "many"; allowed is an integer from 1 to 2147483648"#,
        ),
        (
            "Conv2D",
            json!({"filters": 0, "kernel_size": 3, "name": "edges"}),
            "invalid_field",
            r#"layer 1 "edges" (Conv2D): "filters" is 0; allowed is an integer from 1 to 2147483648"#,
        ),
        (
            "Conv2D",
            json!({"filters": 2, "kernel_size": [3, 3, 3]}),
            "invalid_field",
            r#"layer 1 "conv2d" (Conv2D): "kernel_size" is [3,3,3]; allowed is an integer from 1 to 2147483648, or two of them as [rows, columns]"#,
        ),
        (
            "Conv2D",
            json!({"filters": 2, "kernel_size": 3, "padding": "full"}),
            "invalid_field",
            r#"layer 1 "conv2d" (Conv2D): "padding" is "full"; allowed is "valid" or "same""#,
        ),
        (
            "Conv2D",
            json!({"filters": 2, "kernel_size": 3, "strides": 2, "dilation_rate": 2}),
            "invalid_field",
            r#"layer 1 "conv2d" (Conv2D): "dilation_rate" is [2,2]; allowed is 1 where "strides" are above 1, as in Keras"#,
        ),
        (
            "Conv2D",
            json!({"filters": 6, "kernel_size": 3, "groups": 3}),
            "invalid_field",
            r#"layer 1 "conv2d" (Conv2D): "groups" is 3; allowed is a common divisor of the 4 input channels and the 6 filters"#,
        ),
        (
            "Conv2D",
            json!({"filters": 2, "kernel_size": 7}),
            "incompatible_input",
            r#"layer 1 "conv2d" (Conv2D): the input has the shape (None, 8, 6, 4); a window that reaches over 7 columns needs as many, or "padding": "same""#,
        ),
        (
            "Conv2D",
            json!({"filters": 2, "kernel_size": 3, "kernel_constraint": {"class_name": "MaxNorm"}}),
            "unsupported_option",
            r#"layer 1 "conv2d" (Conv2D): "kernel_constraint" is {"class_name":"MaxNorm"}, which is not supported; supported is null"#,
        ),
        (
            "Conv2D",
            json!({"filters": 2, "kernel_size": 3, "data_format": "channels_first"}),
            "channels_first",
            r#"layer 1 "conv2d" (Conv2D): "data_format" is "channels_first"; architectures are channels last here, so save the model with data_format="channels_last""#,
        ),
        (
            "Flatten",
            json!({"dtype": "int8"}),
            "unsupported_option",
            r#"layer 1 "flatten" (Flatten): "dtype" is "int8", which is not supported; supported is float32, float16, bfloat16, float64, mixed_float16, mixed_bfloat16; all are computed in float32"#,
        ),
        (
            "Flatten",
            json!({"trainable": "yes"}),
            "invalid_field",
            r#"layer 1 "flatten" (Flatten): "trainable" is "yes"; allowed is true or false"#,
        ),
        (
            "Dropout",
            json!({"rate": 1.5}),
            "invalid_field",
            r#"layer 1 "dropout" (Dropout): "rate" is 1.5; allowed is a number from 0 to 1"#,
        ),
        (
            "Dropout",
            json!({"rate": 0.5, "seed": -1}),
            "invalid_field",
            r#"layer 1 "dropout" (Dropout): "seed" is -1; allowed is null or an integer of 0 or more"#,
        ),
        (
            "BatchNormalization",
            json!({"axis": 1}),
            "unsupported_option",
            r#"layer 1 "batch_normalization" (BatchNormalization): "axis" is 1, which is not supported; supported is the last axis, -1 or 3"#,
        ),
        (
            "LayerNormalization",
            json!({"axis": [3, 1]}),
            "invalid_field",
            r#"layer 1 "layer_normalization" (LayerNormalization): "axis" is [3,1]; allowed is an axis from 1 to 3, -1 for the last, or an ascending list"#,
        ),
        (
            "Reshape",
            json!({"target_shape": [5, -1]}),
            "incompatible_input",
            r#"layer 1 "reshape" (Reshape): the input has the shape (None, 8, 6, 4); its 192 numbers can't be arranged as "target_shape": [5, -1]"#,
        ),
        (
            "Reshape",
            json!({"target_shape": [-1, -1]}),
            "invalid_field",
            r#"layer 1 "reshape" (Reshape): "target_shape" is [-1,-1]; allowed is a list of 1 to 3 sizes, at most one of which is -1"#,
        ),
        (
            "Permute",
            json!({"dims": [1, 2, 2]}),
            "invalid_field",
            r#"layer 1 "permute" (Permute): "dims" is [1,2,2]; allowed is each of the numbers 1 to 3 once"#,
        ),
        (
            "Cropping2D",
            json!({"cropping": 3}),
            "incompatible_input",
            r#"layer 1 "cropping2d" (Cropping2D): the input has the shape (None, 8, 6, 4); "cropping": [[3, 3], [3, 3]] leaves nothing of it"#,
        ),
        (
            "Rescaling",
            json!({"scale": [1, 2]}),
            "invalid_field",
            r#"layer 1 "rescaling" (Rescaling): "scale" is a list of 2 numbers; allowed is one number, or 4, one for each channel"#,
        ),
        (
            "Normalization",
            json!({"mean": 0.5}),
            "missing_field",
            r#"layer 1 "normalization" (Normalization): "variance" is missing; allowed is numbers for both "mean" and "variance", or null for both"#,
        ),
        (
            "UpSampling2D",
            json!({"interpolation": "lanczos3"}),
            "invalid_field",
            r#"layer 1 "up_sampling2d" (UpSampling2D): "interpolation" is "lanczos3"; allowed is "nearest" or "bilinear" or "bicubic""#,
        ),
        (
            "Dense",
            json!({"units": 2, "name": "a/b"}),
            "invalid_field",
            r#"layer 1 (Dense): "name" is "a/b"; allowed is a text of 1 to 200 characters without "/", as in Keras 3"#,
        ),
        (
            "Dense",
            json!({"units": 2, "kernel_regularizer": {"class_name": "OrthogonalRegularizer", "config": {}}}),
            "invalid_field",
            r#"layer 1 "dense" (Dense): "kernel_regularizer" is {"class_name":"OrthogonalRegularizer","config":{}}; allowed is null, L1, L2 or L1L2"#,
        ),
    ] {
        let error = fault(on_image(class_name, config));
        assert_eq!(error.to_string(), message);
        assert_eq!(error.code(), code, "{message}");
    }
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    let error = fault(on_image("Conv2D", json!({"filters": 2, "kernel_sise": 3})));
    // What is missing is said first; with it there, the slip is.
    assert_eq!(error.code(), "missing_field");
    let error = fault(on_image(
        "Conv2D",
        json!({"filters": 2, "kernel_size": 3, "stride": 2}),
    ));
    let message = error.to_string();
    assert!(message.starts_with(r#"layer 1 "conv2d" (Conv2D): unknown field "stride" (did you mean "strides"?); known are "#), "{message}");
    assert_eq!(error.code(), "unknown_field");
    let error = fault(on_image("MaxPool", json!({})));
    assert!(error.to_string().starts_with(r#"layer 1 "max_pool" (MaxPool): unknown layer class "MaxPool"; supported are InputLayer, Dense, "#), "{error}");
    let error = fault(on_image("Conv2d", json!({})));
    assert!(
        error.to_string().contains(r#"(did you mean "Conv2D"?)"#),
        "{error}"
    );
    assert_eq!(error.code(), "unknown_layer");
    let error = fault(on_image("Activation", json!({"activation": "threshold"})));
    assert!(
        error
            .to_string()
            .contains(r#""activation" is "threshold"; allowed is one of linear, relu, "#),
        "{error}"
    );
    let error = fault(json!({"layer": []}));
    assert_eq!(
        error.to_string(),
        r#"the model: "layers" is missing; allowed is a list of layers, [{"class_name": …, "config": {…}}, …]"#
    );
    let error =
        fault(json!({"layers": [{"class_name": "Flatten", "input_shape": [2]}], "nme": "x"}));
    assert!(
        error
            .to_string()
            .starts_with(r#"the model: unknown field "nme" (did you mean "name"?)"#),
        "{error}"
    );
}

#[test]
fn custom_code_is_refused_by_name() {
    for (layer, name) in [
        (
            json!({"class_name": "Lambda", "config": {"function": ["4wEAAAA", null, null]}}),
            "Lambda",
        ),
        (
            json!({"module": "my_package.blocks", "class_name": "Squeeze", "config": {}, "registered_name": "Squeeze"}),
            "my_package.blocks.Squeeze",
        ),
        (
            json!({"module": null, "class_name": "Squeeze", "config": {}, "registered_name": "Custom>Squeeze"}),
            "Custom>Squeeze",
        ),
        (
            json!({"class_name": "Activation", "config": {"activation": {"class_name": "__lambda__", "config": {"value": "…"}}}}),
            "__lambda__",
        ),
    ] {
        let error = fault(json!([{"class_name": "Flatten", "input_shape": [2, 2, 1]}, layer]));
        assert_eq!(error.code(), "custom_object", "{error}");
        assert!(
            error.to_string().contains(&format!(
                "\"{name}\" is custom code, which is never executed"
            )),
            "{error}"
        );
        assert!(error.to_string().starts_with("layer 2"), "{error}");
    }
}

#[test]
fn the_model_as_a_whole_is_checked() {
    let flatten = json!({"class_name": "Flatten"});
    let error = fault(json!({"class_name": "Ensemble", "config": {"layers": []}}));
    assert_eq!(error.code(), "unsupported_model");
    assert!(
        error
            .to_string()
            .contains(r#"class "Ensemble" is not supported"#),
        "{error}"
    );
    assert_eq!(fault(json!(3)).code(), "not_a_model");
    assert_eq!(fault(json!([])).code(), "no_layers");
    let input = json!({"class_name": "InputLayer", "config": {"batch_shape": [null, 4]}});
    assert_eq!(fault(json!([input])).code(), "no_layers");
    assert_eq!(
        fault(json!([input, flatten, input])).code(),
        "unsupported_option"
    );
    let error = fault(json!([flatten]));
    assert_eq!(error.code(), "no_input_shape");
    assert!(
        error
            .to_string()
            .contains(r#"give the first layer "input_shape", e.g. [28, 28, 1]"#),
        "{error}"
    );
    let error = fault(
        json!([input, {"class_name": "Flatten", "name": "a"}, {"class_name": "Flatten", "name": "a"}]),
    );
    assert_eq!(
        error.to_string(),
        r#"layer 3 "a" (Flatten): layer 2 has the same name; give each layer a "name" of its own"#
    );
    let error = fault(json!([{"class_name": "Flatten", "input_shape": [null, null, 3]}]));
    assert_eq!(
        error.to_string(),
        r#"layer 1 (Flatten): "input_shape" is [null,null,3], which is not supported; supported is a fixed size for height, width and channels; null is for the batch only"#
    );
    for shape in [
        json!([0, 2, 3]),
        json!([-1, 2, 3]),
        json!([]),
        json!([1, 2, 3, 4]),
        json!(["8"]),
        json!(1.5),
    ] {
        assert_eq!(
            fault(json!([{"class_name": "Flatten", "input_shape": shape}])).code(),
            "invalid_field"
        );
    }
    let error = fault(json!([input, {"class_name": "MaxPooling2D"}]));
    assert_eq!(
        error.to_string(),
        r#"layer 2 "max_pooling2d" (MaxPooling2D): the input has the shape (None, 4); this layer takes images, (None, height, width, channels)"#
    );
    let inner = json!({"class_name": "Sequential", "config": {"layers": [flatten]}});
    assert_eq!(fault(json!([input, inner])).code(), "unsupported_option");
}

#[test]
fn sizes_are_bounded() {
    let code = |document: Value| fault(document).code();
    let big = 1u64 << 31;
    assert_eq!(
        code(json!([{"class_name": "Flatten", "input_shape": [big, big, big]}])),
        "layer_too_large"
    );
    assert_eq!(
        code(json!([{"class_name": "Dense", "units": big, "input_dim": 2}])),
        "too_many_parameters"
    );
    assert_eq!(
        code(json!([{"class_name": "Dense", "units": big + 1, "input_dim": 2}])),
        "invalid_field"
    );
    assert_eq!(
        code(json!([{"class_name": "Dense", "units": u64::MAX, "input_dim": 2}])),
        "invalid_field"
    );
    assert_eq!(
        code(on_image("UpSampling2D", json!({"size": big}))),
        "layer_too_large"
    );
    assert_eq!(
        code(on_image("ZeroPadding2D", json!({"padding": big}))),
        "layer_too_large"
    );
    assert_eq!(
        code(on_image("Resizing", json!({"height": big, "width": big}))),
        "layer_too_large"
    );
    // A window may pad its input beyond all memory though its output stays small.
    assert_eq!(
        code(on_image(
            "MaxPooling2D",
            json!({"pool_size": big, "strides": 1, "padding": "same"})
        )),
        "layer_too_large"
    );
    assert_eq!(
        code(on_image(
            "Conv2D",
            json!({"filters": 1, "kernel_size": 2, "dilation_rate": big, "padding": "same"})
        )),
        "layer_too_large"
    );
    assert_eq!(
        code(on_image(
            "DepthwiseConv2D",
            json!({"kernel_size": 1, "depth_multiplier": big})
        )),
        "layer_too_large"
    );
    assert_eq!(
        code(on_image(
            "SeparableConv2D",
            json!({"filters": 1, "kernel_size": 1, "depth_multiplier": big})
        )),
        "layer_too_large"
    );
    let relu = json!({"class_name": "ReLU"});
    let mut layers = vec![relu; MAX_LAYERS + 1];
    layers[0]["input_shape"] = json!([4]);
    assert_eq!(code(json!(layers)), "too_many_layers");
    layers.pop();
    assert_eq!(read(&json!(layers)).nodes.len(), MAX_LAYERS + 1);
}

#[test]
fn text_that_is_no_json_is_answered_with_its_place() {
    let error = Architecture::from_json("{\"layers\": [\n  {\"class_name\" \"Dense\"}]}")
        .expect_err("no colon");
    assert_eq!(error.code(), "invalid_json");
    assert_eq!(
        error.to_string(),
        "not JSON: expected `:` at line 2, column 17; send the text that Keras' to_json() gives"
    );
    let error = Architecture::from_json("{\"layers\": [").expect_err("cut");
    assert!(
        error
            .to_string()
            .starts_with("not JSON: the text ends too early at line 1"),
        "{error}"
    );
    let error = Architecture::from_json(&"[".repeat(10_000)).expect_err("deep");
    assert_eq!(error.code(), "json_too_deep");
    assert_eq!(
        Architecture::from_json("").expect_err("empty").code(),
        "invalid_json"
    );
}
