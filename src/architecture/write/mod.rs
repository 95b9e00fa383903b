//! Writing a document: the JSON that Keras 3 `to_json()` writes for a `Sequential` model.
//!
//! Options that came after Keras 3.0 (`optional`, `quantization_config`, `renorm`, `antialias`, …) are
//! at their defaults here and left out, so that every Keras 3 reads the document.

mod objects;

use serde_json::{Value, json};

use super::{Architecture, Interpolation, Layer, Node, Padding, Shape, Sides, Window};
use objects::{activation, initializer, keras_object, regularizer};

pub(super) fn model(architecture: &Architecture) -> Value {
    let layers: Vec<Value> = architecture
        .nodes
        .iter()
        .map(|node| layer(node, architecture.input_of(node)))
        .collect();
    let input_shape = batched(architecture.input_shape());
    json!({
        "module": "keras",
        "class_name": "Sequential",
        "config": {
            "name": architecture.name,
            "trainable": true,
            "dtype": float32(),
            "layers": layers,
            "build_input_shape": input_shape,
        },
        "registered_name": null,
        "build_config": { "input_shape": input_shape },
    })
}

fn layer(node: &Node, input: &Shape) -> Value {
    let mut object = keras_object("keras.layers", node.layer.class_name(), config(node));
    if has_build_config(&node.layer) {
        object["build_config"] = json!({ "input_shape": batched(input) });
    }
    object
}

fn config(node: &Node) -> Value {
    let mut config = match &node.layer {
        Layer::Input => {
            return json!({
                "batch_shape": batched(&node.output_shape),
                "dtype": "float32",
                "sparse": false,
                "ragged": false,
                "name": node.name,
            });
        }
        // The one layer whose constructor does not take "trainable".
        Layer::SpatialDropout2D { rate, seed } => {
            return json!({
                "rate": rate,
                "seed": seed,
                "name": node.name,
                "dtype": "float32",
                "data_format": "channels_last",
            });
        }
        _ => json!({
            "name": node.name,
            "trainable": node.trainable,
            "dtype": float32(),
        }),
    };
    if let (Value::Object(config), Value::Object(options)) = (&mut config, options(node)) {
        config.extend(options);
    }
    config
}

/// The options of a layer in Keras' order, without those that all layers have.
fn options(node: &Node) -> Value {
    match &node.layer {
        Layer::Input | Layer::SpatialDropout2D { .. } => json!({}),
        Layer::Dense(dense) => json!({
            "units": dense.units,
            "activation": activation(dense.activation),
            "use_bias": dense.use_bias,
            "kernel_initializer": initializer(&dense.kernel_initializer),
            "bias_initializer": initializer(&dense.bias_initializer),
            "kernel_regularizer": regularizer(dense.kernel_regularizer),
            "bias_regularizer": regularizer(dense.bias_regularizer),
            "kernel_constraint": null,
            "bias_constraint": null,
        }),
        Layer::Conv2D(conv) => windowed(
            json!({ "filters": conv.filters }),
            &conv.window,
            json!({
                "groups": conv.groups,
                "activation": activation(conv.activation),
                "use_bias": conv.use_bias,
                "kernel_initializer": initializer(&conv.kernel_initializer),
                "bias_initializer": initializer(&conv.bias_initializer),
                "kernel_regularizer": regularizer(conv.kernel_regularizer),
                "bias_regularizer": regularizer(conv.bias_regularizer),
                "activity_regularizer": null,
                "kernel_constraint": null,
                "bias_constraint": null,
            }),
        ),
        Layer::DepthwiseConv2D(conv) => windowed(
            json!({ "depth_multiplier": conv.depth_multiplier }),
            &conv.window,
            json!({
                "activation": activation(conv.activation),
                "use_bias": conv.use_bias,
                "depthwise_initializer": initializer(&conv.depthwise_initializer),
                "bias_initializer": initializer(&conv.bias_initializer),
                "depthwise_regularizer": regularizer(conv.depthwise_regularizer),
                "bias_regularizer": regularizer(conv.bias_regularizer),
                "activity_regularizer": null,
                "depthwise_constraint": null,
                "bias_constraint": null,
            }),
        ),
        Layer::SeparableConv2D(conv) => windowed(
            json!({ "depth_multiplier": conv.depth_multiplier, "filters": conv.filters }),
            &conv.window,
            json!({
                "activation": activation(conv.activation),
                "use_bias": conv.use_bias,
                "depthwise_initializer": initializer(&conv.depthwise_initializer),
                "pointwise_initializer": initializer(&conv.pointwise_initializer),
                "bias_initializer": initializer(&conv.bias_initializer),
                "depthwise_regularizer": regularizer(conv.depthwise_regularizer),
                "pointwise_regularizer": regularizer(conv.pointwise_regularizer),
                "bias_regularizer": regularizer(conv.bias_regularizer),
                "activity_regularizer": null,
                "depthwise_constraint": null,
                "pointwise_constraint": null,
                "bias_constraint": null,
            }),
        ),
        Layer::MaxPooling2D(pooling) | Layer::AveragePooling2D(pooling) => json!({
            "pool_size": pooling.pool_size,
            "padding": padding(pooling.padding),
            "strides": pooling.strides,
            "data_format": "channels_last",
        }),
        Layer::GlobalMaxPooling2D { keepdims } | Layer::GlobalAveragePooling2D { keepdims } => {
            json!({ "data_format": "channels_last", "keepdims": keepdims })
        }
        Layer::Flatten => json!({ "data_format": "channels_last" }),
        Layer::Reshape { target_shape } => {
            let sizes = target_shape.iter();
            let sizes: Vec<Value> = sizes
                .map(|size| size.map_or(json!(-1), Value::from))
                .collect();
            json!({ "target_shape": sizes })
        }
        Layer::Permute { dims } => json!({ "dims": dims }),
        Layer::ZeroPadding2D(around) => json!({
            "padding": sides(around),
            "data_format": "channels_last",
        }),
        Layer::Cropping2D(around) => json!({
            "cropping": sides(around),
            "data_format": "channels_last",
        }),
        Layer::UpSampling2D {
            size,
            interpolation,
        } => json!({
            "size": size,
            "data_format": "channels_last",
            "interpolation": interpolation_name(*interpolation),
        }),
        Layer::Activation(function) => json!({ "activation": activation(*function) }),
        Layer::ReLU {
            max_value,
            negative_slope,
            threshold,
        } => json!({
            "max_value": max_value,
            "negative_slope": negative_slope,
            "threshold": threshold,
        }),
        Layer::LeakyReLU { negative_slope } => json!({ "negative_slope": negative_slope }),
        Layer::ELU { alpha } => json!({ "alpha": alpha }),
        Layer::Softmax => json!({ "axis": -1 }),
        Layer::Dropout { rate, seed } => json!({
            "rate": rate,
            "seed": seed,
            "noise_shape": null,
        }),
        Layer::GaussianNoise { stddev, seed } => json!({ "stddev": stddev, "seed": seed }),
        Layer::BatchNormalization(norm) => json!({
            "axis": -1,
            "momentum": norm.momentum,
            "epsilon": norm.epsilon,
            "center": norm.center,
            "scale": norm.scale,
            "beta_initializer": initializer(&norm.beta_initializer),
            "gamma_initializer": initializer(&norm.gamma_initializer),
            "moving_mean_initializer": initializer(&norm.moving_mean_initializer),
            "moving_variance_initializer": initializer(&norm.moving_variance_initializer),
            "beta_regularizer": regularizer(norm.beta_regularizer),
            "gamma_regularizer": regularizer(norm.gamma_regularizer),
            "beta_constraint": null,
            "gamma_constraint": null,
            "synchronized": false,
        }),
        Layer::LayerNormalization(norm) => json!({
            "axis": axes(&norm.axes, node.output_shape.rank()),
            "epsilon": norm.epsilon,
            "center": norm.center,
            "scale": norm.scale,
            "beta_initializer": initializer(&norm.beta_initializer),
            "gamma_initializer": initializer(&norm.gamma_initializer),
            "beta_regularizer": regularizer(norm.beta_regularizer),
            "gamma_regularizer": regularizer(norm.gamma_regularizer),
            "beta_constraint": null,
            "gamma_constraint": null,
        }),
        Layer::Normalization(norm) => {
            let statistics = norm.statistics.as_ref();
            json!({
                "axis": [-1],
                "invert": norm.invert,
                "mean": statistics.map(|statistics| numbers(&statistics.mean)),
                "variance": statistics.map(|statistics| numbers(&statistics.variance)),
            })
        }
        Layer::Rescaling { scale, offset } => json!({
            "scale": numbers(scale),
            "offset": numbers(offset),
        }),
        Layer::Resizing(resizing) => json!({
            "height": resizing.height,
            "width": resizing.width,
            "interpolation": interpolation_name(resizing.interpolation),
            "crop_to_aspect_ratio": resizing.crop_to_aspect_ratio,
            "data_format": "channels_last",
        }),
        Layer::CenterCrop { height, width } => json!({
            "height": height,
            "width": width,
            "data_format": "channels_last",
        }),
        Layer::Augmentation(augmentation) => Value::Object(augmentation.config.clone()),
    }
}

/// Whether Keras writes what the layer was built for; it does for those with something to build.
fn has_build_config(layer: &Layer) -> bool {
    matches!(
        layer,
        Layer::Dense(_)
            | Layer::Conv2D(_)
            | Layer::DepthwiseConv2D(_)
            | Layer::SeparableConv2D(_)
            | Layer::BatchNormalization(_)
            | Layer::LayerNormalization(_)
            | Layer::Normalization(_)
    )
}

/// The options of a layer with a window, in Keras' order.
fn windowed(mut options: Value, window: &Window, more: Value) -> Value {
    let middle = json!({
        "kernel_size": window.kernel_size,
        "strides": window.strides,
        "padding": padding(window.padding),
        "data_format": "channels_last",
        "dilation_rate": window.dilation_rate,
    });
    if let Value::Object(options) = &mut options {
        for part in [middle, more] {
            if let Value::Object(part) = part {
                options.extend(part);
            }
        }
    }
    options
}

fn float32() -> Value {
    keras_object("keras", "DTypePolicy", json!({ "name": "float32" }))
}

fn batched(shape: &Shape) -> Value {
    let dims = shape.dims().iter().map(|&dim| dim.into());
    std::iter::once(Value::Null).chain(dims).collect()
}

fn padding(padding: Padding) -> &'static str {
    match padding {
        Padding::Valid => "valid",
        Padding::Same => "same",
    }
}

fn interpolation_name(interpolation: Interpolation) -> &'static str {
    match interpolation {
        Interpolation::Nearest => "nearest",
        Interpolation::Bilinear => "bilinear",
        Interpolation::Bicubic => "bicubic",
    }
}

fn sides(sides: &Sides) -> Value {
    json!([[sides.top, sides.bottom], [sides.left, sides.right]])
}

/// Axes as Keras counts them: with the batch axis, and the last one alone as -1.
fn axes(axes: &[usize], rank: usize) -> Value {
    match axes {
        [last] if last + 1 == rank => json!([-1]),
        axes => axes.iter().map(|axis| axis + 1).collect(),
    }
}

/// One number for all channels as itself, several as a list.
fn numbers(numbers: &[f64]) -> Value {
    match numbers {
        [single] => json!(single),
        several => json!(several),
    }
}
