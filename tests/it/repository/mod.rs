//! The repository through real files: publish and load, serve and roll back, and everything that can be wrong on a disk.

mod broken;
mod disk;
mod golden;
mod names;
mod publish;
mod serving;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use irori::architecture::Architecture;
use irori::evaluation::{Evaluation, Evaluator};
use irori::imaging::Preprocessing;
use irori::network::{Parameter, Parameters};
use irori::repository::{Draft, Lineage, Outputs, Repository, RepositoryError};
use serde_json::json;
use tempfile::TempDir;

/// A network from `[side, side, 1]` to `units` scores.
fn architecture(side: usize, units: usize) -> Architecture {
    let document = json!({"layers": [
        {"class_name": "Flatten", "config": {"input_shape": [side, side, 1]}},
        {"class_name": "Dense", "config": {"units": units, "activation": "softmax"}},
    ]});
    Architecture::from_value(&document).unwrap()
}

/// Weights with every kind of finite number in them; `seed` makes them differ.
fn parameters(architecture: &Architecture, seed: f32) -> Parameters {
    let special = [-0.0, f32::MIN_POSITIVE / 2.0, f32::MAX, f32::MIN, 0.1];
    let variables = architecture.variables();
    let parameter = |shape: Vec<usize>| {
        let count = shape.iter().product();
        let values = (0..count).map(|i| {
            let known = special.get(i).copied();
            known.unwrap_or(seed + i as f32)
        });
        let values = values.collect();
        Parameter { shape, values }
    };
    variables
        .into_iter()
        .map(|variable| (variable.name, parameter(variable.shape)))
        .collect()
}

fn labels(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("class {i}")).collect()
}

fn draft_of(side: usize, units: usize, seed: f32) -> Draft {
    let architecture = architecture(side, units);
    Draft {
        parameters: parameters(&architecture, seed),
        architecture,
        labels: labels(units),
        preprocessing: Preprocessing::for_channels(1),
        outputs: Outputs::Probabilities,
        lineage: Lineage::default(),
        evaluation: None,
        history: None,
        examples: Vec::new(),
    }
}

fn draft() -> Draft {
    draft_of(2, 3, 1.0)
}

/// An evaluation over two images of the first class, `right` of which were recognised.
fn evaluation(labels: &[String], right: usize) -> Evaluation {
    let mut evaluator = Evaluator::new(labels.to_vec()).unwrap();
    for image in 0..2 {
        let mut scores = vec![0.0; labels.len()];
        scores[usize::from(image >= right)] = 1.0;
        evaluator.add(&scores, &[0], 0.5).unwrap();
    }
    evaluator.finish(None).unwrap()
}

/// A repository in a temporary folder, with `versions` versions of the model `m`.
fn repository(versions: u64) -> (TempDir, Repository) {
    let root = TempDir::new().unwrap();
    let repository = Repository::open(root.path()).unwrap();
    for version in 1..=versions {
        assert_eq!(repository.publish("m", &draft()).unwrap(), version);
    }
    (root, repository)
}

/// Everything below a folder, as relative paths.
fn tree(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            found.insert(path.strip_prefix(folder).unwrap().to_owned());
            if path.is_dir() {
                open.push(path);
            }
        }
    }
    found
}

fn scratch_folders(root: &Path) -> Vec<PathBuf> {
    let is_scratch = |path: &PathBuf| path.to_string_lossy().contains(".tmp-");
    tree(root).into_iter().filter(is_scratch).collect()
}

fn code<T: std::fmt::Debug>(result: Result<T, RepositoryError>) -> &'static str {
    result.unwrap_err().code()
}
