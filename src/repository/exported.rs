//! A version as a file for other tools.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::StoredVersion;
use crate::interchange::{InterchangeError, write_h5, write_keras, write_safetensors};

/// The kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// What Keras' `load_model` reads, in HDF5.
    H5,
    /// What Keras 3's `load_model` reads.
    Keras,
    /// The architecture alone, for Keras' `model_from_json`.
    Json,
    /// The weights alone, as `<layer>/<variable>`.
    Safetensors,
}

impl ExportFormat {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::H5, Self::Keras, Self::Json, Self::Safetensors];

    /// The ending of such a file's name, which is also the format's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::H5 => "h5",
            Self::Keras => "keras",
            Self::Json => "json",
            Self::Safetensors => "safetensors",
        }
    }
}

impl StoredVersion {
    /// The version as a file.
    ///
    /// # Errors
    ///
    /// The format has no way to say what the model is.
    pub fn export(&self, format: ExportFormat) -> Result<Vec<u8>, InterchangeError> {
        let (architecture, parameters) = (&self.architecture, &self.parameters);
        let compile = self.card.lineage.compile.as_ref();
        match format {
            ExportFormat::H5 => write_h5(architecture, parameters, compile),
            ExportFormat::Keras => write_keras(architecture, parameters, compile),
            ExportFormat::Json => Ok(format!("{:#}\n", architecture.to_json()).into_bytes()),
            ExportFormat::Safetensors => Ok(write_safetensors(parameters)?),
        }
    }
}
