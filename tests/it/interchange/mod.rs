//! Model files in and out: what real Keras files say, what is written back, and what hostile files get for an answer.

mod hostile;
mod keras_files;
mod mismatch;
mod safetensors_files;
mod written;

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::PathBuf;

use hdf5_pure::{AttrValue, FileBuilder};
use irori::architecture::Architecture;
use irori::interchange::{Imported, InterchangeError};
use irori::network::Parameters;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fn fixture(file: &str) -> Vec<u8> {
    let path: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "tests/fixtures/interchange",
        file,
    ]
    .iter()
    .collect();
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn architecture(file: &str) -> Architecture {
    Architecture::from_json(std::str::from_utf8(&fixture(file)).unwrap()).unwrap()
}

/// Shape and bits of each parameter.
fn bits(parameters: &Parameters) -> BTreeMap<String, (Vec<usize>, Vec<u32>)> {
    parameters
        .iter()
        .map(|(name, p)| {
            let bits = p.values.iter().map(|value| value.to_bits()).collect();
            (name.to_owned(), (p.shape.clone(), bits))
        })
        .collect()
}

fn code(result: Result<Imported, InterchangeError>) -> &'static str {
    match result {
        Ok(imported) => panic!("was accepted: {:?}", imported.source),
        Err(error) => error.code(),
    }
}

/// A whole-model file with this document and no weights.
fn h5_with_config(config: &str) -> Vec<u8> {
    let mut file = FileBuilder::new();
    file.set_attr("model_config", AttrValue::VarLenString(config.to_owned()));
    let mut weights = file.create_group("model_weights");
    weights.set_attr("layer_names", AttrValue::F64Array(vec![]));
    file.add_group(weights.finish());
    file.finish().unwrap()
}

/// A deflated zip archive.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, bytes) in entries {
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}
