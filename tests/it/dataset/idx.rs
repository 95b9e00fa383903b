//! MNIST's own files.

use std::fs;
use std::time::{Duration, Instant};

use irori::dataset::Format;
use tempfile::TempDir;

use super::{a_zip, code, described, fixture, gzipped, loaded, named, tarred};

#[test]
fn fashion_mnist_is_read_from_its_own_files() {
    let path = fixture("fashion-mnist-small");
    let dataset = loaded(&path);
    let description = &dataset.description;
    assert_eq!(
        (description.format, description.train, description.test),
        (Format::Idx, 1000, 500)
    );
    assert_eq!(
        dataset.classes,
        ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
    );
    assert_eq!(&dataset.train.labels()[..5], [9, 0, 0, 3, 0]);
    let test = dataset.test.as_ref().unwrap();
    assert_eq!(&test.labels()[..5], [9, 2, 1, 1, 6]);
    let ink: Vec<u32> = [0, 999]
        .map(|index| {
            dataset
                .train
                .image(index)
                .iter()
                .map(|&pixel| u32::from(pixel))
                .sum()
        })
        .to_vec();
    assert!(ink.iter().all(|&ink| ink > 1000), "{ink:?}");

    // Unpacked, with dots, in an archive: all the same.
    let folder = TempDir::new().unwrap();
    let files: Vec<_> = ["train-images", "train-labels", "t10k-images", "t10k-labels"]
        .map(|name| {
            let kind = if name.ends_with("images") {
                "idx3"
            } else {
                "idx1"
            };
            let packed = fs::read(path.join(format!("{name}-{kind}-ubyte.gz"))).unwrap();
            let mut content = Vec::new();
            std::io::copy(
                &mut flate2::read::GzDecoder::new(packed.as_slice()),
                &mut content,
            )
            .unwrap();
            (format!("raw/{name}.{kind}-ubyte"), content)
        })
        .into();
    let again = loaded(&named(&folder, "set.tar.gz", &gzipped(&tarred(&files))));
    assert_eq!(again.description, *description);
    assert_eq!((again.train, again.test), (dataset.train, dataset.test));
}

/// The header of an IDX file.
pub(super) fn idx_header(kind: u8, sizes: &[u32]) -> Vec<u8> {
    let mut header = vec![0, 0, kind, u8::try_from(sizes.len()).unwrap()];
    header.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    header
}

#[test]
fn idx_files_that_lie_are_refused() {
    let set = |images: Vec<u8>, labels: Vec<u8>| {
        let files = [
            ("train-images-idx3-ubyte".to_owned(), images),
            ("train-labels-idx1-ubyte.gz".to_owned(), gzipped(&labels)),
        ];
        let (_folder, path) = a_zip(&files);
        described(&path)
            .map(|description| description.images)
            .map_err(|error| (error.code(), error.to_string()))
    };
    let images = |sizes: &[u32], values| [idx_header(8, sizes), vec![7; values]].concat();
    let labels = |count, values: &[u8]| [idx_header(8, &[count]), values.to_vec()].concat();
    assert_eq!(set(images(&[3, 2, 2], 12), labels(3, &[0, 1, 255])), Ok(3));
    for (images, labels, says) in [
        (
            images(&[3, 2, 2], 11),
            labels(3, &[0, 1, 0]),
            "12 values and there are 11",
        ),
        (
            images(&[3, 2, 2], 13),
            labels(3, &[0, 1, 0]),
            "12 values and there are more",
        ),
        (
            images(&[3, 2, 2], 12),
            labels(2, &[0, 1]),
            "2 labels for 3 images",
        ),
        (
            images(&[3, 0, 2], 0),
            labels(3, &[0, 1, 0]),
            "images are 2×0",
        ),
        (
            images(&[6, 2], 12),
            labels(3, &[0, 1, 0]),
            "starts with the bytes",
        ),
        (
            [idx_header(13, &[3, 2, 2]), vec![0; 48]].concat(),
            labels(3, &[0, 1, 0]),
            "unsigned bytes in 3 dimensions",
        ),
        (vec![0, 0, 8], labels(3, &[0, 1, 0]), "within its header"),
        (images(&[3, 2, 2], 12), vec![1, 2, 3], "within its header"),
    ] {
        let (code, message) = set(images, labels).unwrap_err();
        assert!(
            code == "idx_invalid" && message.contains(says),
            "{code}: {message}"
        );
    }
    let start = Instant::now();
    let huge = set(
        images(&[u32::MAX, u32::MAX, u32::MAX], 12),
        labels(3, &[0, 1, 0]),
    );
    assert_eq!(huge.unwrap_err().0, "archive_too_large");
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(
        set(images(&[2, 2, 2], 8), labels(2, &[0, 0]))
            .unwrap_err()
            .0,
        "dataset_single_class"
    );
    assert_eq!(
        set(images(&[0, 2, 2], 0), labels(0, &[])).unwrap_err().0,
        "dataset_no_images"
    );
    let (_folder, path) = a_zip(&[("t10k-labels-idx1-ubyte".to_owned(), labels(1, &[0]))]);
    assert_eq!(code(&path), "idx_unpaired");
}
