//! What is published is what is loaded, and nothing else gets in.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use irori::architecture::Architecture;
use irori::evaluation::{Epoch, History};
use irori::imaging::{Color, Preprocessing};
use irori::interchange::{Format, Imported, Source};
use irori::network::Parameter;
use irori::repository::{
    DatasetLineage, Draft, ImportOptions, Lineage, Origin, Outputs, Repository,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    code, draft, draft_of, evaluation, labels, parameters, repository, scratch_folders, tree,
};

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
        "golden.safetensors",
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
