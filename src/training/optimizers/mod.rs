//! Keras' optimizers by name, with Keras' defaults and Keras' formulas, on Burn's optimizer API.
//!
//! Burn has optimizers of the same names, but they are PyTorch's: other defaults, epsilon in
//! another place, another start of Adagrad's accumulator. A curve that must follow Keras needs
//! Keras' own arithmetic, which is that of `keras/src/optimizers/*.py` (Keras 3).

mod rule;

use burn::optim::ModuleOptimizer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::CompileError;
use rule::Rule;

/// An optimizer with its settings, as in Keras' `compile(optimizer=…)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "class_name", content = "config")]
#[allow(missing_docs)]
pub enum Optimizer {
    SGD {
        learning_rate: f64,
        momentum: f64,
        nesterov: bool,
    },
    RMSprop {
        learning_rate: f64,
        rho: f64,
        momentum: f64,
        epsilon: f64,
        centered: bool,
    },
    Adagrad {
        learning_rate: f64,
        initial_accumulator_value: f64,
        epsilon: f64,
    },
    Adadelta {
        learning_rate: f64,
        rho: f64,
        epsilon: f64,
    },
    Adam {
        learning_rate: f64,
        beta_1: f64,
        beta_2: f64,
        epsilon: f64,
        amsgrad: bool,
    },
}

/// Names accepted for an optimizer, in Keras' spelling.
pub const NAMES: [&str; 5] = ["SGD", "RMSprop", "Adagrad", "Adadelta", "Adam"];

impl Optimizer {
    /// The optimizer of this name (any case, as `keras.optimizers.get`) with Keras' defaults.
    pub fn named(name: &str) -> Result<Self, CompileError> {
        Self::from_parts(name, &Map::new())
    }

    /// Reads what Keras users write: `"adam"`, `{"class_name": "Adam", "config": {…}}` as Keras
    /// serialises it, or flat `{"name": "adam", "learning_rate": 0.01}`.
    pub fn from_value(value: &Value) -> Result<Self, CompileError> {
        match value {
            Value::String(name) => Self::named(name),
            Value::Object(object) => {
                let name = object
                    .get("class_name")
                    .or_else(|| object.get("name"))
                    .and_then(Value::as_str)
                    .ok_or_else(|| {
                        CompileError::new(
                            "optimizer",
                            "an object without \"class_name\"",
                            format!("\"class_name\" as one of {}", NAMES.join(", ")),
                        )
                    })?;
                match object.get("config") {
                    Some(Value::Object(config)) => Self::from_parts(name, config),
                    Some(other) => Err(CompileError::new(
                        "optimizer.config",
                        other.to_string(),
                        "an object of settings",
                    )),
                    None => {
                        let mut settings = object.clone();
                        settings.remove("class_name");
                        settings.remove("name");
                        Self::from_parts(name, &settings)
                    }
                }
            }
            other => Err(CompileError::new(
                "optimizer",
                other.to_string(),
                format!("a name ({}) or an object", NAMES.join(", ")),
            )),
        }
    }

    fn from_parts(name: &str, settings: &Map<String, Value>) -> Result<Self, CompileError> {
        let mut settings = Settings::new(settings);
        let optimizer = match name.to_ascii_lowercase().as_str() {
            "sgd" => Self::SGD {
                learning_rate: settings.positive("learning_rate", 0.01)?,
                momentum: settings.fraction("momentum", 0.0, true)?,
                nesterov: settings.flag("nesterov")?,
            },
            "rmsprop" => Self::RMSprop {
                learning_rate: settings.positive("learning_rate", 0.001)?,
                rho: settings.fraction("rho", 0.9, true)?,
                momentum: settings.fraction("momentum", 0.0, true)?,
                epsilon: settings.positive("epsilon", 1e-7)?,
                centered: settings.flag("centered")?,
            },
            "adagrad" => Self::Adagrad {
                learning_rate: settings.positive("learning_rate", 0.001)?,
                initial_accumulator_value: settings
                    .not_negative("initial_accumulator_value", 0.1)?,
                epsilon: settings.positive("epsilon", 1e-7)?,
            },
            "adadelta" => Self::Adadelta {
                learning_rate: settings.positive("learning_rate", 0.001)?,
                rho: settings.fraction("rho", 0.95, true)?,
                epsilon: settings.positive("epsilon", 1e-7)?,
            },
            "adam" => Self::Adam {
                learning_rate: settings.positive("learning_rate", 0.001)?,
                beta_1: settings.fraction("beta_1", 0.9, false)?,
                beta_2: settings.fraction("beta_2", 0.999, false)?,
                epsilon: settings.positive("epsilon", 1e-7)?,
                amsgrad: settings.flag("amsgrad")?,
            },
            _ => {
                return Err(CompileError::new(
                    "optimizer",
                    format!("\"{name}\""),
                    NAMES.join(", "),
                ));
            }
        };
        settings.nothing_left()?;
        Ok(optimizer)
    }

    /// Keras' `learning_rate`.
    pub fn learning_rate(&self) -> f64 {
        match *self {
            Self::SGD { learning_rate, .. }
            | Self::RMSprop { learning_rate, .. }
            | Self::Adagrad { learning_rate, .. }
            | Self::Adadelta { learning_rate, .. }
            | Self::Adam { learning_rate, .. } => learning_rate,
        }
    }

    /// Burn's optimizer over a whole module, with fresh state.
    pub fn init(&self) -> ModuleOptimizer {
        Rule(self.clone()).into()
    }
}

/// The settings of one optimizer, taken one by one so that what is left over can be refused.
struct Settings {
    given: Map<String, Value>,
    known: Vec<&'static str>,
}

/// Settings of Keras' base optimizer that may be present at the values that change nothing.
fn is_neutral(name: &str, value: &Value) -> bool {
    match name {
        "name"
        | "loss_scale_factor"
        | "gradient_accumulation_steps"
        | "decay"
        | "is_legacy_optimizer"
        | "jit_compile" => match name {
            "name" => value.is_string(),
            "jit_compile" | "is_legacy_optimizer" => value.is_boolean(),
            _ => value.is_null() || value.as_f64() == Some(0.0),
        },
        "weight_decay"
        | "clipnorm"
        | "global_clipnorm"
        | "clipvalue"
        | "ema_overwrite_frequency" => value.is_null(),
        "use_ema" => value == &Value::Bool(false),
        // Without `use_ema` the momentum of the average is not used.
        "ema_momentum" => true,
        _ => false,
    }
}

impl Settings {
    fn new(given: &Map<String, Value>) -> Self {
        let mut given = given.clone();
        // Keras 1 and 2 wrote `lr`.
        if let Some(rate) = given.remove("lr") {
            given.entry("learning_rate").or_insert(rate);
        }
        Self {
            given,
            known: Vec::new(),
        }
    }

    fn number(
        &mut self,
        name: &'static str,
        default: f64,
        allowed: &str,
        accepts: impl Fn(f64) -> bool,
    ) -> Result<f64, CompileError> {
        self.known.push(name);
        match self.given.remove(name) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value
                .as_f64()
                .filter(|&number| number.is_finite() && accepts(number))
                .ok_or_else(|| {
                    CompileError::new(format!("optimizer.{name}"), value.to_string(), allowed)
                }),
        }
    }

    fn positive(&mut self, name: &'static str, default: f64) -> Result<f64, CompileError> {
        self.number(name, default, "a number above 0", |n| n > 0.0)
    }

    fn not_negative(&mut self, name: &'static str, default: f64) -> Result<f64, CompileError> {
        self.number(name, default, "a number of at least 0", |n| n >= 0.0)
    }

    fn fraction(
        &mut self,
        name: &'static str,
        default: f64,
        one: bool,
    ) -> Result<f64, CompileError> {
        let allowed = if one {
            "a number from 0 to 1"
        } else {
            "a number of at least 0 and below 1"
        };
        self.number(name, default, allowed, |n| {
            (0.0..1.0).contains(&n) || (one && n == 1.0)
        })
    }

    fn flag(&mut self, name: &'static str) -> Result<bool, CompileError> {
        self.known.push(name);
        match self.given.remove(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(CompileError::new(
                format!("optimizer.{name}"),
                other.to_string(),
                "true or false",
            )),
        }
    }

    fn nothing_left(self) -> Result<(), CompileError> {
        match self
            .given
            .iter()
            .find(|(name, value)| !is_neutral(name, value))
        {
            None => Ok(()),
            Some((name, value)) => Err(CompileError::new(
                format!("optimizer.{name}"),
                value.to_string(),
                format!("only the settings {}", self.known.join(", ")),
            )),
        }
    }
}
