//! Versions come and go: self-tested, asked for by number, dropped in by other processes.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use irori::repository::{Repository, VersionState};
use irori::serving::{Models, Servable, ServingError, Watch};
use tempfile::TempDir;

use super::{publish_constant, runtime};

/// A repository whose version n of `constant` says class n - 1, and its models.
fn models(versions: usize) -> (TempDir, Repository, Arc<Models>) {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open(folder.path()).unwrap();
    for class in 0..versions {
        publish_constant(&repository, class % 3);
    }
    let models = Models::load(repository.clone(), Device::flex(), None).unwrap();
    (folder, repository, Arc::new(models))
}

fn serving(models: &Models) -> Option<u64> {
    models.get("constant").ok().map(|s| s.version())
}

fn get_version(models: &Arc<Models>, version: u64) -> Result<Arc<Servable>, ServingError> {
    runtime().block_on(models.get_version("constant", version))
}

/// The states of the versions of `constant`, as the repository lists them.
fn states(models: &Models) -> Vec<String> {
    let listing = models.repository().describe("constant").unwrap();
    let state = |state: VersionState| match state {
        VersionState::Ok => "ok".to_owned(),
        VersionState::Broken { code, .. } => code,
    };
    listing
        .versions
        .into_iter()
        .map(|v| state(v.state))
        .collect()
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_version_that_gives_other_answers_than_it_did_is_not_served() {
    let (folder, repository, models) = models(2);
    assert!(models.get("constant").unwrap().is_self_tested());
    // What version 1 gave for the same images.
    let golden = |version: u64| {
        folder
            .path()
            .join(format!("constant/{version}/golden.safetensors"))
    };
    fs::copy(golden(1), golden(2)).unwrap();
    models.renew("constant");
    assert_eq!(serving(&models), Some(1));
    assert_eq!(states(&models), ["ok", "self_test_failed"]);
    let refused = [
        get_version(&models, 2).err().unwrap(),
        models.promote("constant", 2).unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.code(), "version_broken");
        assert!(error.to_string().contains("self-test"), "{error}");
    }
    assert!(!repository.describe("constant").unwrap().pinned);
    // A version of an older Irori has none: it is served, and says so.
    fs::remove_file(golden(1)).unwrap();
    models.renew("constant");
    assert!(!models.get("constant").unwrap().is_self_tested());
    repository.add_golden("constant", 1, &[]).unwrap();
    models.renew("constant");
    assert!(models.get("constant").unwrap().is_self_tested());
    assert_eq!(serving(&models), Some(1));
}

#[test]
fn a_model_whose_only_version_fails_its_self_test_says_so() {
    let (folder, _repository, _) = models(2);
    let version = |version: u64| folder.path().join(format!("constant/{version}"));
    fs::copy(
        version(1).join("golden.safetensors"),
        version(2).join("golden.safetensors"),
    )
    .unwrap();
    fs::remove_dir_all(version(1)).unwrap();
    let repository = Repository::open(folder.path()).unwrap();
    let models = Models::load(repository, Device::flex(), None).unwrap();
    let Err(ServingError::ModelUnavailable { reason, .. }) = models.get("constant") else {
        panic!("it is served");
    };
    assert!(reason.contains("self-test failed"), "{reason}");
}

#[test]
fn a_version_asked_for_by_many_is_loaded_once() {
    let (_folder, _repository, models) = models(3);
    runtime().block_on(async {
        let clients: Vec<_> = (0..16)
            .map(|_| {
                let models = Arc::clone(&models);
                tokio::spawn(async move { models.get_version("constant", 1).await.unwrap() })
            })
            .collect();
        let mut servables = Vec::new();
        for client in clients {
            servables.push(client.await.unwrap());
        }
        assert!(servables.iter().all(|s| Arc::ptr_eq(s, &servables[0])));
    });
    assert_eq!(models.in_memory().len(), 2);
}

#[test]
fn versions_asked_for_by_number_stay_within_the_budget() {
    let (_folder, repository, models) = models(4);
    let bytes = models.get("constant").unwrap().bytes() as u64;
    // The files are a little larger than the weights in them.
    let file = repository.stamp("constant", 1).unwrap().weights_bytes();
    let budget = 2 * bytes + file;
    drop(models);
    let models = Models::load(repository, Device::flex(), None).unwrap();
    let models = Arc::new(models.with_max_loaded_bytes(budget));
    let in_memory = || -> Vec<u64> { models.in_memory().iter().map(|s| s.version()).collect() };
    get_version(&models, 1).unwrap();
    get_version(&models, 2).unwrap();
    get_version(&models, 1).unwrap();
    assert_eq!(in_memory(), [4, 2, 1]);
    let unused = Arc::downgrade(&get_version(&models, 2).unwrap());
    get_version(&models, 1).unwrap();
    get_version(&models, 3).unwrap();
    assert_eq!(in_memory(), [4, 1, 3], "the least recently used has left");
    assert!(unused.upgrade().is_none());

    let models = Models::load(models.repository().clone(), Device::flex(), None).unwrap();
    let models = Arc::new(models.with_max_loaded_bytes(bytes + file - 1));
    let error = get_version(&models, 1).err().unwrap();
    assert_eq!(error.code(), "no_room_to_load");
    assert_eq!(
        get_version(&models, 4).unwrap().version(),
        4,
        "it is served anyway"
    );
    models.promote("constant", 1).unwrap();
    assert_eq!(
        serving(&models),
        Some(1),
        "what is served by name has precedence"
    );
}

#[test]
fn what_is_served_survives_its_files() {
    let (folder, repository, models) = models(2);
    let card = folder.path().join("constant/2/card.json");
    let good = fs::read(&card).unwrap();
    fs::write(&card, "{").unwrap();
    models.renew("constant");
    assert_eq!(
        (serving(&models), states(&models)[1].as_str()),
        (Some(2), "file_malformed")
    );
    fs::write(&card, good).unwrap();
    models.renew("constant");
    assert_eq!(
        (serving(&models), states(&models)[1].as_str()),
        (Some(2), "ok")
    );
    // Somebody takes it away: the one before it is served.
    fs::remove_dir_all(folder.path().join("constant/2")).unwrap();
    models.renew("constant");
    assert_eq!(serving(&models), Some(1));
    assert!(matches!(
        get_version(&models, 2),
        Err(ServingError::Repository(_))
    ));
    assert_eq!(repository.versions("constant").unwrap(), [1]);
}

#[test]
fn a_hundred_reloads_leave_nothing_behind() {
    let (_folder, repository, models) = models(2);
    let mut seen: Vec<Weak<Servable>> = Vec::new();
    for round in 0..100 {
        repository.promote("constant", round % 2 + 1).unwrap();
        models.renew("constant");
        seen.push(Arc::downgrade(&models.get("constant").unwrap()));
        get_version(&models, (round + 1) % 2 + 1).unwrap();
    }
    let alive = seen
        .iter()
        .filter(|servable| servable.strong_count() > 0)
        .count();
    assert_eq!((alive, models.in_memory().len()), (1, 2));
}

/// Copies a version the slow way: file by file, each in two halves, with pauses between.
fn copy_slowly(from: &Path, to: &Path, pause: Duration) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let content = fs::read(entry.path()).unwrap();
        for end in [content.len() / 2, content.len()] {
            fs::write(to.join(entry.file_name()), &content[..end]).unwrap();
            std::thread::sleep(pause);
        }
    }
}

#[test]
fn what_other_processes_do_in_the_folder_is_followed() {
    let (folder, _, models) = models(1);
    let other = tempfile::tempdir().unwrap();
    let elsewhere = Repository::open(other.path()).unwrap();
    for class in 0..3 {
        publish_constant(&elsewhere, class);
    }
    let interval = Duration::from_millis(20);
    let _watch = Watch::start(Arc::clone(&models), interval).unwrap();
    let (here, there) = (
        folder.path().join("constant"),
        other.path().join("constant"),
    );

    // Renamed in, whole.
    fs::rename(there.join("2"), here.join("2")).unwrap();
    eventually("version 2 is served", || serving(&models) == Some(2));

    // Copied in, slowly: whatever is looked at in between, nothing is served that is not whole.
    copy_slowly(&there.join("3"), &here.join("3"), interval * 3);
    eventually("version 3 is served", || serving(&models) == Some(3));
    assert_eq!(states(&models), ["ok", "ok", "ok"]);

    // A broken one is reported, and the one before it goes on.
    fs::create_dir(here.join("4")).unwrap();
    fs::write(here.join("4/card.json"), "{}").unwrap();
    eventually("version 4 is reported", || states(&models).len() == 4);
    std::thread::sleep(interval * 5);
    assert_eq!(serving(&models), Some(3));
    assert_eq!(states(&models)[3], "file_missing");

    // Promoted by another process; a newer one does not take over then.
    let process = Repository::open(folder.path()).unwrap();
    process.promote("constant", 1).unwrap();
    eventually("version 1 is served", || serving(&models) == Some(1));
    publish_constant(&process, 1);
    std::thread::sleep(interval * 5);
    assert_eq!(serving(&models), Some(1));

    // A new model, which is unloaded and stays so, and then is deleted.
    fs::create_dir(folder.path().join("another")).unwrap();
    fs::rename(there.join("1"), folder.path().join("another/1")).unwrap();
    eventually("another model is there", || models.get("another").is_ok());
    models.unload("another").unwrap();
    std::thread::sleep(interval * 5);
    assert!(matches!(
        models.get("another"),
        Err(ServingError::ModelUnloaded { .. })
    ));
    fs::remove_dir_all(folder.path().join("another")).unwrap();
    eventually("the other model is gone", || models.names() == ["constant"]);
    assert_eq!(serving(&models), Some(1));
}
