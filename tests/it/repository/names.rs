//! Names and numbers: what is one, and what is said of those that are missing.

use std::fs;
use std::path::Path;

use irori::repository::ModelName;
use proptest::prelude::*;

use super::{code, draft, evaluation, labels, repository, tree};

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
            code(repository.candidates(name)),
            code(repository.add_golden(name, 1, &[])),
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
