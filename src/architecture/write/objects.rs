//! The small objects among a layer's options, as Keras 3 writes them.

use serde_json::{Value, json};

use super::super::initializer::SCALINGS;
use super::super::{Activation, Distribution, Fan, Initializer, Regularizer};

/// An object of one of Keras' own classes.
pub(super) fn keras_object(module: &str, class_name: &str, config: Value) -> Value {
    json!({
        "module": module,
        "class_name": class_name,
        "config": config,
        "registered_name": null,
    })
}

pub(super) fn activation(activation: Activation) -> Value {
    if let Some(name) = activation.name() {
        return name.into();
    }
    // The others are layers that Keras also takes as an activation.
    match activation {
        Activation::LeakyRelu { negative_slope } => keras_object(
            "keras.layers",
            "LeakyReLU",
            json!({ "name": "leaky_re_lu", "negative_slope": negative_slope }),
        ),
        Activation::Elu { alpha } => keras_object(
            "keras.layers",
            "ELU",
            json!({ "name": "elu", "alpha": alpha }),
        ),
        _ => Value::Null,
    }
}

pub(super) fn initializer(initializer: &Initializer) -> Value {
    let (class_name, config) = match initializer {
        Initializer::Zeros => ("Zeros", json!({})),
        Initializer::Ones => ("Ones", json!({})),
        Initializer::Constant { value } => ("Constant", json!({ "value": value })),
        // Keras itself forgets the gain when it writes.
        Initializer::Identity { gain: 1.0 } => ("Identity", json!({})),
        Initializer::Identity { gain } => ("Identity", json!({ "gain": gain })),
        Initializer::RandomUniform {
            minval,
            maxval,
            seed,
        } => (
            "RandomUniform",
            json!({ "seed": seed, "minval": minval, "maxval": maxval }),
        ),
        Initializer::RandomNormal { mean, stddev, seed } => (
            "RandomNormal",
            json!({ "seed": seed, "mean": mean, "stddev": stddev }),
        ),
        Initializer::TruncatedNormal { mean, stddev, seed } => (
            "TruncatedNormal",
            json!({ "seed": seed, "mean": mean, "stddev": stddev }),
        ),
        Initializer::Orthogonal { gain, seed } => {
            ("Orthogonal", json!({ "seed": seed, "gain": gain }))
        }
        Initializer::VarianceScaling {
            scale,
            mode,
            distribution,
            seed,
        } => {
            let named = SCALINGS.iter().find(|scaling| {
                (scaling.1, scaling.2, scaling.3) == (*scale, *mode, *distribution)
            });
            match named {
                Some((class_name, ..)) => (*class_name, json!({ "seed": seed })),
                None => (
                    "VarianceScaling",
                    json!({
                        "seed": seed,
                        "scale": scale,
                        "mode": match mode {
                            Fan::In => "fan_in",
                            Fan::Out => "fan_out",
                            Fan::Avg => "fan_avg",
                        },
                        "distribution": match distribution {
                            Distribution::Uniform => "uniform",
                            Distribution::TruncatedNormal => "truncated_normal",
                            Distribution::Normal => "untruncated_normal",
                        },
                    }),
                ),
            }
        }
    };
    keras_object("keras.initializers", class_name, config)
}

pub(super) fn regularizer(regularizer: Option<Regularizer>) -> Value {
    let Some(Regularizer { l1, l2 }) = regularizer else {
        return Value::Null;
    };
    let (class_name, config) = if l2 == 0.0 {
        ("L1", json!({ "l1": l1 }))
    } else if l1 == 0.0 {
        ("L2", json!({ "l2": l2 }))
    } else {
        ("L1L2", json!({ "l1": l1, "l2": l2 }))
    };
    keras_object("keras.regularizers", class_name, config)
}
