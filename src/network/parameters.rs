//! The parameters of a network: named tensors in Keras' layouts, on no device.

use indexmap::IndexMap;
use indexmap::map::Entry;
use thiserror::Error;

use crate::architecture::Architecture;

/// The weights of a network by name, `<layer>/<variable>`, in Keras' layouts.
///
/// Iteration follows the order of insertion; equality does not look at the order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters(IndexMap<String, Parameter>);

/// One weight tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements, as many as the product of `shape`.
    pub values: Vec<f32>,
}

impl Parameter {
    /// A parameter, if `values` has as many elements as `shape` says.
    pub fn new(shape: Vec<usize>, values: Vec<f32>) -> Option<Self> {
        let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
        (count == values.len()).then_some(Self { shape, values })
    }
}

impl Parameters {
    /// No parameters yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter at the end; the one that had this name, if any, is replaced and returned.
    pub fn insert(&mut self, name: impl Into<String>, parameter: Parameter) -> Option<Parameter> {
        match self.0.entry(name.into()) {
            Entry::Occupied(mut entry) => Some(entry.insert(parameter)),
            Entry::Vacant(entry) => {
                entry.insert(parameter);
                None
            }
        }
    }

    /// The parameter with this name.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.0.get(name)
    }

    /// Name and parameter, in the order of insertion.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Parameter)> {
        self.0
            .iter()
            .map(|(name, parameter)| (name.as_str(), parameter))
    }

    /// The size of all numbers together, in bytes.
    pub fn bytes(&self) -> usize {
        let numbers = self.0.values().map(|parameter| parameter.values.len());
        numbers.sum::<usize>() * size_of::<f32>()
    }

    /// How many parameters there are (tensors, not numbers).
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks that these are exactly the variables of `architecture`, by name and shape.
    ///
    /// # Errors
    ///
    /// Lists every variable that is missing, unexpected or of another shape.
    pub fn check(&self, architecture: &Architecture) -> Result<(), ParametersError> {
        let mut faults = Vec::new();
        let variables = architecture.variables();
        for variable in &variables {
            match self.0.get(&variable.name) {
                None => faults.push(ParameterFault::Missing {
                    name: variable.name.clone(),
                    shape: variable.shape.clone(),
                }),
                Some(found) if found.shape != variable.shape => {
                    faults.push(ParameterFault::Shape {
                        name: variable.name.clone(),
                        expected: variable.shape.clone(),
                        found: found.shape.clone(),
                    });
                }
                Some(_) => {}
            }
        }
        let known: std::collections::HashSet<&str> =
            variables.iter().map(|v| v.name.as_str()).collect();
        for (name, parameter) in &self.0 {
            if !known.contains(name.as_str()) {
                faults.push(ParameterFault::Unexpected {
                    name: name.clone(),
                    shape: parameter.shape.clone(),
                });
            }
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(ParametersError { faults })
        }
    }
}

impl FromIterator<(String, Parameter)> for Parameters {
    fn from_iter<I: IntoIterator<Item = (String, Parameter)>>(parameters: I) -> Self {
        Self(parameters.into_iter().collect())
    }
}

/// The parameters at hand are not those of the architecture.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the weights do not fit the architecture: {}", list(faults))]
pub struct ParametersError {
    /// Every disagreement; never empty.
    pub faults: Vec<ParameterFault>,
}

impl ParametersError {
    /// The stable code of this error.
    pub fn code(&self) -> &'static str {
        "weights_mismatch"
    }
}

/// One disagreement between parameters and an architecture.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParameterFault {
    /// The architecture has this variable, the parameters have not.
    #[error("{name} of shape {shape:?} is missing")]
    Missing {
        /// The variable.
        name: String,
        /// Its shape in the architecture.
        shape: Vec<usize>,
    },
    /// The parameters have this name, the architecture has not.
    #[error("{name} of shape {shape:?} belongs to no layer")]
    Unexpected {
        /// The parameter.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// The same name with different shapes.
    #[error("{name} has shape {found:?} and should have {expected:?}")]
    Shape {
        /// The variable.
        name: String,
        /// Its shape in the architecture.
        expected: Vec<usize>,
        /// The parameter's shape.
        found: Vec<usize>,
    },
}

fn list(faults: &[ParameterFault]) -> String {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("; ")
}
