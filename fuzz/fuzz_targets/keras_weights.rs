//! Any bytes as the weights in a `.keras` archive, whose checksums would else stop the fuzzer at the door.
//!
//!     cargo fuzz run keras_weights fuzz/corpus/keras_weights tests/fixtures/interchange

#![no_main]

use std::io::{Cursor, Write};

use irori::interchange::import;
use libfuzzer_sys::fuzz_target;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// The model of the fixture `keras3.weights.h5`.
const CONFIG: &[u8] = include_bytes!("../../tests/fixtures/interchange/keras3.json");

fuzz_target!(|weights: &[u8]| {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in [
        ("config.json", CONFIG),
        ("metadata.json", b"{}"),
        ("model.weights.h5", weights),
    ] {
        archive
            .start_file(name, options)
            .expect("an archive in memory");
        archive.write_all(bytes).expect("an archive in memory");
    }
    let archive = archive.finish().expect("an archive in memory").into_inner();
    if let Ok(model) = import(archive, None) {
        model
            .parameters
            .check(&model.architecture)
            .expect("weights that fit");
    }
});
