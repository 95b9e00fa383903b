//! Model files of other tools: what a Keras `.h5`, a `.keras` or a safetensors file says, as architecture and parameters,
//! and back.
//!
//! Every file is hostile until read: its sizes are checked before memory is taken for them, nothing in it is executed,
//! and what it may unfold to is bounded by a multiple of its own length.

mod assign;
mod channels_first;
mod compile;
mod error;
mod hdf5;
mod read_h5;
mod read_keras;
mod safetensors;
mod write_h5;
mod write_keras;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::assign::Plan;
pub use self::error::InterchangeError;
pub use self::safetensors::{SafetensorsError, read_safetensors, write_safetensors};
pub use self::write_h5::write_h5;
pub use self::write_keras::write_keras;
use crate::architecture::Architecture;
use crate::network::Parameters;

/// A model as a file gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The layers; of a channels-first model, its channels-last twin.
    pub architecture: Architecture,
    /// The weights; they fit the architecture.
    pub parameters: Parameters,
    /// What Keras calls `training_config` (`.h5`) or `compile_config` (`.keras`), as found; `None` if the model was never
    /// compiled.
    pub compile: Option<Value>,
    /// Where it comes from.
    pub source: Source,
}

/// Which program wrote a model file, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The kind of file.
    pub format: Format,
    /// Keras' version, if the file says it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub keras_version: Option<String>,
    /// Keras' backend, if the file says it: `tensorflow`, `theano`, `jax`, ….
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub backend: Option<String>,
}

/// A kind of model file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `model.save("….h5")`: architecture, weights and training configuration in one HDF5 file.
    H5,
    /// `model.save_weights("….h5")` of Keras 1 and 2: weights by layer.
    LegacyWeights,
    /// `model.save_weights("….weights.h5")` of Keras 3: weights by position.
    Weights,
    /// `model.save("….keras")`: an archive of all of it.
    Keras,
    /// Tensors named `<layer>/<variable>`.
    Safetensors,
}

/// Compile settings, unless they are Keras' signs of a model that was never compiled.
fn compiled(settings: Value) -> Option<Value> {
    let is_empty =
        settings.is_null() || settings.as_object().is_some_and(serde_json::Map::is_empty);
    (!is_empty).then_some(settings)
}

/// Reads a model file of any kind; the kind is told by its first bytes.
///
/// Files with weights alone need `architecture`; files that have their own ignore it.
///
/// # Errors
///
/// The bytes are of no known kind, are damaged, describe a model that can't be computed, or their weights do not fit the
/// architecture. Memory and time are bounded by a multiple of the file's length either way.
pub fn import(
    bytes: Vec<u8>,
    architecture: Option<Architecture>,
) -> Result<Imported, InterchangeError> {
    read(bytes, architecture.map(Plan::new))
}

/// Reads a model file beside which came the document of its architecture, as `model.to_json()` gives it.
///
/// As [`import`], and a channels-first document is turned into its channels-last twin, and the weights with it.
///
/// # Errors
///
/// As [`import`]; also where the document is no architecture, even if the file has its own.
pub fn import_beside(bytes: Vec<u8>, mut document: Value) -> Result<Imported, InterchangeError> {
    read(bytes, Some(channels_first::plan(&mut document)?))
}

fn read(bytes: Vec<u8>, given: Option<Plan>) -> Result<Imported, InterchangeError> {
    if hdf5_pure::is_hdf5_bytes(&bytes) {
        return read_h5::import(bytes, given);
    }
    if bytes.starts_with(b"PK\x03\x04") {
        return read_keras::import(&bytes);
    }
    // A safetensors file begins with the length of its JSON header.
    if bytes.get(8) == Some(&b'{') {
        let parameters = read_safetensors(&bytes)?;
        let plan = given.ok_or(InterchangeError::NoArchitecture)?;
        let parameters = plan.turn(parameters)?;
        return Ok(Imported {
            architecture: plan.architecture,
            parameters,
            compile: None,
            source: Source {
                format: Format::Safetensors,
                keras_version: None,
                backend: None,
            },
        });
    }
    let first = bytes.get(..8).unwrap_or(&bytes);
    Err(InterchangeError::Unrecognized {
        found: format!("\"{}\"", first.escape_ascii()),
    })
}
