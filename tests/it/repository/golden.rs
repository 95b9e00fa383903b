//! Golden answers: made when a version is published, checked when it is read.

use std::collections::HashMap;
use std::fs;

use irori::network::Network;
use irori::repository::{Draft, Golden, Repository};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use super::{code, repository};

/// A draft whose network gives finite scores.
fn draft() -> Draft {
    let mut draft = super::draft();
    let finite = draft.parameters.iter().map(|(name, parameter)| {
        let mut parameter = parameter.clone();
        for value in &mut parameter.values {
            *value = value.clamp(-1.0, 1.0);
        }
        (name.to_owned(), parameter)
    });
    draft.parameters = finite.collect();
    draft
}

fn of(repository: &Repository, version: u64) -> Option<Golden> {
    repository.load("m", version).unwrap().golden
}

#[test]
fn a_published_version_keeps_images_and_what_the_network_gave_for_them() {
    let (_root, repository) = repository(0);
    let mut draft = draft();
    // Seven real images of 2 × 2 pixels, of which four are kept.
    draft.examples = (0..28).collect();
    repository.publish("m", &draft).unwrap();
    let golden = of(&repository, 1).unwrap();
    let images: Vec<&[u8]> = golden.images().collect();
    assert_eq!((golden.len(), images.len()), (8, 8));
    assert_eq!(
        images[4..],
        [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]
    );
    assert!(
        images[..4]
            .iter()
            .all(|image| image.iter().any(|&p| p != image[0]))
    );

    let device = burn::tensor::Device::flex();
    let network = Network::new(&draft.architecture, &draft.parameters, &device).unwrap();
    let normaliser = draft.preprocessing.normaliser(1);
    let mut scores: Vec<Vec<f32>> = Vec::new();
    for image in images {
        let mut pixels = vec![0.0; 4];
        normaliser.apply(image, &mut pixels);
        scores.push(network.predict(pixels, 1));
    }
    let compare = |scores: &[Vec<f32>]| golden.compare(scores.iter().map(Vec::as_slice));
    compare(&scores).unwrap();
    scores[5][2] += 2e-4;
    let fault = compare(&scores).unwrap_err();
    assert_eq!(fault.code(), "self_test_failed");
    assert!(fault.to_string().contains("image 5"), "{fault}");
    // The same draft is published with the same images and scores.
    repository.publish("m", &draft).unwrap();
    assert_eq!(of(&repository, 2), Some(golden));
}

#[test]
fn an_old_version_has_none_and_may_get_some_once() {
    let (root, repository) = repository(0);
    repository.publish("m", &draft()).unwrap();
    let file = root.path().join("m/1/golden.safetensors");
    let made_up = of(&repository, 1).unwrap();
    fs::remove_file(&file).unwrap();
    assert_eq!(of(&repository, 1), None);
    assert!(repository.add_golden("m", 1, &[]).unwrap());
    assert_eq!(of(&repository, 1), Some(made_up.clone()));
    assert!(!repository.add_golden("m", 1, &[7; 4]).unwrap());
    assert_eq!(of(&repository, 1), Some(made_up));
    assert_eq!(
        code(repository.add_golden("m", 2, &[])),
        "version_not_found"
    );
}

#[test]
fn golden_answers_that_are_malformed_break_their_version() {
    let (root, repository) = repository(1);
    let file = root.path().join("m/1/golden.safetensors");
    let good = fs::read(&file).unwrap();
    let scores = [0; 3 * 4];
    let tensors = |dtype, image: &[usize], outputs: usize| {
        let images = vec![0; image.iter().product()];
        let images = TensorView::new(dtype, image.to_vec(), &images).unwrap();
        let scores = TensorView::new(Dtype::F32, vec![1, outputs], &scores[..outputs * 4]).unwrap();
        serialize(
            HashMap::from([("images", images), ("scores", scores)]),
            None,
        )
        .unwrap()
    };
    let only_scores = TensorView::new(Dtype::F32, vec![1, 3], &scores).unwrap();
    let malformed = [
        Vec::new(),
        b"no safetensors".to_vec(),
        good[..good.len() - 1].to_vec(),
        serialize([("scores", only_scores)], None).unwrap(),
        tensors(Dtype::I8, &[1, 2, 2, 1], 3),
        tensors(Dtype::U8, &[1, 2, 1, 1], 3),
        tensors(Dtype::U8, &[2, 2, 2, 1], 3),
        tensors(Dtype::U8, &[1, 2, 2, 1], 2),
    ];
    for (case, content) in malformed.into_iter().enumerate() {
        fs::write(&file, content).unwrap();
        let error = repository.load("m", 1).unwrap_err();
        assert!(
            error.to_string().contains("golden.safetensors"),
            "{case}: {error}"
        );
        assert_eq!(
            code(repository.serving_version("m")),
            "no_good_version",
            "{case}"
        );
    }
    fs::write(&file, tensors(Dtype::U8, &[1, 2, 2, 1], 3)).unwrap();
    repository.load("m", 1).unwrap();
    fs::write(&file, vec![0; 1 << 20]).unwrap();
    assert!(
        repository
            .load("m", 1)
            .unwrap_err()
            .to_string()
            .contains("bytes")
    );
    let read = SafeTensors::deserialize(&good).unwrap();
    assert_eq!(read.tensor("images").unwrap().shape(), [4, 2, 2, 1]);
}
