//! Any bytes as a model file: an error or a model whose weights fit, soon, and in little memory.
//!
//!     cargo fuzz run model_file fuzz/corpus/model_file tests/fixtures/interchange

#![no_main]

use irori::interchange::import;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = import(bytes.to_vec(), None) {
        model
            .parameters
            .check(&model.architecture)
            .expect("weights that fit");
    }
});
