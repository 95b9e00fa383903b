//! Why a model file could not be read or written.

use thiserror::Error;

use super::SafetensorsError;
use crate::architecture::ArchitectureError;
use crate::network::ParametersError;

/// A model file could not be read or written.
#[derive(Debug, Error)]
pub enum InterchangeError {
    /// The first bytes are of no format that is read.
    #[error(
        "not a model file: it begins with {found}; send a Keras .h5 or .keras file, or a .safetensors file with its architecture"
    )]
    Unrecognized {
        /// The first bytes, escaped.
        found: String,
    },
    /// The HDF5 file contradicts itself, or is cut short.
    #[error("the HDF5 file can't be read: {0}; it may be damaged or cut short, so save it again")]
    Hdf5(#[from] hdf5_pure::Error),
    /// The HDF5 file is whole, but no file of Keras.
    #[error(
        "the HDF5 file is not one of Keras: it has no attribute \"model_config\" or \"layer_names\" and no group \"layers\"; \
         save it with model.save() or model.save_weights()"
    )]
    NotKeras,
    /// The .keras archive contradicts itself, or is cut short.
    #[error(
        "the .keras archive can't be read: {0}; it may be damaged or cut short, so save it again"
    )]
    Archive(#[from] zip::result::ZipError),
    /// The .keras archive lacks a file.
    #[error(
        "the archive has no {entry}, which every .keras file has; save the model with model.save()"
    )]
    NoEntry {
        /// The file that is missing.
        entry: &'static str,
    },
    /// A file of the .keras archive can't be unpacked.
    #[error("{entry} of the .keras archive can't be unpacked: {reason}; save the model again")]
    Unpack {
        /// The file in the archive.
        entry: &'static str,
        /// What was wrong with it.
        reason: std::io::Error,
    },
    /// Something in the file claims a size that the file can't honestly have.
    #[error(
        "{what} takes {found} bytes, and from a file of this length at most {allowed} are accepted"
    )]
    TooLarge {
        /// What claims the size.
        what: String,
        /// Its size.
        found: u64,
        /// The largest that is accepted.
        allowed: u64,
    },
    /// A JSON document in the file is none.
    #[error("{document} in the file is not valid JSON: {reason}")]
    Json {
        /// Which document.
        document: &'static str,
        /// The parser's reason, with line and column.
        reason: serde_json::Error,
    },
    /// The file has weights alone, and no architecture came with it.
    #[error(
        "the file has weights and no architecture; give the model's architecture (the JSON of model.to_json()) with it"
    )]
    NoArchitecture,
    /// The architecture in the file can't be used.
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
    /// A list of names that the format prescribes is missing, or no list of names.
    #[error(
        "{group} has no list of names \"{attribute}\"; the file may be damaged, so save it again"
    )]
    NoNames {
        /// The group of the HDF5 file.
        group: String,
        /// The attribute that should hold the list.
        attribute: &'static str,
    },
    /// The weights are not those of the architecture.
    #[error(transparent)]
    Weights(#[from] ParametersError),
    /// A weight is not of floating point.
    #[error(
        "weight {weight:?} is of type {found}; weights must be float16, bfloat16, float32 or float64"
    )]
    NotFloat {
        /// The weight, as the file calls it.
        weight: String,
        /// Its type in the file.
        found: String,
    },
    /// The model is channels-first in a way that can't be turned into channels-last.
    #[error(
        "layer {layer:?}: {reason}, so this channels_first model can't be turned into channels_last; \
         build it again with data_format=\"channels_last\""
    )]
    ChannelsFirst {
        /// The layer.
        layer: String,
        /// What stands in the way.
        reason: String,
    },
    /// The safetensors file can't be read or written.
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
}

impl InterchangeError {
    /// The stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unrecognized { .. } => "model_file_unrecognized",
            Self::Hdf5(_) => "hdf5_malformed",
            Self::NotKeras => "hdf5_not_keras",
            Self::Archive(_) | Self::NoEntry { .. } | Self::Unpack { .. } => {
                "keras_archive_malformed"
            }
            Self::TooLarge { .. } => "model_file_too_large",
            Self::Json { .. } => "model_file_json_malformed",
            Self::NoArchitecture => "architecture_missing",
            Self::Architecture(error) => error.code(),
            Self::NoNames { .. } => "hdf5_names_missing",
            Self::Weights(error) => error.code(),
            Self::NotFloat { .. } => "weights_not_float",
            Self::ChannelsFirst { .. } => "channels_first_unsupported",
            Self::Safetensors(error) => error.code(),
        }
    }
}
