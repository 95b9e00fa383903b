//! A model as the HDF5 file of `model.save("….h5")`, which Keras 3 and tf_keras 2 both open.

use std::collections::HashMap;

use hdf5_pure::{AttrValue, FileBuilder, FinishedGroup, GroupBuilder, LibVer};
use serde_json::{Map, Value, json};

use super::InterchangeError;
use super::assign::{Slot, layers, slots};
use super::compile::Compile;
use super::read_h5::store_names;
use crate::architecture::Architecture;
use crate::network::{Parameter, Parameters};

/// The Keras whose dialect the file is in: the last before Keras 3, which reads it too.
const DIALECT: &str = "2.15.0";

/// An HDF5 attribute holds at most 64 KiB; Keras keeps lists of names this short, and splits longer ones.
const NAMES_LIMIT: usize = 64_512;

/// Writes a whole model as the bytes of an HDF5 file that `load_model` opens in Keras 3 and in tf_keras 2.
///
/// With `compile`, in any form of Keras' (`training_config`, `compile_config`, or the `compile` of a training request), the
/// loaded model is compiled: `model.evaluate` works at once, with accuracy as its metric.
///
/// # Errors
///
/// The parameters are not those of the architecture.
pub fn write_h5(
    architecture: &Architecture,
    parameters: &Parameters,
    compile: Option<&Value>,
) -> Result<Vec<u8>, InterchangeError> {
    parameters.check(architecture)?;
    let slots = by_layer(architecture);

    let mut weights = FileBuilder::new().create_group("model_weights");
    let names: Vec<&str> = layers(architecture).map(|(_, name)| name).collect();
    set_names(&mut weights, "layer_names", &names);
    weights.set_attr("backend", text("tensorflow"));
    weights.set_attr("keras_version", text(DIALECT));
    for name in names {
        let layer = layer(&mut weights, name, slots.get(name), parameters);
        weights.add_group(layer);
    }
    // Keras keeps variables of the model itself here; a Sequential has none.
    let own = layer(&mut weights, "top_level_model_weights", None, parameters);
    weights.add_group(own);

    let mut file = builder();
    file.set_attr("backend", text("tensorflow"));
    file.set_attr("keras_version", text(DIALECT));
    file.set_attr(
        "model_config",
        text(keras_2(&architecture.to_json()).to_string()),
    );
    if let Some(compile) = compile.and_then(Compile::read) {
        file.set_attr(
            "training_config",
            text(compile.training_config().to_string()),
        );
    }
    file.add_group(weights.finish());
    Ok(file.finish()?)
}

/// The weights of a `.keras` archive, `model.weights.h5`.
pub(super) fn write_store(
    architecture: &Architecture,
    parameters: &Parameters,
) -> Result<Vec<u8>, InterchangeError> {
    let slots = by_layer(architecture);
    let mut file = builder();
    let mut group = file.create_group("layers");
    for (name, path) in store_names(architecture) {
        let mut variables = group.create_group("vars");
        variables.set_attr("name", text(name));
        let slot = slots.get(name);
        for (i, weight) in slot
            .into_iter()
            .flat_map(|slot| weights(slot, parameters))
            .enumerate()
        {
            weight.write(&mut variables, &i.to_string());
        }
        let mut layer = group.create_group(&path);
        layer.add_group(variables.finish());
        group.add_group(layer.finish());
    }
    file.add_group(group.finish());
    let mut own = file.create_group("vars");
    own.set_attr("name", text(architecture.name.as_str()));
    file.add_group(own.finish());
    Ok(file.finish()?)
}

fn by_layer(architecture: &Architecture) -> HashMap<String, Slot> {
    let slots = slots(architecture).into_iter();
    slots.map(|slot| (slot.layer.clone(), slot)).collect()
}

/// HDF5 of 1.8, which every library since 2008 reads.
fn builder() -> FileBuilder {
    let mut file = FileBuilder::new();
    file.with_libver_bounds(LibVer::Earliest, LibVer::V18);
    file
}

fn layer(
    parent: &mut GroupBuilder,
    name: &str,
    slot: Option<&Slot>,
    parameters: &Parameters,
) -> FinishedGroup {
    let mut group = parent.create_group(name);
    let weights: Vec<Weight> = slot
        .into_iter()
        .flat_map(|slot| weights(slot, parameters))
        .collect();
    let names: Vec<String> = weights
        .iter()
        .map(|weight| format!("{name}/{}:0", weight.name))
        .collect();
    set_names(&mut group, "weight_names", &names);
    if !weights.is_empty() {
        let mut inner = group.create_group(name);
        for weight in weights {
            weight.write(&mut inner, &format!("{}:0", weight.name));
        }
        group.add_group(inner.finish());
    }
    group.finish()
}

/// One dataset of a layer.
struct Weight<'a> {
    name: &'a str,
    values: Values<'a>,
}

enum Values<'a> {
    Floats(&'a Parameter),
    Count(i64),
}

/// The weights of a layer, in Keras' order.
fn weights<'a>(slot: &'a Slot, parameters: &'a Parameters) -> Vec<Weight<'a>> {
    let variables = slot.variables.iter().filter_map(|variable| {
        let (_, name) = variable.name.rsplit_once('/')?;
        let values = Values::Floats(parameters.get(&variable.name)?);
        Some(Weight { name, values })
    });
    // How many batches Normalization has adapted to: Keras wants the number, and nothing depends on it afterwards.
    let count = (slot.class_name == "Normalization").then_some(Weight {
        name: "count",
        values: Values::Count(0),
    });
    variables.chain(count).collect()
}

impl Weight<'_> {
    fn write(&self, group: &mut GroupBuilder, name: &str) {
        let dataset = group.create_dataset(name);
        match self.values {
            Values::Floats(parameter) => {
                let shape: Vec<u64> = parameter
                    .shape
                    .iter()
                    .map(|&extent| extent as u64)
                    .collect();
                dataset.with_f32_data(&parameter.values).with_shape(&shape)
            }
            Values::Count(count) => dataset.with_i64_data(&[count]).with_shape(&[]),
        };
    }
}

fn text(value: impl Into<String>) -> AttrValue {
    AttrValue::VarLenString(value.into())
}

/// A list of names, split as Keras splits it where it is too long for one attribute.
fn set_names(group: &mut GroupBuilder, attribute: &str, names: &[impl AsRef<str>]) {
    let names: Vec<String> = names.iter().map(|name| name.as_ref().to_owned()).collect();
    // Stored fixed-length, each takes as much as the longest.
    let width = names.iter().map(String::len).max().unwrap_or(0);
    let per_part = NAMES_LIMIT.checked_div(width).unwrap_or(usize::MAX).max(1);
    if names.is_empty() {
        // What numpy makes of an empty list.
        group.set_attr(attribute, AttrValue::F64Array(Vec::new()));
    } else if names.len() <= per_part {
        group.set_attr(attribute, AttrValue::StringArray(names));
    } else {
        for (i, part) in names.chunks(per_part).enumerate() {
            group.set_attr(
                &format!("{attribute}{i}"),
                AttrValue::StringArray(part.to_vec()),
            );
        }
    }
}

/// The document in the dialect of Keras 2, without what only Keras 3 knows.
fn keras_2(document: &Value) -> Value {
    let layers: Vec<Value> = document["config"]["layers"]
        .as_array()
        .into_iter()
        .flatten()
        .map(layer_2)
        .collect();
    json!({
        "class_name": "Sequential",
        "config": {"name": document["config"]["name"], "layers": layers},
    })
}

fn layer_2(layer: &Value) -> Value {
    let class_name = layer["class_name"].as_str().unwrap_or_default();
    let mut config = Map::new();
    for (field, value) in layer["config"].as_object().into_iter().flatten() {
        let field = match (class_name, field.as_str()) {
            ("InputLayer", "batch_shape") => "batch_input_shape",
            ("InputLayer", "optional") => continue,
            ("LeakyReLU", "negative_slope") => "alpha",
            (
                "BatchNormalization",
                "synchronized" | "renorm" | "renorm_clipping" | "renorm_momentum",
            ) => continue,
            ("LayerNormalization", "rms_scaling") => continue,
            (
                "Resizing",
                "pad_to_aspect_ratio" | "fill_mode" | "fill_value" | "antialias" | "data_format",
            ) => continue,
            ("CenterCrop", "data_format") => continue,
            (class_name, "data_format") if class_name.starts_with("Random") => continue,
            // tf_keras knows the default alone.
            ("RandomContrast", "value_range") if *value == json!([0, 255]) => continue,
            (_, "quantization_config" | "lora_rank" | "lora_alpha") => continue,
            (_, field) => field,
        };
        config.insert(field.to_owned(), plain(value));
    }
    json!({"class_name": class_name, "config": config})
}

/// A nested object as Keras 2 wrote it: class and config, and a dtype policy by its name.
fn plain(value: &Value) -> Value {
    match value.get("class_name").and_then(Value::as_str) {
        Some("DTypePolicy") => value["config"]["name"].clone(),
        Some(class_name) => {
            let mut config = value["config"].clone();
            if let Some(config) = config.as_object_mut() {
                config.remove("input_axes");
                config.remove("output_axes");
            }
            json!({"class_name": class_name, "config": config})
        }
        None => value.clone(),
    }
}
