//! Keras' `.keras` archive, read: a zip of `config.json`, `metadata.json` and `model.weights.h5`.

use std::io::{Cursor, Read};

use serde_json::Value;
use zip::ZipArchive;
use zip::result::ZipError;

use super::{Format, Imported, InterchangeError, Source, channels_first, compiled, hdf5, read_h5};

/// How much is unpacked of an entry, beyond [`UNPACKED_PER_BYTE`] times the archive's length.
const UNPACKED_AT_LEAST: u64 = 16 << 20;
const UNPACKED_PER_BYTE: u64 = 32;

/// Reads a model that `model.save("….keras")` wrote.
pub(super) fn import(bytes: &[u8]) -> Result<Imported, InterchangeError> {
    let mut archive = Archive::open(bytes)?;
    let mut document = archive.json("config.json")?;
    let metadata = archive.json("metadata.json")?;
    let compile = document
        .as_object_mut()
        .and_then(|document| document.remove("compile_config"))
        .and_then(compiled);

    let plan = channels_first::plan(&mut document)?;
    let weights = archive.unpack("model.weights.h5")?;
    let length = weights.len() as u64;
    let file = hdf5::open(weights)?;
    let parameters = read_h5::store(&file.root(), &plan, length)?;
    Ok(Imported {
        architecture: plan.architecture,
        parameters,
        compile,
        source: Source {
            format: Format::Keras,
            keras_version: metadata["keras_version"].as_str().map(str::to_owned),
            backend: None,
        },
    })
}

struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// The most that is unpacked of one entry.
    limit: u64,
}

impl<'a> Archive<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, InterchangeError> {
        let length = bytes.len() as u64;
        Ok(Self {
            zip: ZipArchive::new(Cursor::new(bytes))?,
            limit: UNPACKED_AT_LEAST.saturating_add(length.saturating_mul(UNPACKED_PER_BYTE)),
        })
    }

    /// The whole entry. Its directory may lie about the size, so what counts is how much comes out.
    fn unpack(&mut self, name: &'static str) -> Result<Vec<u8>, InterchangeError> {
        let entry = self.zip.by_name(name).map_err(|error| match error {
            ZipError::FileNotFound => InterchangeError::NoEntry { entry: name },
            error => error.into(),
        })?;
        let mut bytes = Vec::new();
        entry
            .take(self.limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|reason| InterchangeError::Unpack {
                entry: name,
                reason,
            })?;
        let found = bytes.len() as u64;
        if found > self.limit {
            return Err(InterchangeError::TooLarge {
                what: format!("{name} of the archive"),
                found,
                allowed: self.limit,
            });
        }
        Ok(bytes)
    }

    fn json(&mut self, document: &'static str) -> Result<Value, InterchangeError> {
        let bytes = self.unpack(document)?;
        serde_json::from_slice(&bytes).map_err(|reason| InterchangeError::Json { document, reason })
    }
}
