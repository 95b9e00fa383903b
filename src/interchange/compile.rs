//! What `model.compile` was told, translated between the forms in which the versions of Keras write it.

use serde_json::{Map, Value, json};

/// The settings that every Keras knows of an optimizer of the five that Irori trains with.
const OPTIMIZER_SETTINGS: [&str; 10] = [
    "learning_rate",
    "momentum",
    "nesterov",
    "rho",
    "epsilon",
    "centered",
    "initial_accumulator_value",
    "beta_1",
    "beta_2",
    "amsgrad",
];

/// The settings of a loss that change its value.
const LOSS_SETTINGS: [&str; 3] = ["from_logits", "label_smoothing", "axis"];

/// Losses' short names, which Keras 3.15 writes into files and can't read from them.
const SHORT_LOSSES: [(&str, &str); 6] = [
    ("mse", "mean_squared_error"),
    ("mae", "mean_absolute_error"),
    ("mape", "mean_absolute_percentage_error"),
    ("msle", "mean_squared_logarithmic_error"),
    ("bce", "binary_crossentropy"),
    ("kld", "kl_divergence"),
];

/// Optimizer and loss. The metric is always accuracy: what classifiers are compared by.
pub(super) struct Compile {
    optimizer: Object,
    loss: Object,
}

/// A Keras object: its class, or the short name of it, and settings.
struct Object {
    class_name: String,
    config: Map<String, Value>,
}

impl Compile {
    /// Reads any form of Keras'; `None` if there is no loss that every Keras could read again. The optimizer may be missing
    /// (Keras 3 forgets it in archives that it saves after an `.h5`): then it is `compile`'s default.
    pub(super) fn read(compile: &Value) -> Option<Self> {
        let optimizer = compile
            .get("optimizer")
            .or_else(|| compile.get("optimizer_config"));
        let mut optimizer = optimizer
            .and_then(Object::read)
            .unwrap_or_else(|| Object::named("rmsprop"));
        // tf_keras tells its own optimizers from those of TensorFlow 1 so.
        if let Some(class_name) = optimizer.class_name.strip_prefix("Custom>") {
            optimizer.class_name = class_name.to_owned();
        }
        if let Some(rate) = optimizer.config.remove("lr") {
            optimizer.config.entry("learning_rate").or_insert(rate);
        }
        optimizer.keep(&OPTIMIZER_SETTINGS);
        let mut loss = Object::read(compile.get("loss")?)?;
        loss.keep(&LOSS_SETTINGS);
        let short = loss.class_name.to_ascii_lowercase();
        if let Some((_, long)) = SHORT_LOSSES.iter().find(|(name, _)| *name == short) {
            (*long).clone_into(&mut loss.class_name);
        }
        Some(Self { optimizer, loss })
    }

    /// As in the attribute `training_config` of an HDF5 file.
    pub(super) fn training_config(&self) -> Value {
        json!({
            "loss": self.loss.name_or(|loss| json!({"class_name": loss.class_name, "config": loss.config})),
            "metrics": ["accuracy"],
            "weighted_metrics": null,
            "loss_weights": null,
            "optimizer_config": {
                "class_name": self.optimizer.class_name,
                "config": self.optimizer.config,
            },
        })
    }

    /// As in the document of a `.keras` archive.
    pub(super) fn compile_config(&self) -> Value {
        json!({
            "optimizer": self.optimizer.name_or(|optimizer| optimizer.of_module("keras.optimizers")),
            "loss": self.loss.name_or(|loss| loss.of_module("keras.losses")),
            "loss_weights": null,
            "metrics": ["accuracy"],
            "weighted_metrics": null,
            "run_eagerly": false,
            "steps_per_execution": 1,
            "jit_compile": false,
        })
    }
}

impl Object {
    fn named(name: &str) -> Self {
        Self {
            class_name: name.to_owned(),
            config: Map::new(),
        }
    }

    /// Reads `"adam"`, `{"class_name": …, "config": {…}}`, or flat `{"name": …, …}`.
    fn read(value: &Value) -> Option<Self> {
        if let Some(name) = value.as_str() {
            return Some(Self::named(name));
        }
        let object = value.as_object()?;
        let class_name = object
            .get("class_name")
            .or_else(|| object.get("name"))?
            .as_str()?
            .to_owned();
        let config = match object.get("config") {
            Some(config) => config.as_object()?.clone(),
            None => object.clone(),
        };
        Some(Self { class_name, config })
    }

    fn keep(&mut self, settings: &[&str]) {
        self.config
            .retain(|name, value| settings.contains(&name.as_str()) && !value.is_null());
    }

    /// The bare name where there is nothing to add to it.
    fn name_or(&self, whole: impl Fn(&Self) -> Value) -> Value {
        if self.config.is_empty() {
            json!(self.class_name)
        } else {
            whole(self)
        }
    }

    fn of_module(&self, module: &str) -> Value {
        json!({
            "module": module,
            "class_name": self.class_name,
            "config": self.config,
            "registered_name": null,
        })
    }
}
