//! The small objects among a layer's options: activations, initializers, regularizers.

use serde_json::{Map, Value};

use super::super::initializer::SCALINGS;
use super::super::{Activation, Distribution, Fan, Fault, Initializer, Regularizer};
use super::fields::{Fields, invalid, missing, quote, shorten};
use super::legacy;

/// An object as Keras writes it: a name alone, or `{"class_name": …, "config": …}`.
struct Object {
    name: String,
    fields: Fields,
}

/// Splits an object into its name and its options.
fn object(field: &'static str, value: &Value, allowed: &str) -> Result<Object, Fault> {
    let (name, config) = match value {
        Value::String(name) => (name.as_str(), None),
        Value::Object(map) => {
            let name = map
                .get("class_name")
                .and_then(Value::as_str)
                .ok_or_else(|| invalid(field, value, allowed))?;
            refuse_custom(map, name)?;
            (name, map.get("config"))
        }
        _ => return Err(invalid(field, value, allowed)),
    };
    let config = match config {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(config)) => {
            let mut config = config.clone();
            legacy::rename(name, &mut config);
            config
        }
        // A function: its name is in `config`.
        Some(Value::String(function)) if name == "function" => {
            return Ok(Object {
                name: function.clone(),
                fields: Fields::new(Map::new()),
            });
        }
        Some(_) => return Err(invalid(field, value, allowed)),
    };
    Ok(Object {
        name: name.to_owned(),
        fields: Fields::new(config),
    })
}

/// Refuses an object whose class is not one of Keras' own.
pub(super) fn refuse_custom(object: &Map<String, Value>, class_name: &str) -> Result<(), Fault> {
    let custom = |found: &str| Fault::CustomObject {
        found: shorten(found.to_owned()),
    };
    if class_name.contains('>') || class_name == "Lambda" || class_name == "__lambda__" {
        return Err(custom(class_name));
    }
    if let Some(name) = object.get("registered_name").and_then(Value::as_str)
        && name.contains('>')
    {
        return Err(custom(name));
    }
    match object.get("module").and_then(Value::as_str) {
        Some(module) if !is_keras(module) => Err(custom(&format!("{module}.{class_name}"))),
        _ => Ok(()),
    }
}

/// Whether a Python module is part of Keras, or `builtins`, where it puts functions.
fn is_keras(module: &str) -> bool {
    let root = module.split('.').next().unwrap_or_default();
    matches!(root, "keras" | "tf_keras" | "builtins")
        || module.starts_with("tensorflow.keras")
        || module.starts_with("tensorflow.python.keras")
}

impl Fields {
    pub(super) fn activation(&mut self) -> Result<Activation, Fault> {
        match self.take("activation") {
            None => Ok(Activation::Linear),
            Some(value) => activation(&value),
        }
    }

    pub(super) fn required_activation(&mut self) -> Result<Activation, Fault> {
        let field = "activation";
        let value = self
            .take(field)
            .ok_or_else(|| missing(field, activations()))?;
        activation(&value)
    }

    pub(super) fn initializer(
        &mut self,
        field: &'static str,
        default: Initializer,
    ) -> Result<Initializer, Fault> {
        match self.take(field) {
            None => Ok(default),
            Some(value) => initializer(field, &value),
        }
    }

    pub(super) fn regularizer(
        &mut self,
        field: &'static str,
    ) -> Result<Option<Regularizer>, Fault> {
        match self.take(field) {
            None => Ok(None),
            Some(value) => regularizer(field, &value),
        }
    }
}

/// An activation by name, as a function object, or as one of the activation layers.
fn activation(value: &Value) -> Result<Activation, Fault> {
    let field = "activation";
    let Object { name, mut fields } = object(field, value, &activations())?;
    let activation = match name.as_str() {
        "ReLU" => {
            let options = ReluOptions::take(&mut fields)?;
            match (options.max_value, options.negative_slope, options.threshold) {
                (None, 0.0, 0.0) => Some(Activation::Relu),
                (Some(6.0), 0.0, 0.0) => Some(Activation::Relu6),
                (None, negative_slope, 0.0) => Some(Activation::LeakyRelu { negative_slope }),
                _ => {
                    return Err(Fault::UnsupportedOption {
                        field,
                        found: quote(value),
                        allowed: "a ReLU without threshold and with \"max_value\" null or 6; \
                                  add others as a layer of their own"
                            .into(),
                    });
                }
            }
        }
        "LeakyReLU" => Some(Activation::LeakyRelu {
            negative_slope: leaky_slope(&mut fields)?,
        }),
        "ELU" => Some(Activation::Elu {
            alpha: fields.number("alpha", 1.0)?,
        }),
        "Softmax" => {
            fields.only("axis", &[Value::from(-1)])?;
            Some(Activation::Softmax)
        }
        "Activation" => Some(fields.activation()?),
        name => Activation::named(name),
    };
    let activation = activation.ok_or_else(|| invalid(field, value, activations()))?;
    for ignored in ["name", "trainable", "dtype"] {
        fields.ignore(ignored);
    }
    fields.finish()?;
    Ok(activation)
}

/// What an activation may be, for an error.
fn activations() -> String {
    let names: Vec<&str> = Activation::names().collect();
    format!("one of {}", names.join(", "))
}

/// The options of a `ReLU` layer.
pub(super) struct ReluOptions {
    pub(super) max_value: Option<f64>,
    pub(super) negative_slope: f64,
    pub(super) threshold: f64,
}

impl ReluOptions {
    pub(super) fn take(fields: &mut Fields) -> Result<Self, Fault> {
        let allowed = "a number of 0 or more";
        Ok(Self {
            max_value: fields.optional_number("max_value", allowed, |x| x >= 0.0)?,
            negative_slope: fields.number_where("negative_slope", 0.0, allowed, |x| x >= 0.0)?,
            threshold: fields.number_where("threshold", 0.0, allowed, |x| x >= 0.0)?,
        })
    }
}

/// The slope of a `LeakyReLU` layer.
pub(super) fn leaky_slope(fields: &mut Fields) -> Result<f64, Fault> {
    let allowed = "a number of 0 or more";
    fields.number_where("negative_slope", 0.3, allowed, |slope| slope >= 0.0)
}

/// `glorot_uniform` and `GlorotUniform` alike, without case and underscores.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| *c != '_')
        .flat_map(char::to_lowercase)
        .collect()
}

fn initializer(field: &'static str, value: &Value) -> Result<Initializer, Fault> {
    let allowed = "one of GlorotUniform, GlorotNormal, HeUniform, HeNormal, LecunUniform, LecunNormal, \
                   VarianceScaling, RandomUniform, RandomNormal, TruncatedNormal, Orthogonal, Identity, \
                   Constant, Zeros, Ones";
    let Object { name, mut fields } = object(field, value, allowed)?;
    let plain_name = plain(&name);
    let scaling = SCALINGS.iter().find(|(name, ..)| plain(name) == plain_name);
    let initializer = match (plain_name.as_str(), scaling) {
        (_, Some(&(_, scale, mode, distribution))) => {
            fields.absent("input_axes")?;
            fields.absent("output_axes")?;
            Initializer::VarianceScaling {
                scale,
                mode,
                distribution,
                seed: fields.seed()?,
            }
        }
        ("variancescaling", _) => {
            fields.absent("input_axes")?;
            fields.absent("output_axes")?;
            Initializer::VarianceScaling {
                scale: fields.number_where("scale", 1.0, "a number above 0", |x| x > 0.0)?,
                mode: fields.choice(
                    "mode",
                    &[
                        ("fan_in", Fan::In),
                        ("fan_out", Fan::Out),
                        ("fan_avg", Fan::Avg),
                    ],
                    Fan::In,
                )?,
                distribution: fields.choice(
                    "distribution",
                    &[
                        ("uniform", Distribution::Uniform),
                        ("truncated_normal", Distribution::TruncatedNormal),
                        ("untruncated_normal", Distribution::Normal),
                        // Keras 2's name for the truncated one.
                        ("normal", Distribution::TruncatedNormal),
                    ],
                    Distribution::TruncatedNormal,
                )?,
                seed: fields.seed()?,
            }
        }
        ("zeros" | "zero", _) => Initializer::Zeros,
        ("ones" | "one", _) => Initializer::Ones,
        ("constant", _) => Initializer::Constant {
            value: fields.number("value", 0.0)?,
        },
        ("identity" | "identityinitializer", _) => Initializer::Identity {
            gain: fields.number("gain", 1.0)?,
        },
        ("randomuniform" | "uniform", _) => Initializer::RandomUniform {
            minval: fields.number("minval", -0.05)?,
            maxval: fields.number("maxval", 0.05)?,
            seed: fields.seed()?,
        },
        ("randomnormal" | "normal", _) => Initializer::RandomNormal {
            mean: fields.number("mean", 0.0)?,
            stddev: stddev(&mut fields)?,
            seed: fields.seed()?,
        },
        ("truncatednormal", _) => Initializer::TruncatedNormal {
            mean: fields.number("mean", 0.0)?,
            stddev: stddev(&mut fields)?,
            seed: fields.seed()?,
        },
        ("orthogonal" | "orthogonalinitializer", _) => Initializer::Orthogonal {
            gain: fields.number("gain", 1.0)?,
            seed: fields.seed()?,
        },
        _ => return Err(invalid(field, value, allowed)),
    };
    if let Initializer::RandomUniform { minval, maxval, .. } = initializer
        && minval > maxval
    {
        return Err(invalid(field, value, "a \"minval\" of at most \"maxval\""));
    }
    fields.ignore("dtype");
    fields.finish()?;
    Ok(initializer)
}

fn stddev(fields: &mut Fields) -> Result<f64, Fault> {
    fields.number_where("stddev", 0.05, "a number of 0 or more", |x| x >= 0.0)
}

fn regularizer(field: &'static str, value: &Value) -> Result<Option<Regularizer>, Fault> {
    let allowed = "null, L1, L2 or L1L2";
    // Keras 1 wrote {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.01}.
    if let Value::Object(map) = value
        && map.get("name").and_then(Value::as_str) == Some("WeightRegularizer")
    {
        let mut fields = Fields::new(map.clone());
        fields.ignore("name");
        return factors(fields, 0.0, 0.0);
    }
    let Object { name, fields } = object(field, value, allowed)?;
    match plain(&name).as_str() {
        "l1" => factors(fields, 0.01, 0.0),
        "l2" => factors(fields, 0.0, 0.01),
        "l1l2" => factors(fields, 0.0, 0.0),
        _ => Err(invalid(field, value, allowed)),
    }
}

fn factors(mut fields: Fields, l1: f64, l2: f64) -> Result<Option<Regularizer>, Fault> {
    let mut factor =
        |field, default| fields.number_where(field, default, "a number of 0 or more", |x| x >= 0.0);
    let regularizer = Regularizer {
        l1: factor("l1", l1)?,
        l2: factor("l2", l2)?,
    };
    fields.finish()?;
    // What adds nothing is no regularizer.
    Ok((regularizer.l1 > 0.0 || regularizer.l2 > 0.0).then_some(regularizer))
}
