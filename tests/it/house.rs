//! The house rule: a module imports only from those that the table in `src/lib.rs` names beside it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which modules each module may import, as in the table of `src/lib.rs`.
const MAY_IMPORT: [(&str, &[&str]); 11] = [
    ("architecture", &[]),
    ("imaging", &[]),
    ("evaluation", &[]),
    ("dataset", &["imaging"]),
    ("network", &["architecture"]),
    ("interchange", &["architecture", "network"]),
    (
        "repository",
        &[
            "architecture",
            "evaluation",
            "imaging",
            "interchange",
            "network",
        ],
    ),
    (
        "training",
        &[
            "architecture",
            "dataset",
            "evaluation",
            "imaging",
            "interchange",
            "network",
            "repository",
        ],
    ),
    (
        "serving",
        &[
            "architecture",
            "evaluation",
            "imaging",
            "interchange",
            "network",
            "repository",
        ],
    ),
    (
        "http",
        &[
            "architecture",
            "dataset",
            "evaluation",
            "imaging",
            "interchange",
            "network",
            "repository",
            "serving",
            "training",
        ],
    ),
    (
        "cli",
        &[
            "architecture",
            "dataset",
            "evaluation",
            "http",
            "imaging",
            "interchange",
            "network",
            "repository",
            "serving",
            "training",
        ],
    ),
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every Rust file under a folder, with its text.
fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

/// The modules that a text names behind `crate::`, doc links included.
fn imports(text: &str) -> BTreeSet<String> {
    let behind = text.split("crate::").skip(1);
    let names = behind.map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        rest[..end.unwrap_or(rest.len())].to_owned()
    });
    names.collect()
}

#[test]
fn modules_import_only_what_the_design_allows() {
    let modules: BTreeSet<&str> = MAY_IMPORT.iter().map(|(module, _)| *module).collect();
    let mut wrong = Vec::new();
    let mut read = 0;
    for (module, allowed) in MAY_IMPORT {
        for (path, text) in files(&source().join(module)) {
            read += 1;
            for import in imports(&text) {
                let is_module = modules.contains(import.as_str());
                if is_module && import != module && !allowed.contains(&import.as_str()) {
                    wrong.push(format!("{} imports {import}", path.display()));
                }
            }
        }
    }
    assert!(read > 50, "only {read} files were read");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_folder_of_the_source_is_in_the_table() {
    let modules: BTreeSet<String> = MAY_IMPORT.iter().map(|(m, _)| (*m).to_owned()).collect();
    let entries = fs::read_dir(source())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let folders: BTreeSet<String> = entries
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(folders, modules);
}

#[test]
fn only_http_and_the_tests_know_axum() {
    for (path, text) in files(&source()) {
        let is_http = path.starts_with(source().join("http"));
        assert!(
            is_http || !text.contains("axum::"),
            "{} uses axum",
            path.display()
        );
    }
}
