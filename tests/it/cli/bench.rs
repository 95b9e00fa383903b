//! `irori bench`: the shape of its figures, and what it says to a typo.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn bench(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_irori"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg("bench")
        .args(args)
        .output()
        .unwrap()
}

#[track_caller]
fn figures(args: &[&str]) -> Value {
    let output = bench(args);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn refusal(args: &[&str]) -> String {
    let output = bench(args);
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

/// The keys of an object, in their order.
fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

/// What has to hold for figures of these batches, with `operations` for an image.
#[track_caller]
fn add_up(figures: &Value, mode: &str, threads: u64, batches: &[u64], operations: f64) {
    assert_eq!(keys(figures), ["peak_gflops", "results"]);
    assert!(figures["peak_gflops"].as_f64().unwrap() > 0.0);
    let results = figures["results"].as_array().unwrap();
    assert_eq!(results.len(), batches.len());
    for (result, &batch) in results.iter().zip(batches) {
        assert_eq!(
            keys(result),
            [
                "mode",
                "batch",
                "threads",
                "images_per_second",
                "seconds_median",
                "seconds_min",
                "gflops"
            ]
        );
        assert_eq!(result["mode"], mode);
        assert_eq!(result["batch"], batch);
        assert_eq!(result["threads"], threads);
        let number = |key: &str| result[key].as_f64().unwrap();
        assert!(number("seconds_min") > 0.0);
        assert!(number("seconds_min") <= number("seconds_median"));
        let rate = batch as f64 / number("seconds_median");
        assert!((number("images_per_second") / rate - 1.0).abs() < 1e-9);
        let gflops = operations * rate / 1e9;
        assert!((number("gflops") / gflops - 1.0).abs() < 1e-9);
    }
}

/// The tutorial's network: 2 · (28² · 4 · 32 + 14² · 128 · 32 + 49 · 32 · 10).
const TUTORIAL: f64 = 2.0 * (100_352.0 + 802_816.0 + 15_680.0);

#[test]
fn predictions_of_an_architecture_are_timed() {
    let figures = figures(&[
        "--architecture",
        "examples/tutorial.json",
        "--batch",
        "1,3",
        "--threads",
        "1",
        "--seconds",
        "0.02",
        "--json",
    ]);
    add_up(&figures, "forward", 1, &[1, 3], TUTORIAL);
}

#[test]
fn training_counts_the_gradients_too() {
    let figures = figures(&[
        "--architecture",
        "examples/tutorial.json",
        "--batch",
        "2",
        "--threads",
        "2",
        "--seconds",
        "0",
        "--train",
        "--json",
    ]);
    // All but the first layer pass a gradient on to their input.
    let operations = 3.0 * TUTORIAL - 2.0 * 100_352.0;
    add_up(&figures, "train", 2, &[2], operations);
}

#[test]
fn the_only_model_of_the_folder_is_timed() {
    let output = bench(&["--batch", "1", "--seconds", "0"]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.starts_with("digits version 1: "), "{table}");
    for word in ["IMAGES/S", "GFLOP/S", "OF PEAK", "forward"] {
        assert!(table.contains(word), "{table}");
    }
}

#[test]
fn a_typo_is_told_from_what_there_is() {
    let model = refusal(&["--model", "digit"]);
    assert!(
        model.contains("\"digit\"") && model.contains("digits"),
        "{model}"
    );
    let batch = refusal(&["--batch", "1,many"]);
    assert!(
        batch.contains("'many'") && batch.contains("--batch"),
        "{batch}"
    );
    let none = refusal(&["--batch", "0"]);
    assert!(none.contains("1..=65536"), "{none}");
    let seconds = refusal(&["--seconds", "601"]);
    assert!(seconds.contains("0 to 600"), "{seconds}");
    let file = refusal(&["--architecture", "examples/tutorial.jsn"]);
    assert!(file.contains("tutorial.jsn"), "{file}");
    let both = refusal(&["--model", "digits", "--architecture", "x.json"]);
    assert!(both.contains("cannot be used with"), "{both}");
}

#[test]
fn a_folder_without_models_asks_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder: &Path = folder.path();
    let message = refusal(&["--models", folder.to_str().unwrap()]);
    assert!(message.contains("--architecture"), "{message}");
}
