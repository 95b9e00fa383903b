//! Keras' HDF5 files, read: the whole models of `model.save("….h5")` since Keras 1, and both kinds of weights files.

use std::collections::HashMap;

use hdf5_pure::Group;
use serde_json::Value;

use super::assign::{FileLayer, Match, Plan, assign, layers, slots};
use super::hdf5::{self, Attributes, Tensor};
use super::{Format, Imported, InterchangeError, Source, channels_first, compiled};
use crate::architecture::Architecture;
use crate::network::Parameters;

/// Reads a whole model, or weights alone if their architecture was given.
pub(super) fn import(bytes: Vec<u8>, given: Option<Plan>) -> Result<Imported, InterchangeError> {
    let length = bytes.len() as u64;
    let file = hdf5::open(bytes)?;
    let root = file.root();
    let attributes = root.attrs()?;
    if let Some(config) = hdf5::text(&attributes, "model_config") {
        return whole(&root, &attributes, config, length);
    }
    let is_legacy = hdf5::names(&attributes, "layer_names").is_some();
    if !is_legacy && stored_layers(&root)?.is_empty() {
        return Err(InterchangeError::NotKeras);
    }
    let plan = given.ok_or(InterchangeError::NoArchitecture)?;
    if is_legacy {
        return legacy(&root, &attributes, plan, Format::LegacyWeights, length);
    }
    let parameters = store(&root, &plan, length)?;
    Ok(Imported {
        architecture: plan.architecture,
        parameters,
        compile: None,
        source: source(Format::Weights, &attributes),
    })
}

fn whole(
    root: &Group,
    attributes: &Attributes,
    config: &str,
    length: u64,
) -> Result<Imported, InterchangeError> {
    let mut document = json("model_config", config)?;
    let compile = match hdf5::text(attributes, "training_config") {
        Some(text) => compiled(json("training_config", text)?),
        None => None,
    };
    let weights = hdf5::child(root, "model_weights")?.ok_or(InterchangeError::NotKeras)?;
    let mut attributes = attributes.clone();
    for (name, value) in weights.attrs()? {
        attributes.entry(name).or_insert(value);
    }
    let plan = channels_first::plan(&mut document)?;
    let imported = legacy(&weights, &attributes, plan, Format::H5, length)?;
    Ok(Imported {
        compile,
        ..imported
    })
}

/// Weights under `<layer>/<weight name>`, the names listed in attributes.
fn legacy(
    group: &Group,
    attributes: &Attributes,
    mut plan: Plan,
    format: Format,
    length: u64,
) -> Result<Imported, InterchangeError> {
    plan.layouts.output_first = plan.layouts.channels_first && is_keras_1(attributes);
    plan.layouts.flipped = is_theano(attributes);
    let no_names = |group: &str, attribute| InterchangeError::NoNames {
        group: group.to_owned(),
        attribute,
    };
    let layer_names = hdf5::names(attributes, "layer_names")
        .ok_or_else(|| no_names("model_weights", "layer_names"))?;
    let mut file = Vec::new();
    for name in layer_names {
        let layer = hdf5::child(group, &name)?.ok_or_else(|| no_names(&name, "weight_names"))?;
        let weight_names = hdf5::names(&layer.attrs()?, "weight_names")
            .ok_or_else(|| no_names(&name, "weight_names"))?;
        let tensors = weight_names
            .iter()
            .map(|weight| Tensor::open(&layer, weight))
            .collect::<Result<_, _>>()?;
        push(&mut file, name, tensors);
    }
    let allowance = hdf5::weights_allowance(length);
    let parameters = assign(&plan, file, Match::NameElseOrder, allowance)?;
    Ok(Imported {
        architecture: plan.architecture,
        parameters,
        compile: None,
        source: source(format, attributes),
    })
}

/// Weights under `layers/<class>_<n>/vars/<i>`, as in `.weights.h5` files and in `.keras` archives.
pub(super) fn store(
    root: &Group,
    plan: &Plan,
    length: u64,
) -> Result<Parameters, InterchangeError> {
    let architecture = &plan.architecture;
    let paths: HashMap<&str, String> = store_names(architecture).collect();
    let slots = slots(architecture);
    let names = slots
        .iter()
        .filter_map(|slot| paths.get(slot.layer.as_str()).cloned())
        .collect();
    let mut file = Vec::new();
    for (name, layer) in stored_layers(root)? {
        let Some(variables) = hdf5::child(&layer, "vars")? else {
            continue;
        };
        let count = variables.datasets()?.len();
        let tensors = (0..count)
            .map(|i| Tensor::open(&variables, &i.to_string()))
            .collect::<Result<_, _>>()?;
        push(&mut file, name, tensors);
    }
    let allowance = hdf5::weights_allowance(length);
    assign(plan, file, Match::Names(names), allowance)
}

/// The groups that hold the layers' weights, by the names under which Keras stores the layers.
fn stored_layers(root: &Group) -> Result<Vec<(String, Group)>, InterchangeError> {
    // Keras 2.12 to 2.14 said it the longer way.
    for container in ["layers", "_layer_checkpoint_dependencies"] {
        if let Some(group) = hdf5::child(root, container)? {
            return Ok(group.iter_groups()?.collect());
        }
    }
    Ok(Vec::new())
}

/// Each layer, and the name under which Keras stores it: `conv2d`, `conv2d_1`, `dense`, … after their classes, whatever the
/// layers themselves are called.
pub(super) fn store_names(architecture: &Architecture) -> impl Iterator<Item = (&str, String)> {
    let mut used = HashMap::<&str, usize>::new();
    layers(architecture).map(move |(class_name, name)| {
        let count = used.entry(class_name).or_default();
        *count += 1;
        let base = snake_case(class_name);
        (
            name,
            if *count == 1 {
                base
            } else {
                format!("{base}_{}", *count - 1)
            },
        )
    })
}

/// Keras' `to_snake_case`: `BatchNormalization` is `batch_normalization`, `Conv2D` is `conv2d`.
fn snake_case(class_name: &str) -> String {
    let mut name = String::new();
    let mut before = None;
    let mut letters = class_name.chars().peekable();
    while let Some(letter) = letters.next() {
        let next_is_small = letters.peek().is_some_and(char::is_ascii_lowercase);
        let begins_word = before.is_some_and(|before: char| {
            letter.is_ascii_uppercase() && (next_is_small || before.is_ascii_lowercase())
        });
        if begins_word {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
        before = Some(letter);
    }
    name
}

/// Keeps a layer that has weights. `Normalization` also counts the batches it has seen, which no prediction needs.
fn push(file: &mut Vec<FileLayer>, name: String, mut tensors: Vec<Tensor>) {
    tensors.retain(|tensor| !(tensor.is_integer() && tensor.shape.is_empty()));
    if !tensors.is_empty() {
        file.push(FileLayer { name, tensors });
    }
}

fn json(document: &'static str, text: &str) -> Result<Value, InterchangeError> {
    serde_json::from_str(text).map_err(|reason| InterchangeError::Json { document, reason })
}

fn is_theano(attributes: &Attributes) -> bool {
    hdf5::text(attributes, "backend") == Some("theano")
}

/// Keras 1 wrote no version at first.
fn is_keras_1(attributes: &Attributes) -> bool {
    hdf5::text(attributes, "keras_version").is_none_or(|version| version.starts_with("1."))
}

fn source(format: Format, attributes: &Attributes) -> Source {
    Source {
        format,
        keras_version: hdf5::text(attributes, "keras_version").map(str::to_owned),
        backend: hdf5::text(attributes, "backend").map(str::to_owned),
    }
}
