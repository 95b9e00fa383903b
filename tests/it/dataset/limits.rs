//! What a data set may cost, and how its reading is followed and stopped.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use irori::dataset::{Options, describe, load};
use irori::imaging::{Dimensions, Preprocessing};

use super::{DIGIT, fixture};

#[test]
fn limits_are_held_before_reading() {
    let path = fixture("digits");
    let refused = |options: Options| describe(&path, &options).unwrap_err().code();
    let usual = Options::default;
    assert_eq!(
        refused(Options {
            max_images: 99,
            ..usual()
        }),
        "dataset_too_many_images"
    );
    assert_eq!(
        refused(Options {
            max_classes: 9,
            ..usual()
        }),
        "dataset_too_many_classes"
    );
    assert_eq!(
        refused(Options {
            max_unpacked_bytes: 10_000,
            ..usual()
        }),
        "archive_too_large"
    );
    let load_with = |max_loaded_bytes, to| {
        let options = Options {
            max_loaded_bytes,
            ..usual()
        };
        load(&path, &options, &Preprocessing::for_channels(1), to)
            .map(|dataset| dataset.train.len())
            .map_err(|error| error.code())
    };
    assert_eq!(load_with(100 * 784, DIGIT), Ok(100));
    assert_eq!(
        load_with(100 * 784 - 1, DIGIT),
        Err("dataset_too_large_in_memory")
    );
    assert_eq!(
        load_with(
            u64::MAX,
            Dimensions {
                height: usize::MAX,
                ..DIGIT
            }
        ),
        Err("dataset_dimensions_invalid")
    );
    assert_eq!(
        load_with(
            1 << 30,
            Dimensions {
                height: 1 << 40,
                ..DIGIT
            }
        ),
        Err("dataset_too_large_in_memory")
    );
}

#[test]
fn progress_is_told_and_can_stop_the_reading() {
    let seen = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&seen);
    let progress = Some(Arc::new(move |done: usize, all: usize| {
        assert_eq!(all, 100);
        told.store(done, Ordering::Relaxed);
        ControlFlow::Continue(())
    }) as Arc<_>);
    describe(
        &fixture("digits"),
        &Options {
            progress,
            ..Options::default()
        },
    )
    .unwrap();
    assert_eq!(seen.load(Ordering::Relaxed), 100);
    for path in ["digits", "fashion-mnist-small"] {
        let stop = Some(Arc::new(|_, _| ControlFlow::Break(())) as Arc<_>);
        let error = describe(
            &fixture(path),
            &Options {
                progress: stop,
                ..Options::default()
            },
        )
        .unwrap_err();
        assert_eq!(error.code(), "dataset_cancelled");
    }
}
