//! What the disk may do: be missing, read-only or full, or keep what dead writers left.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, SystemTime};

use irori::repository::Repository;
use tempfile::TempDir;

use super::{code, draft, draft_of, repository, scratch_folders, tree};

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
    repository.load("m", 2).unwrap();
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
