//! The repository through real files: publish and load, serve and roll back, and everything that can be wrong on a disk.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, SystemTime};

use irori::architecture::Architecture;
use irori::evaluation::{Epoch, Evaluation, Evaluator, History};
use irori::imaging::{Color, Preprocessing};
use irori::interchange::{Format, Imported, Source};
use irori::network::{Parameter, Parameters};
use irori::repository::{
    DatasetLineage, Draft, ImportOptions, Lineage, MAX_ALIASES, ModelName, Origin, Outputs,
    Repository, RepositoryError, VersionState,
};
use proptest::prelude::*;
use serde_json::{Value, json};
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

#[test]
fn a_published_version_loads_bit_for_bit() {
    let (root, repository) = repository(0);
    let mut draft = draft();
    draft.labels = vec!["日本".into(), "a \"b\"".into(), "c".into()];
    draft.outputs = Outputs::Logits;
    draft.preprocessing.invert = true;
    draft.preprocessing.mean = Some(vec![0.1307]);
    draft.preprocessing.std = Some(vec![0.3081]);
    draft.lineage = Lineage {
        origin: Origin::Trained,
        dataset: Some(DatasetLineage {
            name: "digits".into(),
            digest: "sha256:00".into(),
            images: 60_000,
        }),
        seed: Some(7),
        compile: Some(json!({"optimizer": {"name": "adam", "learning_rate": 0.001}})),
        fit: Some(json!({"epochs": 5})),
        duration_seconds: Some(12.5),
        ..Lineage::default()
    };
    draft.evaluation = Some(evaluation(&draft.labels, 1));
    let mut history = History::default();
    let epoch = Epoch {
        epoch: 1,
        loss: 0.1,
        accuracy: 0.9,
        val_loss: None,
        val_accuracy: Some(1.0 / 3.0),
        learning_rate: 1e-3,
        seconds: 1.0,
        images_per_second: 7_400.0,
    };
    history.push(epoch).unwrap();
    draft.history = Some(history);

    let version = repository.publish("digits", &draft).unwrap();
    let stored = repository.load("digits", version).unwrap();

    assert_eq!((stored.model.as_str(), stored.version), ("digits", 1));
    assert_eq!(stored.architecture, draft.architecture);
    for (name, expected) in draft.parameters.iter() {
        let found = stored.parameters.get(name).unwrap();
        let bits = |p: &Parameter| p.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(found.shape, expected.shape, "{name}");
        assert_eq!(bits(found), bits(expected), "{name}");
    }
    assert_eq!(stored.parameters.len(), draft.parameters.len());
    let card = stored.card;
    assert_eq!(card.format, 1);
    assert_eq!(card.labels, draft.labels);
    assert_eq!(card.preprocessing, draft.preprocessing);
    assert_eq!(card.outputs, Outputs::Logits);
    assert_eq!(card.parameters, 2 * 2 * 3 + 3);
    assert_eq!(card.lineage, draft.lineage);
    assert!(card.weights_digest.starts_with("sha256:"));
    assert_eq!(stored.evaluation, draft.evaluation);
    assert_eq!(stored.history, draft.history);

    let files = tree(&root.path().join("digits/1"));
    let expected = [
        "architecture.json",
        "card.json",
        "evaluation.json",
        "history.json",
        "weights.safetensors",
    ];
    assert_eq!(files, expected.map(PathBuf::from).into());
    let text = fs::read_to_string(root.path().join("digits/1/card.json")).unwrap();
    assert!(
        text.starts_with("{\n  \"format\": 1,\n") && text.ends_with("}\n"),
        "{text}"
    );
    assert_eq!(scratch_folders(root.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_version_without_a_report_has_none() {
    let (_root, repository) = repository(1);
    let stored = repository.load("m", 1).unwrap();
    assert!(stored.evaluation.is_none() && stored.history.is_none());
}

#[test]
fn publishers_at_the_same_time_get_different_numbers() {
    let root = TempDir::new().unwrap();
    let numbers: Vec<u64> = std::thread::scope(|scope| {
        let publish = |publisher: u8| {
            // Each has a handle of its own, as another process would.
            let repository = Repository::open(root.path()).unwrap();
            (0..4)
                .map(|turn| {
                    let draft = draft_of(2, 3, f32::from(publisher * 4 + turn));
                    let version = repository.publish("m", &draft).unwrap();
                    let stored = repository.load("m", version).unwrap();
                    assert_eq!(stored.parameters, draft.parameters);
                    version
                })
                .collect::<Vec<u64>>()
        };
        let publishers: Vec<_> = (0..6).map(|p| scope.spawn(move || publish(p))).collect();
        let numbers = publishers.into_iter().map(|p| p.join().unwrap());
        numbers.flatten().collect()
    });
    let distinct: BTreeSet<u64> = numbers.iter().copied().collect();
    assert_eq!(distinct, (1..=24).collect());
    assert_eq!(scratch_folders(root.path()), Vec::<PathBuf>::new());
}

#[test]
fn promoters_at_the_same_time_lose_no_change() {
    let (_root, repository) = repository(1);
    std::thread::scope(|scope| {
        for label in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            let repository = repository.clone();
            scope.spawn(move || repository.set_alias("m", label, 1).unwrap());
        }
    });
    assert_eq!(repository.aliases("m").unwrap().len(), 8);
}

#[test]
fn what_can_t_be_loaded_can_t_be_published() {
    let (root, repository) = repository(1);
    let before = tree(root.path());
    let refuse = |expected: &str, says: &[&str], change: &dyn Fn(&mut Draft)| {
        let mut draft = draft();
        draft.evaluation = Some(evaluation(&draft.labels, 2));
        change(&mut draft);
        let error = repository.publish("m", &draft).unwrap_err();
        assert_eq!(error.code(), expected, "{error}");
        let message = error.to_string();
        assert!(says.iter().all(|part| message.contains(part)), "{message}");
        assert_eq!(tree(root.path()).difference(&before).next(), None);
    };
    refuse("labels_mismatch", &["2 labels", "3 units"], &|draft| {
        draft.labels.pop();
        draft.evaluation = None;
    });
    refuse("label_blank", &["label 1"], &|draft| {
        draft.labels[1] = " ".into();
        draft.evaluation = None;
    });
    refuse("evaluation_mismatch", &["3 labels"], &|draft| {
        draft.labels.swap(0, 1);
    });
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        refuse(
            "weights_not_finite",
            &["dense/bias", "position 2"],
            &|draft| {
                let mut bias = draft.parameters.get("dense/bias").unwrap().clone();
                bias.values[2] = value;
                draft.parameters.insert("dense/bias", bias);
            },
        );
    }
    refuse(
        "weights_mismatch",
        &["dense/kernel", "[3, 3]", "[4, 3]"],
        &|draft| {
            let kernel = Parameter::new(vec![3, 3], vec![0.0; 9]).unwrap();
            draft.parameters.insert("dense/kernel", kernel);
        },
    );
    refuse(
        "parameters_inconsistent",
        &["weights.safetensors"],
        &|draft| {
            let lying = Parameter {
                shape: vec![3],
                values: vec![0.0; 2],
            };
            draft.parameters.insert("dense/bias", lying);
        },
    );
    let mut rgb = Preprocessing::for_channels(1);
    rgb.color = Some(Color::Rgb);
    let expected = rgb.check(1).unwrap_err().code();
    refuse(expected, &["card.json"], &|draft| {
        draft.preprocessing = rgb.clone()
    });
}

#[test]
fn one_sigmoid_output_has_two_labels() {
    let (_root, repository) = repository(0);
    let mut draft = draft_of(2, 1, 0.0);
    assert_eq!(code(repository.publish("m", &draft)), "labels_mismatch");
    draft.labels = vec!["cat".into(), "dog".into()];
    assert_eq!(repository.publish("m", &draft).unwrap(), 1);
    assert_eq!(repository.load("m", 1).unwrap().card.labels, draft.labels);
}

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
        assert_eq!(repository.load_serving("m").unwrap().version, 1, "{case}");
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
    assert_eq!(code(repository.load_serving("m")), "no_good_version");
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

#[test]
fn names_that_are_no_names_reach_no_path() {
    let (root, repository) = repository(1);
    fs::create_dir(root.path().join("m/1/2")).unwrap();
    let before = tree(root.path());
    let long = "x".repeat(200);
    let names = [
        "",
        ".",
        "..",
        "../x",
        "../../etc",
        "a/b",
        "a\\b",
        "/etc",
        "m/",
        "./m",
        "m/1",
        ".hidden",
        "-x",
        "_x",
        "a..b",
        "a b",
        "a\0b",
        "a\nb",
        "日本",
        "%2e%2e",
        "CON:",
        &long,
    ];
    for name in names {
        let refused = [
            code(repository.versions(name)),
            code(repository.describe(name)),
            code(repository.serving_version(name)),
            code(repository.load_serving(name)),
            code(repository.load(name, 1)),
            code(repository.publish(name, &draft())),
            code(repository.write_evaluation(name, 1, &evaluation(&labels(3), 1))),
            code(repository.promote(name, 1)),
            code(repository.rollback(name)),
            code(repository.aliases(name)),
            code(repository.set_alias(name, "a", 1)),
            code(repository.remove_alias(name, "a")),
            code(repository.delete(name, 1)),
        ];
        assert!(
            refused.iter().all(|&code| code == "invalid_model_name"),
            "{name:?}: {refused:?}"
        );
        assert_eq!(
            code(repository.set_alias("m", name, 1)),
            "invalid_alias",
            "{name:?}"
        );
    }
    assert_eq!(tree(root.path()), before);
    let message = repository.versions(&long).unwrap_err().to_string();
    assert!(message.len() < 400, "{message}");
}

proptest! {
    #[test]
    fn a_name_is_one_plain_path_component(name in "[A-Za-z0-9._/\\\\ -]{0,70}") {
        if let Ok(name) = ModelName::try_from(name.as_str()) {
            let path = Path::new(name.as_str());
            prop_assert_eq!(path.components().count(), 1);
            prop_assert_eq!(path.file_name().unwrap().to_str().unwrap(), name.as_str());
            prop_assert!(name.len() <= 63 && !name.starts_with('.'));
        }
    }

    #[test]
    fn every_good_name_is_taken(name in "[A-Za-z0-9]([A-Za-z0-9_-]|[.][A-Za-z0-9]){0,31}") {
        let parsed = ModelName::try_from(name.as_str()).unwrap();
        prop_assert_eq!(parsed.as_str(), name.as_str());
    }
}

#[test]
fn what_is_missing_is_named_with_what_there_is() {
    let (root, repository) = repository(2);
    repository.publish("digits", &draft()).unwrap();
    let error = repository.load("fashion", 1).unwrap_err();
    assert_eq!(error.code(), "model_not_found");
    assert!(error.to_string().contains("digits, m"), "{error}");
    let error = repository.load("m", 7).unwrap_err();
    assert_eq!(error.code(), "version_not_found");
    assert!(error.to_string().contains("1, 2"), "{error}");
    assert_eq!(code(repository.load("m", 0)), "version_not_found");
    assert_eq!(code(repository.load("m", u64::MAX)), "version_not_found");
    assert_eq!(code(repository.promote("m", 7)), "version_not_found");
    assert_eq!(code(repository.delete("m", 7)), "version_not_found");
    assert_eq!(code(repository.remove_alias("m", "x")), "alias_not_found");
    // A file among the models is no model.
    fs::write(root.path().join("README.md"), "").unwrap();
    assert_eq!(code(repository.load("README.md", 1)), "model_not_found");
    assert_eq!(repository.models().unwrap(), ["digits", "m"]);
}

#[test]
fn only_plain_numbers_are_versions() {
    let (root, repository) = repository(1);
    for name in [
        "0",
        "01",
        "-1",
        "+3",
        "1.5",
        "9007199254740992",
        "18446744073709551616",
        "notes",
        ".tmp-x",
    ] {
        fs::create_dir(root.path().join("m").join(name)).unwrap();
    }
    fs::write(root.path().join("m/2"), "a file").unwrap();
    assert_eq!(repository.versions("m").unwrap(), [1]);
    // A number that is taken by something else is passed over.
    assert_eq!(repository.publish("m", &draft()).unwrap(), 3);
    fs::create_dir(root.path().join("m/9007199254740991")).unwrap();
    assert_eq!(
        code(repository.publish("m", &draft())),
        "version_numbers_exhausted"
    );
}

#[test]
fn the_newest_version_is_served_until_one_is_promoted() {
    let (root, repository) = repository(2);
    assert_eq!(repository.serving_version("m").unwrap(), 2);
    assert!(!repository.describe("m").unwrap().pinned);
    repository.publish("m", &draft()).unwrap();
    assert_eq!(repository.serving_version("m").unwrap(), 3);

    repository.promote("m", 1).unwrap();
    assert_eq!(repository.publish("m", &draft()).unwrap(), 4);
    assert_eq!(repository.serving_version("m").unwrap(), 1);
    assert_eq!(repository.load_serving("m").unwrap().version, 1);
    assert!(repository.describe("m").unwrap().pinned);
    let text = fs::read_to_string(root.path().join("m/aliases.json")).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        file,
        json!({"serving": {"version": 1, "previous": [3, 2, 1]}})
    );
    // Another process sees the same.
    let other = Repository::open(root.path()).unwrap();
    assert_eq!(other.serving_version("m").unwrap(), 1);
}

#[test]
fn rollback_retraces_what_was_served() {
    let (_root, repository) = repository(4);
    repository.promote("m", 2).unwrap();
    repository.promote("m", 3).unwrap();
    // Promoting what is served already is no step to go back.
    repository.promote("m", 3).unwrap();
    for expected in [2, 4, 3, 2, 1] {
        assert_eq!(repository.rollback("m").unwrap(), expected);
        assert_eq!(repository.serving_version("m").unwrap(), expected);
    }
    let error = repository.rollback("m").unwrap_err();
    assert_eq!(error.code(), "nothing_to_roll_back");
    assert!(error.to_string().contains("serves version 1"), "{error}");
    assert_eq!(repository.serving_version("m").unwrap(), 1);
}

#[test]
fn rollback_without_a_promote_goes_to_the_version_before() {
    let (root, repository) = repository(3);
    fs::remove_file(root.path().join("m/2/card.json")).unwrap();
    assert_eq!(repository.rollback("m").unwrap(), 1);
    assert_eq!(code(repository.rollback("m")), "nothing_to_roll_back");
    assert_eq!(repository.publish("m", &draft()).unwrap(), 4);
    assert_eq!(repository.serving_version("m").unwrap(), 1);
}

#[test]
fn a_single_version_can_t_be_rolled_back() {
    let (_root, repository) = repository(1);
    assert_eq!(code(repository.rollback("m")), "nothing_to_roll_back");
    repository.promote("m", 1).unwrap();
    assert_eq!(code(repository.rollback("m")), "nothing_to_roll_back");
}

#[test]
fn a_chosen_version_that_breaks_gives_way_to_the_one_before() {
    let (root, repository) = repository(4);
    repository.promote("m", 1).unwrap();
    repository.promote("m", 3).unwrap();
    fs::remove_file(root.path().join("m/3/weights.safetensors")).unwrap();
    assert_eq!(repository.serving_version("m").unwrap(), 1);
    assert_eq!(repository.load_serving("m").unwrap().version, 1);
    fs::remove_dir_all(root.path().join("m/3")).unwrap();
    assert_eq!(repository.serving_version("m").unwrap(), 1);
    assert_eq!(repository.rollback("m").unwrap(), 4);
}

#[test]
fn what_is_served_can_t_be_deleted() {
    let (root, repository) = repository(3);
    assert_eq!(code(repository.delete("m", 3)), "version_is_serving");
    repository.promote("m", 1).unwrap();
    assert_eq!(code(repository.delete("m", 1)), "version_is_serving");
    repository.delete("m", 3).unwrap();
    assert_eq!(repository.versions("m").unwrap(), [1, 2]);
    assert_eq!(code(repository.load("m", 3)), "version_not_found");
    assert_eq!(scratch_folders(root.path()), Vec::<PathBuf>::new());
    // Chosen, but broken: it must not come back by being repaired while it is on its way out.
    fs::remove_file(root.path().join("m/1/card.json")).unwrap();
    assert_eq!(code(repository.delete("m", 1)), "version_is_serving");
    // Rollback has no use for a version that is gone.
    repository.promote("m", 2).unwrap();
    assert_eq!(code(repository.rollback("m")), "nothing_to_roll_back");
}

#[test]
fn no_number_is_given_twice() {
    let (_root, repository) = repository(3);
    repository.promote("m", 1).unwrap();
    repository.delete("m", 3).unwrap();
    repository.delete("m", 2).unwrap();
    assert_eq!(repository.publish("m", &draft()).unwrap(), 4);
    repository.delete("m", 4).unwrap();
    assert_eq!(repository.publish("m", &draft()).unwrap(), 5);
}

#[test]
fn aliases_stand_for_versions() {
    let (_root, repository) = repository(2);
    repository.set_alias("m", "canary", 2).unwrap();
    repository.set_alias("m", "stable", 2).unwrap();
    repository.set_alias("m", "stable", 1).unwrap();
    let aliases = repository.aliases("m").unwrap();
    assert_eq!(aliases, [("canary".into(), 2), ("stable".into(), 1)].into());
    assert_eq!(repository.describe("m").unwrap().aliases, aliases);
    assert_eq!(
        repository.serving_version("m").unwrap(),
        2,
        "aliases don't move what is served"
    );
    assert_eq!(
        code(repository.set_alias("m", "serving", 1)),
        "invalid_alias"
    );
    assert_eq!(code(repository.set_alias("m", "x", 9)), "version_not_found");
    let error = repository.delete("m", 1).unwrap_err();
    assert_eq!(error.code(), "version_is_aliased");
    assert!(error.to_string().contains("stable"), "{error}");
    assert_eq!(repository.remove_alias("m", "stable").unwrap(), 1);
    assert_eq!(
        code(repository.remove_alias("m", "stable")),
        "alias_not_found"
    );
    repository.delete("m", 1).unwrap();
}

#[test]
fn aliases_are_bounded() {
    let (root, repository) = repository(1);
    let full: serde_json::Map<String, Value> = (0..MAX_ALIASES)
        .map(|i| (format!("a{i}"), 1.into()))
        .collect();
    fs::write(
        root.path().join("m/aliases.json"),
        json!({"labels": full}).to_string(),
    )
    .unwrap();
    repository.set_alias("m", "a0", 1).unwrap();
    assert_eq!(
        code(repository.set_alias("m", "one-more", 1)),
        "too_many_aliases"
    );
    assert_eq!(repository.aliases("m").unwrap().len(), MAX_ALIASES);
}

#[test]
fn garbled_aliases_are_reported_and_overwritten_by_nobody() {
    let (root, repository) = repository(2);
    repository.promote("m", 1).unwrap();
    let path = root.path().join("m/aliases.json");
    let huge = " ".repeat(1 << 20);
    let garbage = [
        "",
        "garbage",
        "[3]",
        "{\"serving\": 3}",
        "{\"extra\": 1}",
        "{\"labels\": {\"a\": -1}}",
        "{\"serving\": {\"version\": 18446744073709551615}}",
        "{\"labels\": {\"a\": 0}}",
        &huge,
    ];
    for text in garbage {
        fs::write(&path, text).unwrap();
        assert_eq!(repository.serving_version("m").unwrap(), 2, "{text:.50}");
        let listing = repository.describe("m").unwrap();
        let fault = listing.aliases_fault.expect("a fault");
        assert!(fault.contains("aliases.json"), "{fault}");
        assert_eq!((listing.serving, listing.pinned), (Some(2), false));
        let refused = [
            code(repository.promote("m", 1)),
            code(repository.rollback("m")),
            code(repository.set_alias("m", "a", 1)),
            code(repository.remove_alias("m", "a")),
            code(repository.aliases("m")),
            code(repository.delete("m", 1)),
        ];
        assert!(
            refused.iter().all(|&code| code == "aliases_unreadable"),
            "{text:.50}: {refused:?}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    assert_eq!(repository.publish("m", &draft()).unwrap(), 3);
}

#[test]
fn an_evaluation_is_replaced_whole() {
    let (root, repository) = repository(2);
    let [half, full] = [1, 2].map(|right| evaluation(&labels(3), right));
    for report in [&half, &full] {
        repository.write_evaluation("m", 1, report).unwrap();
        assert_eq!(
            repository.load("m", 1).unwrap().evaluation.as_ref(),
            Some(report)
        );
    }
    assert_eq!(repository.load("m", 2).unwrap().evaluation, None);
    let other = evaluation(&labels(4), 1);
    assert_eq!(
        code(repository.write_evaluation("m", 1, &other)),
        "evaluation_mismatch"
    );
    assert_eq!(
        code(repository.write_evaluation("m", 7, &full)),
        "version_not_found"
    );
    let mut impossible = full.clone();
    impossible.accuracy = f64::NAN;
    assert_eq!(
        code(repository.write_evaluation("m", 1, &impossible)),
        "file_malformed"
    );
    assert_eq!(
        repository.load("m", 1).unwrap().evaluation,
        Some(full.clone())
    );
    assert_eq!(scratch_folders(root.path()), Vec::<PathBuf>::new());
    fs::remove_file(root.path().join("m/2/card.json")).unwrap();
    assert_eq!(
        code(repository.write_evaluation("m", 2, &full)),
        "version_broken"
    );
}

/// What a Keras file with these layers gives.
fn imported(layers: Value) -> Imported {
    let architecture = Architecture::from_value(&json!({ "layers": layers })).unwrap();
    Imported {
        parameters: parameters(&architecture, 0.0),
        architecture,
        compile: Some(json!({"loss": "mse"})),
        source: Source {
            format: Format::Keras,
            keras_version: Some("3.9.0".into()),
            backend: Some("jax".into()),
        },
    }
}

#[test]
fn an_imported_model_says_for_itself_what_its_importer_does_not() {
    let (_root, repository) = repository(0);
    let publish = |layers, options| {
        let draft = Draft::imported(imported(layers), options);
        let version = repository.publish("m", &draft).unwrap();
        repository.load("m", version).unwrap().card
    };
    let flatten = json!({"class_name": "Flatten", "config": {"input_shape": [4, 4, 3]}});
    let dense = |units: usize, activation: &str| json!({"class_name": "Dense", "config": {"units": units, "activation": activation}});

    let card = publish(
        json!([flatten, dense(3, "softmax")]),
        ImportOptions::default(),
    );
    assert_eq!(card.labels, ["0", "1", "2"]);
    assert_eq!(card.outputs, Outputs::Probabilities);
    assert_eq!(card.preprocessing, Preprocessing::for_channels(3));
    assert_eq!(card.lineage.origin, Origin::Imported);
    assert_eq!(card.lineage.compile, Some(json!({"loss": "mse"})));
    assert_eq!(
        card.lineage.source.unwrap().keras_version.as_deref(),
        Some("3.9.0")
    );

    let one = publish(
        json!([flatten, dense(1, "sigmoid")]),
        ImportOptions::default(),
    );
    assert_eq!((one.labels.len(), one.outputs), (2, Outputs::Probabilities));
    let logits = publish(
        json!([flatten, dense(3, "linear")]),
        ImportOptions::default(),
    );
    assert_eq!(logits.outputs, Outputs::Logits);
    let softmax = json!({"class_name": "Activation", "config": {"activation": "softmax"}});
    let apart = publish(
        json!([flatten, dense(3, "linear"), softmax]),
        ImportOptions::default(),
    );
    assert_eq!(apart.outputs, Outputs::Probabilities);
    let rescaling =
        json!({"class_name": "Rescaling", "config": {"scale": 0.00392, "input_shape": [4, 4, 1]}});
    let flatten_next = json!({"class_name": "Flatten"});
    let scaled = publish(
        json!([rescaling, flatten_next, dense(3, "softmax")]),
        ImportOptions::default(),
    );
    assert_eq!(scaled.preprocessing.scale, 1.0);

    let mut preprocessing = Preprocessing::for_channels(3);
    preprocessing.invert = true;
    let options = ImportOptions {
        labels: Some(vec!["a".into(), "b".into(), "c".into()]),
        preprocessing: Some(preprocessing.clone()),
        outputs: Some(Outputs::Logits),
    };
    let told = publish(json!([flatten, dense(3, "softmax")]), options);
    assert_eq!(told.labels, ["a", "b", "c"]);
    assert_eq!(
        (told.preprocessing, told.outputs),
        (preprocessing, Outputs::Logits)
    );
}

#[test]
fn a_missing_folder_is_an_empty_repository() {
    let parent = TempDir::new().unwrap();
    let root = parent.path().join("a/b");
    let repository = Repository::open(&root).unwrap();
    assert_eq!(repository.models().unwrap(), Vec::<String>::new());
    let error = repository.versions("m").unwrap_err();
    assert_eq!(error.code(), "model_not_found");
    assert!(error.to_string().contains("no models yet"), "{error}");
    assert_eq!(code(repository.promote("m", 1)), "model_not_found");
    assert!(!root.exists(), "looking makes nothing");
    assert_eq!(repository.publish("m", &draft()).unwrap(), 1);
    assert_eq!(repository.models().unwrap(), ["m"]);
}

#[test]
fn a_file_is_no_repository() {
    let parent = TempDir::new().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Repository::open(&file).unwrap_err();
    assert_eq!(error.code(), "repository_io");
    assert!(error.to_string().contains("file"), "{error}");
}

#[test]
fn readers_write_nothing() {
    let (root, _) = repository(2);
    let before = tree(root.path());
    let repository = Repository::open(root.path()).unwrap();
    repository.models().unwrap();
    repository.describe("m").unwrap();
    repository.load_serving("m").unwrap();
    repository.aliases("m").unwrap();
    assert_eq!(tree(root.path()), before);
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_can_t_be_written_refuses_publish_and_nothing_else() {
    // Not even root can make a folder here.
    let repository = Repository::open("/proc/sys").unwrap();
    assert_eq!(repository.models().unwrap(), Vec::<String>::new());
    let error = repository.publish("m", &draft()).unwrap_err();
    assert_eq!(error.code(), "repository_io");
    assert!(error.to_string().contains("/proc/sys/m"), "{error}");
}

#[test]
fn what_dead_writers_leave_is_ignored_and_swept_after_an_hour() {
    let (root, repository) = repository(1);
    let model = root.path().join("m");
    let [young, old] = ["young", "old"].map(|name| model.join(format!(".tmp-{name}")));
    for folder in [&young, &old] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("weights.safetensors"), "half").unwrap();
    }
    let an_hour_ago = SystemTime::now() - Duration::from_secs(3_700);
    File::open(&old).unwrap().set_modified(an_hour_ago).unwrap();
    assert_eq!(repository.versions("m").unwrap(), [1]);
    assert!(old.exists());
    Repository::open(root.path()).unwrap();
    assert!(young.exists() && !old.exists());
    File::open(&young)
        .unwrap()
        .set_modified(an_hour_ago)
        .unwrap();
    repository.publish("m", &draft()).unwrap();
    assert!(!young.exists());
}

/// Where the process below publishes to.
const ROOT: &str = "IRORI_TEST_ROOT";

#[test]
#[ignore = "run by the tests below, in a process whose files can't grow"]
fn publish_in_a_process_of_its_own() {
    let repository = Repository::open(std::env::var_os(ROOT).unwrap()).unwrap();
    // 160 KB of weights.
    let error = repository.publish("m", &draft_of(64, 10, 0.0)).unwrap_err();
    assert_eq!(error.code(), "repository_io");
    assert!(error.to_string().contains("weights.safetensors"), "{error}");
}

/// Runs the test above after `prelude`, in a process whose files may have at most 64 KiB.
#[cfg(unix)]
fn publish_with_small_files(root: &Path, prelude: &str) -> ExitStatus {
    let test = format!("{}::publish_in_a_process_of_its_own", module_path!());
    let (_, test) = test.split_once("::").unwrap();
    Command::new("sh")
        .arg("-c")
        .arg(format!(
            "{prelude} ulimit -f 64; exec \"$0\" --exact {test} --ignored"
        ))
        .arg(std::env::current_exe().unwrap())
        .env(ROOT, root)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap()
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing_but_an_error() {
    let (root, repository) = repository(1);
    let before = tree(root.path());
    // With the signal ignored, writing fails as on a full disk.
    assert!(publish_with_small_files(root.path(), "trap '' XFSZ;").success());
    assert_eq!(tree(root.path()), before);
    assert_eq!(repository.publish("m", &draft()).unwrap(), 2);
}

#[cfg(unix)]
#[test]
fn a_writer_killed_in_the_middle_leaves_no_version() {
    use std::os::unix::process::ExitStatusExt;
    let (root, repository) = repository(1);
    let status = publish_with_small_files(root.path(), "");
    assert!(status.signal().is_some(), "{status}");
    assert!(!scratch_folders(root.path()).is_empty());
    assert_eq!(repository.versions("m").unwrap(), [1]);
    assert_eq!(repository.serving_version("m").unwrap(), 1);
    assert_eq!(repository.publish("m", &draft()).unwrap(), 2);
}
