//! A model as the `.keras` archive of Keras 3.

use std::io::{Cursor, Write};

use serde_json::{Value, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::InterchangeError;
use super::compile::Compile;
use super::write_h5::write_store;
use crate::architecture::Architecture;
use crate::network::Parameters;

/// The Keras that the archive is checked against.
const KERAS_VERSION: &str = "3.15.1";

/// Writes a model as the bytes of a `.keras` archive that `load_model` opens in Keras 3.
///
/// `compile` is as for [`write_h5`](super::write_h5()). The same model always gives the same bytes: no time is written.
///
/// # Errors
///
/// The parameters are not those of the architecture.
pub fn write_keras(
    architecture: &Architecture,
    parameters: &Parameters,
    compile: Option<&Value>,
) -> Result<Vec<u8>, InterchangeError> {
    parameters.check(architecture)?;
    let mut document = architecture.to_json();
    if let (Some(document), Some(compile)) =
        (document.as_object_mut(), compile.and_then(Compile::read))
    {
        document.insert("compile_config".into(), compile.compile_config());
    }
    let metadata = json!({"keras_version": KERAS_VERSION});
    let entries = [
        ("metadata.json", metadata.to_string().into_bytes()),
        ("config.json", document.to_string().into_bytes()),
        ("model.weights.h5", write_store(architecture, parameters)?),
    ];
    // Stored, as Keras does: weights hardly shrink, and a stored HDF5 file can be read in place.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default());
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        archive.start_file(name, options.large_file(bytes.len() > u32::MAX as usize))?;
        archive
            .write_all(&bytes)
            .map_err(zip::result::ZipError::Io)?;
    }
    Ok(archive.finish()?.into_inner())
}
