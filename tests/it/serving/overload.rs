//! More than the engine can do: full queues, late answers, clients that leave.

use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use irori::repository::Repository;
use irori::serving::{Engine, EngineConfig, Input, Models, Scored, Servable, ServingError};
use tempfile::TempDir;

use super::{publish_constant_as, runtime, soon, until};

/// Models `a` and `b` with versions 1 and 2, and an engine in which up to four images of each wait for `delay`.
fn waiting(delay: Duration) -> (TempDir, Arc<Models>, Arc<Engine>) {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open(folder.path()).unwrap();
    for model in ["a", "b"] {
        publish_constant_as(&repository, model, 0);
        publish_constant_as(&repository, model, 1);
    }
    let models = Models::load(repository, Device::flex(), None).unwrap();
    let engine = Engine::start(EngineConfig {
        queue_capacity: 4,
        max_batch: 4,
        max_queue_delay: delay,
        ..Default::default()
    });
    (folder, Arc::new(models), Arc::new(engine.unwrap()))
}

fn pixels(images: usize) -> Vec<Input> {
    vec![Input::Pixels(vec![0.5; 16]); images]
}

type Answer = tokio::task::JoinHandle<Result<Vec<Scored>, ServingError>>;

/// Asks for so many images at once, and goes on without the answer.
fn ask(engine: &Arc<Engine>, servable: &Arc<Servable>, images: usize, deadline: Instant) -> Answer {
    let (engine, servable) = (Arc::clone(engine), Arc::clone(servable));
    tokio::spawn(async move { engine.predict(&servable, pixels(images), deadline).await })
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_full_queue_refuses_its_model_alone_and_loses_nothing() {
    let (_folder, models, engine) = waiting(LONG);
    let (a, b) = (models.get("a").unwrap(), models.get("b").unwrap());
    runtime().block_on(async {
        let accepted = ask(&engine, &a, 3, soon());
        until(|| engine.depth() == 3).await;
        for images in [2, 4, 100] {
            let refused = engine
                .predict(&a, pixels(images), soon())
                .await
                .unwrap_err();
            let ServingError::QueueFull {
                capacity,
                retry_after,
                ..
            } = refused
            else {
                panic!("{refused}");
            };
            assert_eq!(capacity, 4);
            assert!((1..=60).contains(&retry_after.as_secs()), "{retry_after:?}");
        }
        // Another model has its own places, and a full batch does not wait.
        let other = engine.predict(&b, pixels(4), soon()).await.unwrap();
        assert_eq!(other[0].timings.batch, 4);
        assert_eq!((engine.depth_of(a.model()), engine.depth()), (3, 3));
        let last = engine.predict(&a, pixels(1), soon()).await.unwrap();
        assert_eq!(last[0].timings.batch, 4);
        assert_eq!(accepted.await.unwrap().unwrap().len(), 3);
        until(|| engine.depth() == 0).await;
    });
}

#[test]
fn what_is_late_is_refused_and_not_computed_and_leaves_its_places() {
    let (_folder, models, engine) = waiting(LONG);
    let a = models.get("a").unwrap();
    runtime().block_on(async {
        let asked = Instant::now();
        let deadline = asked + Duration::from_millis(50);
        let late = engine.predict(&a, pixels(3), deadline).await.unwrap_err();
        assert_eq!(late.code(), "deadline_exceeded");
        assert!((50..20_000).contains(&asked.elapsed().as_millis()));
        let too_late = engine.predict(&a, pixels(4), asked).await.unwrap_err();
        assert_eq!(too_late.code(), "deadline_exceeded");
        let whole = engine.predict(&a, pixels(4), soon()).await.unwrap();
        assert_eq!(whole.len(), 4, "those that are late have left their places");
        // And so does a client that leaves.
        let left = ask(&engine, &a, 1, soon());
        until(|| engine.depth() == 1).await;
        left.abort();
        assert!(left.await.unwrap_err().is_cancelled());
        let whole = engine.predict(&a, pixels(4), soon()).await.unwrap();
        assert_eq!(whole.len(), 4);
    });
    let runs = a.statistics().batches().into_values();
    assert_eq!(
        (
            runs.map(|of_size| of_size.count).sum::<u64>(),
            a.statistics().batch_sizes().sum
        ),
        (2, 8),
        "the others were never computed"
    );
}

#[test]
fn an_encoded_image_whose_client_has_left_is_not_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open(folder.path()).unwrap();
    publish_constant_as(&repository, "a", 0);
    let models = Models::load(repository, Device::flex(), None).unwrap();
    let a = models.get("a").unwrap();
    let engine = Engine::start(EngineConfig {
        decode_threads: 1,
        ..Default::default()
    })
    .unwrap();
    // Large images keep the only decoder busy, while those behind them run out of time.
    let large = super::grey_png(3000);
    let small = super::grey_png(4);
    runtime().block_on(async {
        let busy = engine.predict(&a, vec![Input::Encoded(large); 24], soon());
        let late = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let deadline = Instant::now() + Duration::from_millis(5);
            engine
                .predict(&a, vec![Input::Encoded(small); 8], deadline)
                .await
        };
        let (busy, late) = tokio::join!(busy, late);
        assert_eq!(late.unwrap_err().code(), "deadline_exceeded");
        busy.unwrap();
        until(|| engine.depth() == 0).await;
    });
    assert_eq!(
        a.statistics().batch_sizes().sum,
        24,
        "the late ones were dropped"
    );
}

#[test]
fn models_take_turns_and_a_lone_image_of_another_one_passes_a_crowd() {
    let delay = Duration::from_millis(100);
    let (_folder, models, engine) = waiting(delay);
    let b = models.get("b").unwrap();
    runtime().block_on(async {
        let first = models.get_version("a", 1).await.unwrap();
        let second = models.get("a").unwrap();
        let (first, second, other) = tokio::join!(
            engine.predict(&first, pixels(1), soon()),
            engine.predict(&second, pixels(1), soon()),
            engine.predict(&b, pixels(1), soon()),
        );
        let waited = |scored: Result<Vec<Scored>, _>| scored.unwrap()[0].timings.queue;
        let (first, second, other) = (waited(first), waited(second), waited(other));
        assert!(first >= delay, "{first:?}");
        assert!(
            other < second,
            "b came last and waited {other:?}, a's other version {second:?}"
        );
    });
}

#[test]
fn memory_is_bounded_over_all_models() {
    let (_folder, models, _) = waiting(LONG);
    let engine = Engine::start(EngineConfig {
        queue_bytes: 4 << 10,
        max_queue_delay: LONG,
        max_batch: 100,
        ..Default::default()
    });
    let engine = Arc::new(engine.unwrap());
    let (a, b) = (models.get("a").unwrap(), models.get("b").unwrap());
    runtime().block_on(async {
        // 64 bytes an image: a quarter and more of the memory each.
        let asked: Vec<Answer> = [&a, &b, &a]
            .map(|model| ask(&engine, model, 20, soon()))
            .into();
        until(|| engine.depth() == 40).await;
        let refused = engine.predict(&b, pixels(20), soon()).await.unwrap_err();
        assert_eq!(refused.code(), "queue_full");
        asked.iter().for_each(Answer::abort);
    });
    // What is larger than all of it is taken when there is nothing else.
    let engine = Engine::start(EngineConfig {
        queue_bytes: 1 << 10,
        ..Default::default()
    })
    .unwrap();
    runtime().block_on(async {
        let scored = engine.predict(&b, pixels(100), soon()).await.unwrap();
        assert_eq!(scored.len(), 100);
    });
}
