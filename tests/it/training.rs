//! Training through the library's door, on real pictures of clothing.

use std::path::PathBuf;

use burn::tensor::Device;
use irori::dataset;
use irori::repository::{ModelName, Repository};
use irori::training::{
    Evaluate, JobKind, JobSnapshot, JobState, Jobs, Outcome, Source, Train, TrainRequest,
    TrainingError,
};
use serde_json::{Value, json};
use tempfile::TempDir;

fn source() -> Source {
    Source {
        name: "fashion-mnist-small".into(),
        path: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fashion-mnist-small"),
        options: dataset::Options::default(),
    }
}

/// A small convolutional network with ten outputs.
fn architecture(last: &str) -> Value {
    json!({"layers": [
        {"class_name": "Conv2D", "config":
            {"filters": 4, "kernel_size": 3, "strides": 2, "activation": "relu", "input_shape": [28, 28, 1]}},
        {"class_name": "MaxPooling2D", "config": {}},
        {"class_name": "Flatten"},
        {"class_name": "Dense", "config": {"units": 10, "activation": last}},
    ]})
}

fn request(fields: Value) -> TrainRequest {
    let mut request = json!({
        "dataset": "fashion-mnist-small",
        "architecture": architecture("softmax"),
        "compile": {"optimizer": "adam", "loss": "sparse_categorical_crossentropy"},
        "fit": {"batch_size": 32, "epochs": 2},
        "seed": 11,
    });
    for (name, value) in fields.as_object().unwrap() {
        request[name] = value.clone();
    }
    serde_json::from_value(request).unwrap()
}

/// A repository in a folder of its own.
fn repository() -> (TempDir, Repository) {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open(folder.path().join("models")).unwrap();
    (folder, repository)
}

fn model() -> ModelName {
    ModelName::try_from("clothes").unwrap()
}

fn jobs() -> Jobs {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .build()
        .unwrap();
    Jobs::start(pool).unwrap()
}

/// Runs a request to its end.
fn train(fields: Value, repository: &Repository) -> JobSnapshot {
    let train = Train::check(model(), request(fields), source(), repository).unwrap();
    let repository = repository.clone();
    run(JobKind::Train, move |job| {
        train.run(job, &repository, &Device::flex()).map(drop)
    })
}

fn run(
    kind: JobKind,
    task: impl FnOnce(&irori::training::JobHandle) -> Result<(), TrainingError> + Send + 'static,
) -> JobSnapshot {
    let jobs = jobs();
    let job = jobs
        .submit(kind, "clothes", "fashion-mnist-small", None, move |job| {
            Outcome::from(task(job))
        })
        .unwrap();
    wait(&jobs, job.id)
}

fn wait(jobs: &Jobs, id: u64) -> JobSnapshot {
    let mut changes = jobs.watch(id).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async move {
        let ended = changes.wait_for(|job| job.state.has_ended()).await.unwrap();
        ended.clone()
    })
}

#[test]
fn every_optimizer_lowers_every_loss() {
    // Adadelta's and Adagrad's default steps are too small to show in two epochs.
    let optimizers = [
        json!({"name": "sgd", "learning_rate": 0.05}),
        json!({"name": "rmsprop"}),
        json!({"name": "adagrad", "learning_rate": 0.02}),
        json!({"name": "adadelta", "learning_rate": 1.0}),
        json!({"name": "adam"}),
    ];
    let losses = [
        ("mean_squared_error", "sigmoid"),
        ("categorical_crossentropy", "softmax"),
        ("sparse_categorical_crossentropy", "softmax"),
        ("binary_crossentropy", "sigmoid"),
    ];
    let (_folder, repository) = repository();
    for optimizer in &optimizers {
        for (loss, last) in losses {
            let job = train(
                json!({
                    "architecture": architecture(last),
                    "compile": {"optimizer": optimizer, "loss": loss},
                }),
                &repository,
            );
            assert_eq!(
                job.state,
                JobState::Succeeded,
                "{optimizer} {loss}: {:?}",
                job.error
            );
            let [first, second] = job.history[..] else {
                panic!("{optimizer} {loss}: {} epochs", job.history.len());
            };
            assert!(
                second.loss < first.loss,
                "{optimizer} {loss}: {} after {}",
                second.loss,
                first.loss
            );
        }
    }
}

#[test]
fn a_version_carries_its_history_its_evaluation_and_how_it_came_about() {
    let (_folder, repository) = repository();
    let job = train(json!({"fit": {"batch_size": 32, "epochs": 4}}), &repository);
    assert_eq!(job.state, JobState::Succeeded, "{:?}", job.error);
    let version = repository.load("clothes", job.version.unwrap()).unwrap();
    let evaluation = version.evaluation.unwrap();
    assert_eq!(evaluation.images, 500);
    assert!(evaluation.accuracy > 0.5, "{}", evaluation.accuracy);
    assert_eq!(evaluation.dataset.unwrap().part, "test");
    assert_eq!(version.history.unwrap().epochs().len(), 4);
    let lineage = version.card.lineage;
    assert_eq!(lineage.seed, Some(11));
    assert_eq!(lineage.fit.unwrap()["validation_split"], 0.0);
    assert_eq!(lineage.dataset.unwrap().images, 1000);

    // The version is evaluated again to the same figures.
    let evaluate = Evaluate::check(model(), None, source(), &repository).unwrap();
    let again = run(JobKind::Evaluate, {
        let repository = repository.clone();
        move |job| evaluate.run(job, &repository, &Device::flex()).map(drop)
    });
    let again = again.evaluation.unwrap();
    assert_eq!(again.confusion_matrix, evaluation.confusion_matrix);
    assert_eq!(again.loss, evaluation.loss);
}

#[test]
fn the_same_seed_gives_the_same_weights() {
    let (_folder, repository) = repository();
    let fields = json!({
        "architecture": {"layers": [
            {"class_name": "Conv2D", "config":
                {"filters": 4, "kernel_size": 3, "activation": "relu", "input_shape": [28, 28, 1]}},
            {"class_name": "BatchNormalization"},
            {"class_name": "MaxPooling2D", "config": {"pool_size": 4}},
            {"class_name": "Flatten"},
            {"class_name": "Dropout", "config": {"rate": 0.3}},
            {"class_name": "Dense", "config": {"units": 10, "activation": "softmax"}},
        ]},
        "fit": {"epochs": 1, "batch_size": 50},
        "validation_split": 0.2,
    });
    let weights = |fields: Value| {
        let version = train(fields, &repository).version.unwrap();
        repository.load("clothes", version).unwrap().parameters
    };
    let first = weights(fields.clone());
    assert_eq!(weights(fields.clone()), first);
    let mut other = fields;
    other["seed"] = json!(12);
    assert_ne!(weights(other), first);
}

#[test]
fn a_loss_that_is_no_number_fails_the_job_and_publishes_nothing() {
    let (_folder, repository) = repository();
    let job = train(
        json!({
            "architecture": architecture("linear"),
            "compile": {"optimizer": {"name": "sgd", "learning_rate": 1e30}, "loss": "mse"},
        }),
        &repository,
    );
    assert_eq!(job.state, JobState::Failed);
    let error = job.error.unwrap();
    assert_eq!(error.code, "loss_not_finite");
    assert!(
        error.detail.contains("Lower the learning rate"),
        "{}",
        error.detail
    );
    assert!(repository.models().unwrap().is_empty());
}

#[test]
fn early_stopping_ends_before_the_epochs_do() {
    let (_folder, repository) = repository();
    let job = train(
        json!({
            "compile": {"optimizer": {"name": "sgd", "learning_rate": 1e-9}, "loss": "mse"},
            "validation_split": 0.2,
            "fit": {"epochs": 50, "batch_size": 100, "early_stopping":
                {"monitor": "val_accuracy", "patience": 2, "restore_best_weights": true}},
        }),
        &repository,
    );
    assert_eq!(job.state, JobState::Succeeded, "{:?}", job.error);
    assert!(job.history.len() < 50, "{} epochs", job.history.len());
    assert!(job.history.iter().all(|epoch| epoch.val_accuracy.is_some()));
}

#[test]
fn training_goes_on_from_an_earlier_version() {
    let (_folder, repository) = repository();
    let first = train(json!({"fit": {"epochs": 3}}), &repository);
    let second = train(
        json!({"architecture": null, "initial_weights": 1, "fit": {"epochs": 1}}),
        &repository,
    );
    assert_eq!(second.version, Some(2));
    assert!(second.history[0].loss < first.history[0].loss);
}

#[test]
fn what_can_be_refused_is_refused_before_the_job() {
    let (_folder, repository) = repository();
    let code = |fields: Value| {
        let refusal = Train::check(model(), request(fields), source(), &repository);
        refusal.map(drop).unwrap_err().code()
    };
    assert_eq!(code(json!({"architecture": null})), "architecture_required");
    assert_eq!(code(json!({"validation_split": 1.0})), "invalid_setting");
    assert_eq!(code(json!({"fit": {"epochs": 0}})), "invalid_setting");
    assert_eq!(code(json!({"initial_weights": 3})), "model_not_found");
    let flat =
        json!({"layers": [{"class_name": "Dense", "config": {"units": 10, "input_dim": 784}}]});
    assert_eq!(code(json!({"architecture": flat})), "input_not_an_image");
    let image = json!({"layers": [{"class_name": "Conv2D", "config":
        {"filters": 10, "kernel_size": 3, "input_shape": [28, 28, 1]}}]});
    assert_eq!(code(json!({"architecture": image})), "not_a_classifier");
}

#[test]
fn a_folder_that_can_not_be_written_is_told_before_the_training() {
    // Not even root can make files here.
    let repository = Repository::open("/proc/sys/no-such-folder").unwrap();
    let refusal = Train::check(model(), request(json!({})), source(), &repository);
    assert_eq!(refusal.map(drop).unwrap_err().code(), "models_not_writable");
}

#[test]
fn classes_that_are_not_the_outputs_fail_the_job_and_say_how_many_there_are() {
    let (_folder, repository) = repository();
    let mut network = architecture("softmax");
    network["layers"][3]["config"]["units"] = json!(7);
    let error = train(json!({"architecture": network}), &repository)
        .error
        .unwrap();
    assert_eq!(error.code, "labels_mismatch");
    assert!(
        error.detail.contains("10 classes") && error.detail.contains("7 units"),
        "{}",
        error.detail
    );
}

#[test]
fn a_job_stops_within_a_batch_and_a_panic_ends_only_its_job() {
    let (_folder, repository) = repository();
    let jobs = jobs();
    let fields = json!({"fit": {"epochs": 10_000, "batch_size": 8}});
    let train = Train::check(model(), request(fields), source(), &repository).unwrap();
    let endless = jobs
        .submit(JobKind::Train, "clothes", "small", None, {
            let repository = repository.clone();
            move |job| Outcome::from(train.run(job, &repository, &Device::flex()).map(drop))
        })
        .unwrap();
    let panics = jobs
        .submit(JobKind::Train, "clothes", "small", None, |_| {
            panic!("by design")
        })
        .unwrap();
    let last = jobs
        .submit(JobKind::Train, "clothes", "small", None, |_| Outcome::Done)
        .unwrap();
    let mut changes = jobs.watch(endless.id).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        changes
            .wait_for(|job| !job.history.is_empty())
            .await
            .unwrap();
    });
    jobs.cancel(endless.id).unwrap();
    assert_eq!(wait(&jobs, endless.id).state, JobState::Cancelled);
    let panicked = wait(&jobs, panics.id);
    assert_eq!(panicked.state, JobState::Failed);
    assert_eq!(panicked.error.unwrap().code, "internal");
    assert_eq!(wait(&jobs, last.id).state, JobState::Succeeded);
    assert!(repository.models().unwrap().is_empty());
}
