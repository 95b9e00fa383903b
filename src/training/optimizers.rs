//! Keras' optimizers by name, with Keras' defaults and Keras' formulas, on Burn's optimizer API.
//!
//! Burn has optimizers of the same names, but they are PyTorch's: other defaults, epsilon in
//! another place, another start of Adagrad's accumulator. A curve that must follow Keras needs
//! Keras' own arithmetic, which is that of `keras/src/optimizers/*.py` (Keras 3).

use burn::optim::{
    LearningRate, ModuleOptimizer, Optimizer as BurnOptimizer, RecordState, StateSink, StateSource,
};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::CompileError;

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

/// What an optimizer remembers of one parameter: how many steps were made, and up to three running
/// tensors, whose meaning is that of the rule (momentum, squared gradient, …).
#[derive(Clone)]
struct Memory<const D: usize> {
    steps: usize,
    first: Option<Tensor<D>>,
    second: Option<Tensor<D>>,
    third: Option<Tensor<D>>,
}

impl<const D: usize> Memory<D> {
    fn empty() -> Self {
        Self {
            steps: 0,
            first: None,
            second: None,
            third: None,
        }
    }
}

/// Names of the tensors of a [`Memory`] in Burn's records.
const SLOTS: [&str; 3] = ["first", "second", "third"];

// By hand, since the derive of Burn 0.22 compiles only inside Burn.
impl<const D: usize> RecordState for Memory<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_scalar(prefix, "steps", self.steps.into());
        for (name, slot) in SLOTS.iter().zip([&self.first, &self.second, &self.third]) {
            if let Some(tensor) = slot {
                out.push_tensor(prefix, name, tensor.to_data());
            }
        }
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let steps = usize::try_from(source.take_scalar(prefix, "steps")?).ok()?;
        let [first, second, third] = SLOTS.map(|name| {
            let data = source.take_tensor(prefix, name)?;
            Some(Tensor::from_data(data, device))
        });
        Some(Self {
            steps,
            first,
            second,
            third,
        })
    }
}

/// A slot's tensor, or one filled with `value` in the shape of `like` at the first step.
fn slot<const D: usize>(slot: Option<Tensor<D>>, like: &Tensor<D>, value: f64) -> Tensor<D> {
    slot.unwrap_or_else(|| Tensor::full(like.shape(), value, &like.device()))
}

/// The update rule of one optimizer for one parameter.
#[derive(Clone)]
struct Rule(Optimizer);

impl BurnOptimizer for Rule {
    type State<const D: usize> = Memory<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        memory: Option<Memory<D>>,
    ) -> (Tensor<D>, Option<Memory<D>>) {
        let mut memory = memory.unwrap_or_else(Memory::empty);
        memory.steps += 1;
        let g = gradient;
        let weight = match self.0 {
            Optimizer::SGD {
                momentum, nesterov, ..
            } => {
                if momentum == 0.0 {
                    weight - g * lr
                } else {
                    let velocity = slot(memory.first.take(), &g, 0.0) * momentum - g.clone() * lr;
                    memory.first = Some(velocity.clone());
                    if nesterov {
                        weight + velocity * momentum - g * lr
                    } else {
                        weight + velocity
                    }
                }
            }
            Optimizer::RMSprop {
                rho,
                momentum,
                epsilon,
                centered,
                ..
            } => {
                let square =
                    slot(memory.first.take(), &g, 0.0) * rho + g.clone() * g.clone() * (1.0 - rho);
                memory.first = Some(square.clone());
                let denominator = if centered {
                    let average =
                        slot(memory.second.take(), &g, 0.0) * rho + g.clone() * (1.0 - rho);
                    memory.second = Some(average.clone());
                    square - average.clone() * average + epsilon
                } else {
                    square + epsilon
                };
                let increment = g * lr / denominator.sqrt();
                if momentum > 0.0 {
                    let velocity =
                        slot(memory.third.take(), &increment, 0.0) * momentum + increment;
                    memory.third = Some(velocity.clone());
                    weight - velocity
                } else {
                    weight - increment
                }
            }
            Optimizer::Adagrad {
                initial_accumulator_value,
                epsilon,
                ..
            } => {
                let sum = slot(memory.first.take(), &g, initial_accumulator_value)
                    + g.clone() * g.clone();
                memory.first = Some(sum.clone());
                weight - g * lr / (sum + epsilon).sqrt()
            }
            Optimizer::Adadelta { rho, epsilon, .. } => {
                let gradients =
                    slot(memory.first.take(), &g, 0.0) * rho + g.clone() * g.clone() * (1.0 - rho);
                let deltas = slot(memory.second.take(), &g, 0.0);
                let delta =
                    (deltas.clone() + epsilon).sqrt() * g / (gradients.clone() + epsilon).sqrt();
                memory.first = Some(gradients);
                memory.second = Some(deltas * rho + delta.clone() * delta.clone() * (1.0 - rho));
                weight - delta * lr
            }
            Optimizer::Adam {
                beta_1,
                beta_2,
                epsilon,
                amsgrad,
                ..
            } => {
                let step = memory.steps as f64;
                // Keras puts both bias corrections into the step size, so epsilon is added to the
                // uncorrected root ("epsilon hat" in Kingma & Ba, 2014, section 2).
                let alpha = lr * (1.0 - beta_2.powf(step)).sqrt() / (1.0 - beta_1.powf(step));
                let m = slot(memory.first.take(), &g, 0.0);
                let m = m.clone() + (g.clone() - m) * (1.0 - beta_1);
                let v = slot(memory.second.take(), &g, 0.0);
                let v = v.clone() + (g.clone() * g - v) * (1.0 - beta_2);
                memory.first = Some(m.clone());
                memory.second = Some(v.clone());
                let v = if amsgrad {
                    let largest = slot(memory.third.take(), &v, 0.0).max_pair(v);
                    memory.third = Some(largest.clone());
                    largest
                } else {
                    v
                };
                weight - m * alpha / (v.sqrt() + epsilon)
            }
        };
        (weight, Some(memory))
    }

    fn to_device<const D: usize>(memory: Memory<D>, device: &Device) -> Memory<D> {
        let moved = |tensor: Option<Tensor<D>>| tensor.map(|tensor| tensor.to_device(device));
        Memory {
            steps: memory.steps,
            first: moved(memory.first),
            second: moved(memory.second),
            third: moved(memory.third),
        }
    }
}
