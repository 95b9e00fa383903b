//! A chain: the calls of a `Functional` document, each of which leads from one layer to the next.
//!
//! Keras lists the layers of such a model in the order in which they are computed. All layers here
//! take one input, so a model with one output is a chain: what branches off leads nowhere, because
//! nothing merges it again. Nothing is lost by keeping it as the `Sequential` that it is.

use serde_json::Value;

use super::draft::Draft;
use super::fields::{Fields, invalid, missing, shorten};
use super::{ArchitectureError, Fault};

/// What a `Functional` document says of its layers' inputs.
pub(super) struct Chain {
    /// `inbound_nodes` of each layer.
    calls: Vec<Option<Value>>,
    input_layers: Option<Value>,
    output_layers: Option<Value>,
}

/// The output of a layer, as a call refers to it.
struct Reference<'a> {
    layer: &'a str,
    /// The other arguments of the call; Keras 1 and 2 put them here.
    arguments: Option<&'a Value>,
}

impl Chain {
    /// Takes the calls out of the model's options and its layers.
    pub(super) fn take(config: &mut Fields, layers: &mut [Value]) -> Self {
        let inbound = |layer: &mut Value| {
            let calls = layer.as_object_mut()?.swap_remove("inbound_nodes");
            calls.filter(|calls| !calls.is_null())
        };
        Self {
            calls: layers.iter_mut().map(inbound).collect(),
            input_layers: config.take("input_layers"),
            output_layers: config.take("output_layers"),
        }
    }

    /// Refuses everything in which a layer takes more, less or other than what the layer before it
    /// gives.
    pub(super) fn check(self, drafts: &[Draft]) -> Result<(), ArchitectureError> {
        let mut before: Option<&Draft> = None;
        for (draft, calls) in drafts.iter().zip(&self.calls) {
            // An unknown layer may well be called as none here is, and that is not its first fault.
            draft
                .check_class()
                .and_then(|()| match before {
                    None => first(&draft.place.class_name),
                    Some(before) => link(&before.place.name, calls.as_ref()),
                })
                .map_err(|fault| draft.place.at_fault(fault))?;
            before = Some(draft);
        }
        let (Some(first), Some(last)) = (drafts.first(), before) else {
            return Err(ArchitectureError::Empty);
        };
        end("input_layers", self.input_layers, &first.place.name)
            .and_then(|()| end("output_layers", self.output_layers, &last.place.name))
            .map_err(|fault| ArchitectureError::Model { fault })
    }
}

fn first(class_name: &str) -> Result<(), Fault> {
    if class_name == "InputLayer" {
        return Ok(());
    }
    Err(Fault::NotAChain {
        found: "it comes first and is no InputLayer".into(),
    })
}

/// Checks that a layer is called once, on what the layer `before` gives.
fn link(before: &str, calls: Option<&Value>) -> Result<(), Fault> {
    let field = "inbound_nodes";
    let allowed = "one call, [[[name, 0, 0, {}]]] with the name of the layer before";
    let calls = calls.ok_or_else(|| missing(field, allowed))?;
    let wrong = || invalid(field, calls, allowed);
    let call = match calls.as_array().ok_or_else(wrong)?.as_slice() {
        [] => {
            return Err(Fault::NotAChain {
                found: "it takes no input".into(),
            });
        }
        [call] => call,
        several => {
            return Err(Fault::NotAChain {
                found: format!("it is called {} times", several.len()),
            });
        }
    };
    // Keras 3 has {"args": […], "kwargs": {…}}, Keras 1 and 2 have the list of inputs itself.
    let keras_3 = call.get("args");
    let mut inputs = Vec::new();
    if !references(keras_3.unwrap_or(call), &mut inputs) {
        return Err(wrong());
    }
    let [input] = inputs.as_slice() else {
        return Err(Fault::NotAChain {
            found: format!("it takes {} inputs, {}", inputs.len(), names(&inputs)),
        });
    };
    if input.layer != before {
        return Err(Fault::NotAChain {
            found: format!(
                "it takes the output of {}, and the layer before it is \"{before}\"",
                names(&inputs)
            ),
        });
    }
    let arguments = match keras_3 {
        Some(_) => call.get("kwargs"),
        None => input.arguments,
    };
    let mut arguments = match arguments {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Object(arguments)) => Fields::new(arguments.clone()),
        Some(_) => return Err(wrong()),
    };
    arguments.absent("mask")?;
    if keras_3.is_some() {
        // What the caller of the model says counts there, whatever is written here.
        arguments.ignore("training");
    } else {
        arguments.absent("training")?;
    }
    arguments.finish()
}

/// Checks that the model has one input or one output, and that it is this layer's.
fn end(field: &'static str, value: Option<Value>, layer: &str) -> Result<(), Fault> {
    let allowed = format!("[[\"{layer}\", 0, 0]]");
    let value = value.ok_or_else(|| missing(field, allowed.as_str()))?;
    let mut ends = Vec::new();
    if !references(&value, &mut ends) {
        return Err(invalid(field, &value, allowed));
    }
    match ends.as_slice() {
        [end] if end.layer == layer => Ok(()),
        _ => Err(Fault::NotAChain {
            found: format!(
                "\"{field}\" has {}, where \"{layer}\" alone is expected",
                names(&ends)
            ),
        }),
    }
}

/// Collects the references in a value: one, or a list or an object of them. Says whether there is
/// nothing else in it.
fn references<'a>(value: &'a Value, found: &mut Vec<Reference<'a>>) -> bool {
    match value {
        Value::Array(list) => match list.as_slice() {
            // Its layer, which of the layer's calls, which of the call's outputs.
            [Value::String(layer), call, output, arguments @ ..] => {
                found.push(Reference {
                    layer,
                    arguments: arguments.first(),
                });
                *call == 0 && *output == 0 && arguments.len() < 2
            }
            list => list.iter().all(|item| references(item, found)),
        },
        Value::Object(object) => match value.pointer("/config/keras_history") {
            Some(history) => references(history, found),
            None => object.values().all(|item| references(item, found)),
        },
        _ => false,
    }
}

/// The layers of references, as an error shows them.
fn names(references: &[Reference]) -> String {
    let shown = 4;
    let mut names: Vec<String> = references
        .iter()
        .take(shown)
        .map(|reference| format!("\"{}\"", shorten(reference.layer.to_owned())))
        .collect();
    match references.len() {
        0 => names.push("none".into()),
        all if all > shown => names.push("…".into()),
        _ => {}
    }
    names.join(", ")
}
