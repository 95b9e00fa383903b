//! What the engine's threads do first, and beside each other.

use std::sync::Arc;

use burn::tensor::Device;
use irori::architecture::Architecture;
use irori::network::initialize;
use irori::repository::Repository;
use irori::serving::{Engine, EngineConfig, Input, Models};
use serde_json::json;

use super::{grey_png, publish, publish_constant_as, runtime, soon, until};

/// An engine of two threads that compute, and models: `light`, whose network is nearly nothing, and `heavy`, whose network
/// takes a tenth of a second and more for an image.
fn light_and_heavy() -> (tempfile::TempDir, Models, Arc<Engine>) {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open(folder.path()).unwrap();
    publish_constant_as(&repository, "light", 1);
    let layer = |name: &str, config| json!({"class_name": name, "config": config});
    let same = json!({"filters": 128, "kernel_size": 3, "padding": "same"});
    let mut layers = vec![layer("Conv2D", same); 5];
    layers[0]["config"]["input_shape"] = json!([128, 128, 1]);
    layers.push(layer("GlobalAveragePooling2D", json!({})));
    layers.push(layer("Dense", json!({"units": 3})));
    let heavy = Architecture::from_value(&json!({"layers": layers})).unwrap();
    let parameters = initialize(&heavy, 1);
    publish(&repository, "heavy", heavy, parameters);
    let models = Models::load(repository, Device::flex(), None).unwrap();
    let engine = Engine::start(EngineConfig {
        threads: 2,
        ..Default::default()
    });
    (folder, models, Arc::new(engine.unwrap()))
}

#[test]
fn a_light_image_passes_a_heavy_one_that_is_being_computed() {
    let (_folder, models, engine) = light_and_heavy();
    let (light, heavy) = (models.get("light").unwrap(), models.get("heavy").unwrap());
    runtime().block_on(async {
        let slow = tokio::spawn({
            let engine = Arc::clone(&engine);
            async move {
                engine
                    .predict(&heavy, vec![Input::Pixels(vec![0.5; 128 * 128])], soon())
                    .await
            }
        });
        until(|| engine.depth() == 1).await;
        let quick = engine
            .predict(&light, vec![Input::Pixels(vec![0.5; 16])], soon())
            .await
            .unwrap();
        assert_eq!(quick.len(), 1);
        assert!(
            !slow.is_finished(),
            "the light image waited for the heavy one"
        );
        assert_eq!(slow.await.unwrap().unwrap().len(), 1);
    });
}

/// An engine of one thread, and models `a` and `b` whose networks are nearly nothing.
fn one_thread() -> (tempfile::TempDir, Models, Engine) {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::open(folder.path()).unwrap();
    publish_constant_as(&repository, "a", 0);
    publish_constant_as(&repository, "b", 0);
    let models = Models::load(repository, Device::flex(), None).unwrap();
    let engine = Engine::start(EngineConfig {
        threads: 1,
        ..Default::default()
    });
    (folder, models, engine.unwrap())
}

#[test]
fn images_that_arrive_together_are_decoded_first_and_computed_together() {
    let (_folder, models, engine) = one_thread();
    let a = models.get("a").unwrap();
    runtime().block_on(async {
        let files = vec![Input::Encoded(grey_png(4)); 32];
        engine.predict(&a, files, soon()).await.unwrap();
    });
    let runs = a.statistics().batch_sizes();
    assert_eq!(runs.sum, 32);
    let batches: u64 = runs.buckets.iter().map(|(_, count)| count).sum();
    assert!(batches < 32, "each was computed alone");
}

#[test]
fn pixels_pass_a_crowd_of_files_that_take_long_to_decode() {
    let (_folder, models, engine) = one_thread();
    let (a, b) = (models.get("a").unwrap(), models.get("b").unwrap());
    runtime().block_on(async {
        let crowd = engine.predict(&a, vec![Input::Encoded(grey_png(2000)); 24], soon());
        let other = async {
            until(|| engine.depth() == 24).await;
            engine
                .predict(&b, vec![Input::Pixels(vec![0.5; 16])], soon())
                .await
                .unwrap();
            assert!(engine.depth_of("a") > 12, "it waited for the crowd");
        };
        let (crowd, ()) = tokio::join!(crowd, other);
        assert_eq!(crowd.unwrap().len(), 24);
    });
}
