//! What Keras' `compile` fixes: optimizer, loss and metrics.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Loss, Optimizer};

/// A setting of `compile` that can't be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("compile: \"{field}\" is {found}; allowed: {allowed}")]
pub struct CompileError {
    field: String,
    found: String,
    allowed: String,
}

impl CompileError {
    pub(super) fn new(
        field: impl Into<String>,
        found: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        Self {
            field: field.into(),
            found: found.into(),
            allowed: allowed.into(),
        }
    }
}

/// The settings of Keras' `compile(optimizer, loss, metrics)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "Value")]
#[schema(example = json!({"optimizer": "adam", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}))]
pub struct Compile {
    /// A name (SGD, RMSprop, Adagrad, Adadelta, Adam), or `{"class_name": …, "config": {…}}` as Keras
    /// serialises it, or `{"name": …}` with the settings beside it. Default: RMSprop.
    #[schema(value_type = Option<Value>)]
    pub optimizer: Optimizer,
    /// The loss that is minimised.
    pub loss: Loss,
}

impl TryFrom<Value> for Compile {
    type Error = CompileError;

    /// Reads the `compile` object of a training request, and Keras' `training_config`.
    fn try_from(value: Value) -> Result<Self, CompileError> {
        let Value::Object(object) = value else {
            return Err(CompileError::new(
                "compile",
                value.to_string(),
                "an object {\"optimizer\": …, \"loss\": …, \"metrics\": [\"accuracy\"]}",
            ));
        };
        let mut optimizer = Optimizer::named("rmsprop")?;
        let mut loss = None;
        for (field, value) in &object {
            match (field.as_str(), value) {
                // Keras 1 and 2 wrote `optimizer_config`.
                ("optimizer" | "optimizer_config", value) => {
                    optimizer = Optimizer::from_value(value)?;
                }
                ("loss", value) => loss = Some(read_loss(value)?),
                ("metrics", value) => check_metrics(value)?,
                (
                    "loss_weights"
                    | "weighted_metrics"
                    | "sample_weight_mode"
                    | "run_eagerly"
                    | "steps_per_execution"
                    | "jit_compile"
                    | "auto_scale_loss",
                    Value::Null | Value::Bool(_) | Value::Number(_),
                ) => {}
                (field, value) => {
                    return Err(CompileError::new(
                        field,
                        value.to_string(),
                        "only the fields optimizer, loss, metrics",
                    ));
                }
            }
        }
        match loss {
            Some(loss) => Ok(Self { optimizer, loss }),
            None => Err(CompileError::new(
                "loss",
                "missing",
                super::losses::NAMES.join(", "),
            )),
        }
    }
}

fn read_loss(value: &Value) -> Result<Loss, CompileError> {
    match value {
        Value::String(name) => Loss::named(name),
        // As Keras serialises a loss object.
        Value::Object(object) => {
            let name = object.get("class_name").and_then(Value::as_str);
            let config = object.get("config");
            if config.and_then(|config| config.get("from_logits")) == Some(&Value::Bool(true)) {
                return Err(CompileError::new(
                    "loss.from_logits",
                    "true",
                    "false; let the network end in the activation softmax or sigmoid (the loss is \
                     then computed from the logits all the same)",
                ));
            }
            let smoothing = config.and_then(|config| config.get("label_smoothing"));
            if smoothing.and_then(Value::as_f64).unwrap_or(0.0) != 0.0 {
                return Err(CompileError::new(
                    "loss.label_smoothing",
                    smoothing.map(Value::to_string).unwrap_or_default(),
                    "0",
                ));
            }
            Loss::named(name.unwrap_or_default())
        }
        other => Err(CompileError::new(
            "loss",
            other.to_string(),
            super::losses::NAMES.join(", "),
        )),
    }
}

/// Accuracy is always reported, so a list may name it or leave it out, but can ask for nothing else.
fn check_metrics(value: &Value) -> Result<(), CompileError> {
    const KNOWN: [&str; 6] = [
        "accuracy",
        "acc",
        "categorical_accuracy",
        "sparse_categorical_accuracy",
        "binary_accuracy",
        "compile_metrics",
    ];
    let refuse = |found: &Value| {
        Err(CompileError::new(
            "metrics",
            found.to_string(),
            "[\"accuracy\"]",
        ))
    };
    match value {
        Value::Null => Ok(()),
        Value::Array(items) => items.iter().try_for_each(check_metrics),
        Value::String(name) if KNOWN.contains(&name.as_str()) => Ok(()),
        Value::Object(object) => match object.get("config").and_then(|c| c.get("name")) {
            Some(Value::String(name)) if KNOWN.contains(&name.as_str()) => Ok(()),
            _ => refuse(value),
        },
        other => refuse(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(value: Value) -> String {
        Compile::try_from(value).unwrap_err().to_string()
    }

    #[test]
    fn keras_spellings_mean_the_same() {
        let adam = Compile::try_from(json!({"optimizer": "adam", "loss": "mse"})).unwrap();
        for optimizer in [
            json!("Adam"),
            json!({"name": "adam", "learning_rate": 0.001}),
            json!({"module": "keras.optimizers", "class_name": "Adam", "registered_name": null,
                "config": {"name": "adam", "learning_rate": 0.001, "weight_decay": null,
                    "clipnorm": null, "global_clipnorm": null, "clipvalue": null, "use_ema": false,
                    "ema_momentum": 0.99, "ema_overwrite_frequency": null,
                    "loss_scale_factor": null, "gradient_accumulation_steps": null,
                    "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": false}}),
            json!({"class_name": "Adam", "config": {"lr": 0.001, "decay": 0.0}}),
        ] {
            let same = Compile::try_from(
                json!({"optimizer": optimizer, "loss": "mean_squared_error", "metrics": ["accuracy"]}),
            );
            assert_eq!(same.unwrap(), adam);
        }
        let read_back: Compile =
            serde_json::from_value(serde_json::to_value(&adam).unwrap()).unwrap();
        assert_eq!(read_back, adam);
    }

    #[test]
    fn a_refusal_names_the_field_what_was_found_and_what_is_allowed() {
        let unknown = refusal(json!({"optimizer": "adamw", "loss": "mse"}));
        assert!(
            unknown.contains("\"adamw\"") && unknown.contains("Adadelta"),
            "{unknown}"
        );
        let typo = refusal(json!({"optimizer": {"name": "sgd", "momentun": 0.9}, "loss": "mse"}));
        assert!(
            typo.contains("optimizer.momentun") && typo.contains("nesterov"),
            "{typo}"
        );
        let range = refusal(json!({"optimizer": {"name": "adam", "beta_1": 1.0}, "loss": "mse"}));
        assert!(range.contains("below 1"), "{range}");
        let rate =
            refusal(json!({"optimizer": {"name": "sgd", "learning_rate": -1}, "loss": "mse"}));
        assert!(rate.contains("above 0") && rate.contains("-1"), "{rate}");
        let decay =
            refusal(json!({"optimizer": {"name": "sgd", "weight_decay": 0.1}, "loss": "mse"}));
        assert!(decay.contains("weight_decay"), "{decay}");
        assert!(refusal(json!({"optimizer": "sgd"})).contains("\"loss\" is missing"));
        assert!(refusal(json!({"loss": "hinge"})).contains("mean_squared_error"));
        assert!(refusal(json!({"loss": "mse", "metrics": ["auc"]})).contains("auc"));
        assert!(refusal(json!([])).contains("an object"));
    }
}
