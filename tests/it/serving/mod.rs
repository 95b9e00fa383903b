//! Serving through the library's door: batches, swaps, and a queue that is full.

mod lifecycle;
mod overload;
mod threads;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use bytes::Bytes;
use irori::architecture::Architecture;
use irori::imaging::Preprocessing;
use irori::network::{Parameter, Parameters};
use irori::repository::{Draft, Lineage, Outputs, Repository};
use irori::serving::{Engine, EngineConfig, Input, Models, ServingError};
use serde_json::json;

fn publish_constant(repository: &Repository, class: usize) -> u64 {
    publish_constant_as(repository, "constant", class)
}

/// A model that says `class` to every image, published as the next version.
fn publish_constant_as(repository: &Repository, model: &str, class: usize) -> u64 {
    let architecture = Architecture::from_value(&json!({"layers": [
        {"class_name": "Flatten", "config": {"input_shape": [4, 4, 1]}},
        {"class_name": "Dense", "config": {"name": "scores", "units": 3, "activation": "softmax"}},
    ]}))
    .unwrap();
    let mut bias = vec![0.0; 3];
    bias[class] = 10.0;
    let parameters: Parameters = [
        (
            "scores/kernel".to_owned(),
            Parameter::new(vec![16, 3], vec![0.0; 48]).unwrap(),
        ),
        (
            "scores/bias".to_owned(),
            Parameter::new(vec![3], bias).unwrap(),
        ),
    ]
    .into_iter()
    .collect();
    publish(repository, model, architecture, parameters)
}

/// A network with three outputs, published as the next version.
fn publish(
    repository: &Repository,
    model: &str,
    architecture: Architecture,
    parameters: Parameters,
) -> u64 {
    let draft = Draft {
        architecture,
        parameters,
        labels: ["a", "b", "c"].map(String::from).to_vec(),
        preprocessing: Preprocessing::for_channels(1).checked(1).unwrap(),
        outputs: Outputs::Probabilities,
        lineage: Lineage::default(),
        evaluation: None,
        history: None,
        examples: Vec::new(),
    };
    repository.publish(model, &draft).unwrap()
}

fn engine(queue_capacity: usize) -> Engine {
    Engine::start(EngineConfig {
        queue_capacity,
        max_batch: 8,
        ..Default::default()
    })
    .unwrap()
}

fn encoded(class: usize) -> Input {
    Input::Encoded(digit(class))
}

/// A deadline that is far away.
fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Waits, within reason, until something is so.
async fn until(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .unwrap();
}

/// A square PNG of one grey.
fn grey_png(side: u32) -> Bytes {
    let image = image::GrayImage::from_pixel(side, side, image::Luma([128]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner().into()
}

fn digit(class: usize) -> Bytes {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/digits")
        .join(class.to_string());
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    std::fs::read(&files[0]).unwrap().into()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn a_swap_under_load_neither_drops_nor_mixes_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open(folder.path()).unwrap();
    // Version n says class n - 1.
    for class in 0..3 {
        publish_constant(&repository, class);
    }
    let models = Arc::new(Models::load(repository.clone(), Device::flex(), None).unwrap());
    let engine = Arc::new(engine(256));
    let swapping = Arc::new(AtomicBool::new(true));
    let image = encoded(0);
    runtime().block_on(async {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let (models, engine) = (Arc::clone(&models), Arc::clone(&engine));
                let (swapping, image) = (Arc::clone(&swapping), image.clone());
                tokio::spawn(async move {
                    let mut seen = [0usize; 3];
                    while swapping.load(Ordering::Relaxed) {
                        let servable = models.get("constant").unwrap();
                        let scored = engine
                            .predict(&servable, vec![image.clone(); 3], soon())
                            .await;
                        for scored in scored.unwrap() {
                            let best = servable.prediction(&scored.scores, 1).unwrap().best;
                            assert_eq!(best.index as u64 + 1, servable.version());
                            seen[best.index] += 1;
                        }
                    }
                    seen
                })
            })
            .collect();
        let swaps = tokio::task::spawn_blocking({
            let models = Arc::clone(&models);
            move || {
                for round in 0..60u64 {
                    repository.promote("constant", round % 3 + 1).unwrap();
                    models.renew("constant");
                }
            }
        });
        swaps.await.unwrap();
        swapping.store(false, Ordering::Relaxed);
        let mut seen = [0usize; 3];
        for client in clients {
            for (total, count) in seen.iter_mut().zip(client.await.unwrap()) {
                *total += count;
            }
        }
        assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
    });
    assert_eq!(engine.depth(), 0);
}

#[test]
fn an_image_gets_the_same_bits_alone_and_in_any_company() {
    let repository =
        Repository::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("models")).unwrap();
    let models = Models::load(repository, Device::flex(), None).unwrap();
    let servable = models.get("digits").unwrap();
    let images: Vec<Vec<f32>> = (0..10)
        .map(|class| servable.pixels(&digit(class), &Default::default()).unwrap())
        .collect();
    let alone: Vec<Vec<f32>> = images
        .iter()
        .map(|image| servable.scores([image.as_slice()].into_iter()).remove(0))
        .collect();
    for size in 1..=64 {
        let batch = (0..size).map(|place| images[(place * 7 + size) % 10].as_slice());
        for (place, found) in servable.scores(batch).into_iter().enumerate() {
            assert_eq!(
                found,
                alone[(place * 7 + size) % 10],
                "place {place} of {size}"
            );
        }
    }
}

#[test]
fn the_shipped_model_reads_the_digits_of_the_fixtures() {
    let repository =
        Repository::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("models")).unwrap();
    let models = Models::load(repository, Device::flex(), None).unwrap();
    let servable = models.get(&models.default_model().unwrap()).unwrap();
    for class in 0..10 {
        let pixels = servable.pixels(&digit(class), &Default::default()).unwrap();
        let scores = servable.scores([pixels.as_slice()].into_iter());
        let best = servable.prediction(&scores[0], 1).unwrap().best;
        assert_eq!(best.label, class.to_string());
        assert!(best.probability > 0.5);
    }
}

#[test]
fn a_request_finds_all_its_places_or_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open(folder.path()).unwrap();
    publish_constant(&repository, 1);
    let models = Models::load(repository, Device::flex(), None).unwrap();
    let servable = models.get("constant").unwrap();
    let engine = engine(4);
    runtime().block_on(async {
        let too_many = engine.predict(&servable, vec![encoded(1); 5], soon()).await;
        assert!(matches!(
            too_many,
            Err(ServingError::QueueFull {
                images: 5,
                capacity: 4,
                ..
            })
        ));
        let enough = engine
            .predict(&servable, vec![encoded(1); 4], soon())
            .await
            .unwrap();
        assert_eq!(enough.len(), 4);
        // A bad image fails its request and gives all the places back.
        let bad = engine
            .predict(
                &servable,
                vec![encoded(1), Input::Encoded(Bytes::from_static(b"no image"))],
                soon(),
            )
            .await;
        assert!(matches!(bad, Err(ServingError::Image { index: 1, .. })));
        let free = async {
            while engine.depth() > 0 {
                tokio::task::yield_now().await;
            }
        };
        let patience = std::time::Duration::from_secs(10);
        tokio::time::timeout(patience, free).await.unwrap();
        let after = engine.predict(&servable, vec![encoded(1); 4], soon()).await;
        assert_eq!(after.unwrap().len(), 4);
    });
}

#[test]
fn pixels_are_the_networks_input_as_they_are() {
    let repository =
        Repository::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("models")).unwrap();
    let models = Models::load(repository, Device::flex(), None).unwrap();
    let servable = models.get("digits").unwrap();
    let pixels = servable.pixels(&digit(3), &Default::default()).unwrap();
    let engine = engine(4);
    runtime().block_on(async {
        let inputs = vec![encoded(3), Input::Pixels(pixels.clone())];
        let scored = engine.predict(&servable, inputs, soon()).await.unwrap();
        assert_eq!(scored[0].scores, scored[1].scores);
        assert_eq!(scored[1].timings.decode, std::time::Duration::ZERO);
        let short = vec![encoded(3), Input::Pixels(pixels[1..].to_vec())];
        assert!(matches!(
            engine.predict(&servable, short, soon()).await,
            Err(ServingError::Tensor {
                index: 1,
                found: 783,
                expected: 784
            })
        ));
    });
    let statistics = servable.statistics();
    assert_eq!(
        (statistics.success.count(), statistics.failure.count()),
        (1, 1)
    );
    assert_eq!((statistics.images(), statistics.decode.count()), (2, 1));
    assert!(statistics.compute.sum() > 0 && statistics.success.sum() > statistics.compute.sum());
}

#[test]
fn an_unloaded_model_is_refused_until_it_is_renewed_and_keeps_its_figures() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open(folder.path()).unwrap();
    publish_constant(&repository, 0);
    publish_constant(&repository, 1);
    let models = Arc::new(Models::load(repository.clone(), Device::flex(), None).unwrap());
    let engine = engine(4);
    let version = |version| runtime().block_on(models.get_version("constant", version));
    let score = |servable: &Arc<irori::serving::Servable>| {
        runtime()
            .block_on(engine.predict(servable, vec![encoded(1)], soon()))
            .unwrap();
    };
    score(&models.get("constant").unwrap());
    score(&version(1).unwrap());

    models.unload("constant").unwrap();
    for refused in [models.get("constant"), version(1)] {
        assert!(matches!(refused, Err(ServingError::ModelUnloaded { .. })));
    }
    assert!(matches!(
        models.unload("nobody"),
        Err(ServingError::ModelNotFound { .. })
    ));
    models.renew("constant");
    score(&models.get("constant").unwrap());
    let counts = || -> Vec<(u64, u64)> {
        let all = models.statistics().into_iter();
        all.map(|((_, version), counted)| (version, counted.success.count()))
            .collect()
    };
    assert_eq!(counts(), [(1, 1), (2, 2)]);
    // Of a version that is gone nothing is left.
    repository.delete("constant", 1).unwrap();
    models.renew("constant");
    assert_eq!(counts(), [(2, 2)]);
}
