//! Promote, rollback, aliases, and what may be deleted.

use std::fs;
use std::path::PathBuf;

use irori::repository::{MAX_ALIASES, Repository};
use serde_json::{Value, json};

use super::{code, draft, repository, scratch_folders};

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
fn the_newest_version_is_served_until_one_is_promoted() {
    let (root, repository) = repository(2);
    assert_eq!(repository.serving_version("m").unwrap(), 2);
    assert!(!repository.describe("m").unwrap().pinned);
    repository.publish("m", &draft()).unwrap();
    assert_eq!(repository.serving_version("m").unwrap(), 3);

    repository.promote("m", 1).unwrap();
    assert_eq!(repository.publish("m", &draft()).unwrap(), 4);
    assert_eq!(repository.serving_version("m").unwrap(), 1);
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
