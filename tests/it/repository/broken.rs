//! Broken versions are reported, passed over, and stop nothing else.

use std::fs::{self, File};
use std::path::Path;

use irori::repository::{Repository, VersionState};
use serde_json::{Value, json};

use super::{code, draft, evaluation, repository};

/// One way to break version 2 of the model `m`, the file that is named, and the fault's code.
type Breakage = (&'static str, &'static str, fn(&Path));

#[test]
fn every_kind_of_broken_folder_is_reported_and_passed_over() {
    fn edit(folder: &Path, change: impl FnOnce(&mut Value)) {
        let path = folder.join("card.json");
        let mut card = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut card);
        fs::write(path, card.to_string()).unwrap();
    }
    let breakages: &[Breakage] = &[
        ("architecture.json", "file_missing", |folder| {
            fs::remove_dir_all(folder).unwrap();
            fs::create_dir(folder).unwrap();
        }),
        ("architecture.json", "file_missing", |folder| {
            fs::remove_file(folder.join("architecture.json")).unwrap();
        }),
        ("weights.safetensors", "file_missing", |folder| {
            fs::remove_file(folder.join("weights.safetensors")).unwrap();
        }),
        ("card.json", "file_missing", |folder| {
            fs::remove_file(folder.join("card.json")).unwrap();
        }),
        ("card.json", "file_unreadable", |folder| {
            fs::remove_file(folder.join("card.json")).unwrap();
            fs::create_dir(folder.join("card.json")).unwrap();
        }),
        ("architecture.json", "file_malformed", |folder| {
            fs::write(folder.join("architecture.json"), "{").unwrap();
        }),
        ("architecture.json", "file_malformed", |folder| {
            fs::write(folder.join("architecture.json"), "[".repeat(100_000)).unwrap();
        }),
        ("architecture.json", "file_malformed", |folder| {
            fs::write(folder.join("architecture.json"), b"{\"\xff\": 1}").unwrap();
        }),
        ("architecture.json", "file_too_large", |folder| {
            let file = File::create(folder.join("architecture.json")).unwrap();
            file.set_len(1 << 40).unwrap();
        }),
        ("weights.safetensors", "file_too_large", |folder| {
            let file = File::create(folder.join("weights.safetensors")).unwrap();
            file.set_len(1 << 40).unwrap();
        }),
        ("weights.safetensors", "weights_digest_mismatch", |folder| {
            let path = folder.join("weights.safetensors");
            let mut weights = fs::read(&path).unwrap();
            *weights.last_mut().unwrap() ^= 1;
            weights.push(0);
            fs::write(path, weights).unwrap();
        }),
        ("weights.safetensors", "weights_digest_mismatch", |folder| {
            fs::write(folder.join("weights.safetensors"), "").unwrap();
        }),
        ("weights.safetensors", "safetensors_malformed", |folder| {
            fs::write(folder.join("weights.safetensors"), "").unwrap();
            let of_nothing =
                "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
            edit(folder, |card| card["weights_digest"] = of_nothing.into());
        }),
        ("card.json", "file_malformed", |folder| {
            fs::write(folder.join("card.json"), "null").unwrap();
        }),
        ("card.json", "file_malformed", |folder| {
            edit(folder, |card| card["colour"] = "blue".into());
        }),
        ("card.json", "file_malformed", |folder| {
            edit(folder, |card| card["lineage"]["seed"] = "seven".into());
        }),
        ("card.json", "card_format", |folder| {
            edit(folder, |card| *card = json!({"format": 2, "new": "things"}));
        }),
        ("card.json", "parameter_count_mismatch", |folder| {
            edit(folder, |card| card["parameters"] = 14.into());
        }),
        ("card.json", "labels_mismatch", |folder| {
            edit(folder, |card| card["labels"] = json!(["a", "b", "c", "d"]));
        }),
        ("card.json", "label_blank", |folder| {
            edit(folder, |card| card["labels"] = json!(["a", "", "c"]));
        }),
        ("evaluation.json", "file_malformed", |folder| {
            fs::write(folder.join("evaluation.json"), "{}").unwrap();
        }),
        ("history.json", "file_malformed", |folder| {
            fs::write(folder.join("history.json"), "{\"epochs\": 3}").unwrap();
        }),
        ("evaluation.json", "evaluation_mismatch", |folder| {
            let other = evaluation(&["a".into(), "b".into()], 1);
            let text = serde_json::to_string(&other).unwrap();
            fs::write(folder.join("evaluation.json"), text).unwrap();
        }),
    ];
    for (place, &(file, expected, breakage)) in breakages.iter().enumerate() {
        let (root, _) = repository(3);
        breakage(&root.path().join("m/2"));
        breakage(&root.path().join("m/3"));
        let repository = Repository::open(root.path()).unwrap();
        let case = format!("case {place}: {expected}");

        let error = repository.load("m", 2).unwrap_err();
        assert_eq!(error.code(), "version_broken", "{case}: {error}");
        assert!(error.to_string().contains(file), "{case}: {error}");
        let listing = repository.describe("m").unwrap();
        let states: Vec<&str> = listing
            .versions
            .iter()
            .map(|version| match &version.state {
                VersionState::Ok => "ok",
                VersionState::Broken { code, reason } => {
                    assert!(reason.contains(file), "{case}: {reason}");
                    code
                }
            })
            .collect();
        assert_eq!(states, ["ok", expected, expected], "{case}");
        assert_eq!(listing.serving, Some(1), "{case}");
        assert_eq!(repository.serving_version("m").unwrap(), 1, "{case}");
        assert_eq!(code(repository.promote("m", 2)), "version_broken", "{case}");
        assert_eq!(
            code(repository.set_alias("m", "a", 2)),
            "version_broken",
            "{case}"
        );
        assert_eq!(repository.publish("m", &draft()).unwrap(), 4, "{case}");
        repository.delete("m", 2).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_socket_in_place_of_a_file_is_not_waited_for() {
    let (root, repository) = repository(1);
    let path = root.path().join("m/1/card.json");
    fs::remove_file(&path).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let error = repository.load("m", 1).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
}

#[test]
fn a_model_without_a_good_version_says_why() {
    let (root, repository) = repository(2);
    for version in ["m/1/card.json", "m/2/card.json"] {
        fs::remove_file(root.path().join(version)).unwrap();
    }
    let error = repository.serving_version("m").unwrap_err();
    assert_eq!(error.code(), "no_good_version");
    assert!(
        error.to_string().contains("card.json is missing"),
        "{error}"
    );
    assert_eq!(code(repository.rollback("m")), "no_good_version");
    assert_eq!(repository.describe("m").unwrap().serving, None);
    assert_eq!(repository.models().unwrap(), ["m"]);
}

#[test]
fn a_repaired_version_is_noticed() {
    let (root, repository) = repository(2);
    let card = root.path().join("m/2/card.json");
    let good = fs::read(&card).unwrap();
    assert_eq!(repository.serving_version("m").unwrap(), 2);
    fs::write(&card, "{}").unwrap();
    assert_eq!(repository.serving_version("m").unwrap(), 1);
    fs::write(&card, good).unwrap();
    assert_eq!(repository.serving_version("m").unwrap(), 2);
}
