//! What Keras itself computed, held against the network and the trainer.
//!
//! The fixtures are written by `tests/keras/layers.py` and `tests/keras/training.py`.

mod layers;
mod training;

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use irori::interchange::read_safetensors;
use irori::network::{Parameter, Parameters};
use serde_json::Value;

/// A folder of fixtures: cases, and the tensors that they name.
struct Fixtures {
    cases: Vec<Value>,
    tensors: Parameters,
}

impl Fixtures {
    fn read(folder: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures")
            .join(folder);
        let index = fs::read_to_string(folder.join("index.json")).unwrap();
        let tensors = fs::read(folder.join("tensors.safetensors")).unwrap();
        Self {
            cases: serde_json::from_str(&index).unwrap(),
            tensors: read_safetensors(&tensors).unwrap(),
        }
    }

    fn tensor(&self, name: &Value) -> &Parameter {
        let name = name.as_str().unwrap();
        self.tensors
            .get(name)
            .unwrap_or_else(|| panic!("tensor {name}"))
    }

    /// The weights that a case's `key` maps names to.
    fn parameters(&self, case: &Value, key: &str) -> Parameters {
        let names: HashMap<String, Value> = serde_json::from_value(case[key].clone()).unwrap();
        let named = names.iter();
        named
            .map(|(variable, tensor)| (variable.clone(), self.tensor(tensor).clone()))
            .collect()
    }
}

/// The largest difference, relative to numbers beyond 1; not-a-numbers have to agree.
fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a
        .iter()
        .zip(b)
        .map(|(a, b)| match (a.is_nan(), b.is_nan()) {
            (true, true) => 0.0,
            (false, false) => (a - b).abs() / b.abs().max(1.0),
            _ => f32::INFINITY,
        });
    differences.fold(0.0, f32::max)
}
