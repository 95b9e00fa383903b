//! Which weight of a file is which variable of an architecture.

use std::collections::{HashMap, HashSet};

use super::InterchangeError;
use super::hdf5::Tensor;
use crate::architecture::{Architecture, Variable};
use crate::network::{Parameter, ParameterFault, Parameters, ParametersError};

/// The weights that a file has for one layer, in Keras' order; never empty.
pub(super) struct FileLayer {
    /// What the file calls the layer.
    pub(super) name: String,
    /// Its weights, in the order in which Keras restores them.
    pub(super) tensors: Vec<Tensor>,
}

/// The variables of one layer of an architecture, in Keras' order; never empty.
pub(super) struct Slot {
    /// The layer's name.
    pub(super) layer: String,
    /// Its Keras class, such as `Conv2D`.
    pub(super) class_name: &'static str,
    /// Its variables.
    pub(super) variables: Vec<Variable>,
}

/// The layers of an architecture that have weights, in order.
pub(super) fn slots(architecture: &Architecture) -> Vec<Slot> {
    let classes: HashMap<&str, &'static str> = layers(architecture)
        .map(|(class_name, name)| (name, class_name))
        .collect();
    let mut slots: Vec<Slot> = Vec::new();
    for variable in architecture.variables() {
        let layer = variable.node_name();
        match slots.last_mut() {
            Some(slot) if slot.layer == layer => slot.variables.push(variable),
            _ => slots.push(Slot {
                layer: layer.to_owned(),
                class_name: classes.get(layer).copied().unwrap_or_default(),
                variables: vec![variable],
            }),
        }
    }
    slots
}

/// Class and name of each layer but the `InputLayer`, which Keras counts among a Sequential's layers in no file.
pub(super) fn layers(architecture: &Architecture) -> impl Iterator<Item = (&'static str, &str)> {
    let classes = architecture
        .nodes
        .iter()
        .map(|node| (node.layer.class_name(), node.name.as_str()));
    classes.filter(|(class_name, _)| *class_name != "InputLayer")
}

/// An architecture, and how a file's weights become its parameters.
pub(super) struct Plan {
    /// The architecture.
    pub(super) architecture: Architecture,
    /// How the file's values are turned.
    pub(super) layouts: Layouts,
}

impl Plan {
    /// An architecture whose weights a file has as they are.
    pub(super) fn new(architecture: Architecture) -> Self {
        Self {
            architecture,
            layouts: Layouts::default(),
        }
    }

    /// Turns parameters that already have the architecture's names.
    pub(super) fn turn(&self, parameters: Parameters) -> Result<Parameters, ParametersError> {
        parameters.check(&self.architecture)?;
        let mut turned = Parameters::new();
        for slot in slots(&self.architecture) {
            for variable in &slot.variables {
                if let Some(parameter) = parameters.get(&variable.name) {
                    let values = self
                        .layouts
                        .convert(&slot, variable, parameter.values.clone());
                    let shape = variable.shape.clone();
                    turned.insert(variable.name.clone(), Parameter { shape, values });
                }
            }
        }
        Ok(turned)
    }
}

/// How a file's layers are found.
pub(super) enum Match {
    /// By the layers' names, or by their order if the names differ and the numbers agree.
    NameElseOrder,
    /// By these names, one for each slot.
    Names(Vec<String>),
}

/// How a file's values are turned into Keras 3's channels-last layouts. By default they are so already.
#[derive(Default)]
pub(super) struct Layouts {
    /// The model was channels-first.
    pub(super) channels_first: bool,
    /// Kernels of `Conv2D` are `[out, in, height, width]`, as Keras 1 kept them in channels-first models.
    pub(super) output_first: bool,
    /// Kernels of `Conv2D` are stored upside down: Theano convolves where all others correlate.
    pub(super) flipped: bool,
    /// Variables whose first axis is reordered: new row `i` is the file's row `order[i]`.
    pub(super) reorder: HashMap<String, Vec<usize>>,
}

/// Reads the parameters of a plan's architecture from a file's layers.
///
/// `allowance` is how many bytes of weights the file may unfold to. Nothing is read before every name and shape agrees.
pub(super) fn assign(
    plan: &Plan,
    file: Vec<FileLayer>,
    by: Match,
    allowance: u64,
) -> Result<Parameters, InterchangeError> {
    let Plan {
        architecture,
        layouts,
    } = plan;
    let slots = slots(architecture);
    let pairs = pair(&slots, file, by)?;

    let mut faults = Vec::new();
    let mut bytes = 0u64;
    for (slot, layer) in &pairs {
        compare(slot, layer, layouts, &mut faults);
        for tensor in &layer.tensors {
            let count = tensor
                .shape
                .iter()
                .fold(4u64, |n, &d| n.saturating_mul(d as u64));
            bytes = bytes.saturating_add(count);
            let largest = bytes.max(tensor.chunk_bytes()?);
            if largest > allowance {
                return Err(InterchangeError::TooLarge {
                    what: format!("weight {:?}", tensor.name),
                    found: largest,
                    allowed: allowance,
                });
            }
        }
    }
    if !faults.is_empty() {
        return Err(ParametersError { faults }.into());
    }

    let mut parameters = Parameters::new();
    for (slot, layer) in pairs {
        for (variable, tensor) in slot.variables.iter().zip(&layer.tensors) {
            let values = layouts.convert(slot, variable, tensor.read()?);
            let parameter = Parameter {
                shape: variable.shape.clone(),
                values,
            };
            parameters.insert(variable.name.clone(), parameter);
        }
    }
    Ok(parameters)
}

fn pair(
    slots: &[Slot],
    file: Vec<FileLayer>,
    by: Match,
) -> Result<Vec<(&Slot, FileLayer)>, ParametersError> {
    let (names, order_will_do) = match by {
        Match::NameElseOrder => (slots.iter().map(|slot| slot.layer.clone()).collect(), true),
        Match::Names(names) => (names, false),
    };
    let in_file: HashSet<&str> = file.iter().map(|layer| layer.name.as_str()).collect();
    let named = names.iter().all(|name| in_file.contains(name.as_str()));
    if !named && order_will_do && slots.len() == file.len() {
        return Ok(slots.iter().zip(file).collect());
    }

    let mut file: HashMap<String, FileLayer> = file
        .into_iter()
        .map(|layer| (layer.name.clone(), layer))
        .collect();
    let mut pairs = Vec::new();
    let mut faults = Vec::new();
    for (slot, name) in slots.iter().zip(&names) {
        match file.remove(name) {
            Some(layer) => pairs.push((slot, layer)),
            None => faults.extend(slot.variables.iter().map(missing)),
        }
    }
    let mut unexpected: Vec<FileLayer> = file.into_values().collect();
    unexpected.sort_by(|a, b| a.name.cmp(&b.name));
    for layer in &unexpected {
        faults.extend(layer.tensors.iter().map(|tensor| unknown(layer, tensor)));
    }
    if faults.is_empty() {
        Ok(pairs)
    } else {
        Err(ParametersError { faults })
    }
}

fn compare(slot: &Slot, layer: &FileLayer, layouts: &Layouts, faults: &mut Vec<ParameterFault>) {
    for (i, variable) in slot.variables.iter().enumerate() {
        match layer.tensors.get(i) {
            None => faults.push(missing(variable)),
            Some(tensor) if tensor.shape != layouts.shape_in_file(slot, variable) => {
                faults.push(ParameterFault::Shape {
                    name: variable.name.clone(),
                    expected: layouts.shape_in_file(slot, variable),
                    found: tensor.shape.clone(),
                });
            }
            Some(_) => {}
        }
    }
    let surplus = layer.tensors.iter().skip(slot.variables.len());
    faults.extend(surplus.map(|tensor| unknown(layer, tensor)));
}

fn missing(variable: &Variable) -> ParameterFault {
    ParameterFault::Missing {
        name: variable.name.clone(),
        shape: variable.shape.clone(),
    }
}

fn unknown(layer: &FileLayer, tensor: &Tensor) -> ParameterFault {
    let name = match tensor.name.strip_prefix(&layer.name) {
        Some(_) => tensor.name.clone(),
        None => format!("{}/{}", layer.name, tensor.name),
    };
    let shape = tensor.shape.clone();
    ParameterFault::Unexpected { name, shape }
}

impl Layouts {
    fn shape_in_file(&self, slot: &Slot, variable: &Variable) -> Vec<usize> {
        match variable.shape[..] {
            [height, width, input, output] if self.output_first && is_kernel(slot, variable) => {
                vec![output, input, height, width]
            }
            _ => variable.shape.clone(),
        }
    }

    fn convert(&self, slot: &Slot, variable: &Variable, mut values: Vec<f32>) -> Vec<f32> {
        if let [height, width, input, output] = variable.shape[..]
            && is_kernel(slot, variable)
        {
            if self.output_first {
                values = output_last(&values, height * width, input * output, output);
            }
            if self.flipped {
                values = upside_down(&values, input * output);
            }
        }
        match self.reorder.get(&variable.name) {
            Some(order) => rows(&values, order),
            None => values,
        }
    }
}

fn is_kernel(slot: &Slot, variable: &Variable) -> bool {
    slot.class_name == "Conv2D" && variable.name.ends_with("/kernel")
}

/// `[out, in, place]` → `[place, in, out]`; `channels` is `in · out`.
fn output_last(values: &[f32], places: usize, channels: usize, output: usize) -> Vec<f32> {
    let input = channels.checked_div(output).unwrap_or(0);
    let mut turned = Vec::with_capacity(values.len());
    for place in 0..places {
        for i in 0..input {
            for o in 0..output {
                turned.push(values[(o * input + i) * places + place]);
            }
        }
    }
    turned
}

/// `[place, channels]` with the places in the opposite order.
fn upside_down(values: &[f32], channels: usize) -> Vec<f32> {
    values
        .chunks(channels.max(1))
        .rev()
        .flatten()
        .copied()
        .collect()
}

/// The rows of a matrix, or the elements of a vector, in another order.
fn rows(values: &[f32], order: &[usize]) -> Vec<f32> {
    let width = values.len().checked_div(order.len()).unwrap_or(0);
    order
        .iter()
        .flat_map(|&row| &values[row * width..(row + 1) * width])
        .copied()
        .collect()
}
