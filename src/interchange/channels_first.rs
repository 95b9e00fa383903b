//! Models built with `data_format="channels_first"` (once `dim_ordering="th"`), turned into channels-last ones.
//!
//! Kernels need no turning: Keras keeps them `[height, width, in, out]` either way. What changes is the documents' shapes
//! and axes, and the order in which `Flatten` hands the pixels to the next `Dense`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::InterchangeError;
use super::assign::{Layouts, Plan, layers};
use crate::architecture::Architecture;

/// A model whose document has been turned, and whose weights are still in the file's order.
struct Turned {
    /// Positions, not counting an `InputLayer`, of the `Flatten` layers that run through each channel as a whole.
    by_channel: Vec<usize>,
}

/// The architecture of a document, and how the weights that were saved with it are turned.
pub(super) fn plan(document: &mut Value) -> Result<Plan, InterchangeError> {
    let turned = turn(document)?;
    let architecture = Architecture::from_value(document)?;
    let layouts = Layouts {
        channels_first: turned.is_some(),
        reorder: match turned {
            Some(turned) => turned.reorder(&architecture)?,
            None => HashMap::new(),
        },
        ..Layouts::default()
    };
    Ok(Plan {
        architecture,
        layouts,
    })
}

/// Turns a channels-first Sequential document into a channels-last one; `None` and no change if it is that already.
fn turn(document: &mut Value) -> Result<Option<Turned>, InterchangeError> {
    let Some(layers) = layers_of(document) else {
        return Ok(None);
    };
    let formats: Vec<_> = layers
        .iter()
        .map(|layer| (name(layer), format(layer)))
        .collect();
    let spatial = |wanted| {
        let mut found = formats.iter().zip(layers.iter());
        found.find(|((_, format), layer)| *format == Some(wanted) && class_name(layer) != "Flatten")
    };
    let Some(((first, _), _)) = spatial(Order::ChannelsFirst) else {
        return Ok(None);
    };
    if let Some(((last, _), _)) = spatial(Order::ChannelsLast) {
        let reason = format!("it is channels_last and layer {first:?} is channels_first");
        return Err(refusal(last, reason));
    }

    let mut by_channel = Vec::new();
    let mut is_image = true;
    let mut position = 0;
    let mut last = String::new();
    for layer in layers {
        let name = name(layer);
        let class_name = class_name(layer).to_owned();
        let was_first = format(layer) == Some(Order::ChannelsFirst);
        let Some(config) = layer.get_mut("config").and_then(Value::as_object_mut) else {
            continue;
        };
        if is_image {
            turn_layer(&name, &class_name, config)?;
        }
        match class_name.as_str() {
            "Flatten" if is_image => {
                // Told its order, Flatten puts the channels last before it flattens.
                if !was_first {
                    by_channel.push(position);
                }
                is_image = false;
            }
            "GlobalMaxPooling2D" | "GlobalAveragePooling2D" => {
                is_image = config.get("keepdims") == Some(&Value::Bool(true));
            }
            _ => {}
        }
        if class_name != "InputLayer" {
            position += 1;
        }
        last = name;
    }
    if is_image {
        return Err(refusal(&last, "the model's output is an image"));
    }
    Ok(Some(Turned { by_channel }))
}

/// Turns the shapes and axes in the config of a layer that works on images.
fn turn_layer(
    name: &str,
    class_name: &str,
    config: &mut Map<String, Value>,
) -> Result<(), InterchangeError> {
    for (field, last) in [("data_format", "channels_last"), ("dim_ordering", "tf")] {
        if let Some(value) = config.get_mut(field) {
            *value = json!(last);
        }
    }
    for field in ["batch_input_shape", "batch_shape", "input_shape"] {
        if let Some(shape) = config.get_mut(field).and_then(Value::as_array_mut)
            && let Some([_, _, _]) = shape.last_chunk::<3>()
        {
            let channels = shape.len() - 3;
            shape[channels..].rotate_left(1);
        }
    }
    match class_name {
        "BatchNormalization" | "Normalization" => {
            let axis = config.get("axis").map(|axis| axis.get(0).unwrap_or(axis));
            if axis.and_then(Value::as_i64) != Some(1) {
                return Err(refusal(name, "its axis is not the channels' (1)"));
            }
            config.insert("axis".into(), json!(-1));
        }
        "Dense" | "LayerNormalization" | "Softmax" => {
            return Err(refusal(name, "it works along the images' width"));
        }
        "Reshape" | "Permute" => {
            return Err(refusal(name, "it changes the axes of images"));
        }
        "Rescaling" if config.values().any(Value::is_array) => {
            return Err(refusal(name, "it scales along the images' width"));
        }
        _ => {}
    }
    match config.get("activation").and_then(Value::as_str) {
        Some(activation @ ("softmax" | "log_softmax")) => {
            let reason = format!("its {activation} works along the images' width");
            Err(refusal(name, reason))
        }
        _ => Ok(()),
    }
}

impl Turned {
    /// The order of rows, by variable, that takes the file's weights to the turned model's: row `i` was row `order[i]`.
    fn reorder(
        &self,
        architecture: &Architecture,
    ) -> Result<HashMap<String, Vec<usize>>, InterchangeError> {
        let layers: Vec<_> = layers(architecture).collect();
        let mut reorder = HashMap::new();
        for &flatten in &self.by_channel {
            let Some(order) = layers
                .get(flatten)
                .and_then(|(_, name)| pixel_order(architecture, name))
            else {
                continue;
            };
            let mut reached = false;
            for (class_name, name) in layers.iter().skip(flatten + 1) {
                let variables = match *class_name {
                    "Dense" => &["kernel"][..],
                    "BatchNormalization" => &["gamma", "beta", "moving_mean", "moving_variance"],
                    "LayerNormalization" => &["gamma", "beta"],
                    "Reshape" => {
                        return Err(refusal(name, "it changes the axes of what Flatten gave"));
                    }
                    _ => &[],
                };
                for variable in variables {
                    reorder.insert(format!("{name}/{variable}"), order.clone());
                }
                if *class_name == "Dense" {
                    reached = true;
                    break;
                }
            }
            if let (false, Some((_, name))) = (reached, layers.get(flatten)) {
                return Err(refusal(
                    name,
                    "no Dense layer follows that could undo its order",
                ));
            }
        }
        Ok(reorder)
    }
}

/// Where each pixel that `Flatten` gives in channels-last order stood in channels-first order.
fn pixel_order(architecture: &Architecture, flatten: &str) -> Option<Vec<usize>> {
    let node = architecture
        .nodes
        .iter()
        .find(|node| node.name == flatten)?;
    let input = architecture.nodes.get(*node.inputs.first()?)?;
    let &[height, width, channels] = input.output_shape.dims() else {
        return None;
    };
    let pixels = height * width;
    Some(
        (0..pixels)
            .flat_map(|pixel| (0..channels).map(move |c| c * pixels + pixel))
            .collect(),
    )
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    ChannelsFirst,
    ChannelsLast,
}

fn format(layer: &Value) -> Option<Order> {
    let config = layer.get("config")?;
    match config
        .get("data_format")
        .or_else(|| config.get("dim_ordering"))?
        .as_str()?
    {
        "channels_first" | "th" => Some(Order::ChannelsFirst),
        "channels_last" | "tf" => Some(Order::ChannelsLast),
        _ => None,
    }
}

/// The layers of a Sequential document, whose config was the list itself before Keras 2.2.
fn layers_of(document: &mut Value) -> Option<&mut Vec<Value>> {
    match document.get_mut("config")? {
        Value::Array(layers) => Some(layers),
        config => config.get_mut("layers")?.as_array_mut(),
    }
}

fn class_name(layer: &Value) -> &str {
    layer
        .get("class_name")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn name(layer: &Value) -> String {
    let name = layer.get("config").and_then(|config| config.get("name"));
    name.and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn refusal(layer: &str, reason: impl Into<String>) -> InterchangeError {
    InterchangeError::ChannelsFirst {
        layer: layer.to_owned(),
        reason: reason.into(),
    }
}
