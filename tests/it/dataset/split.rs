//! Holding out a part of a data set.

use std::collections::HashSet;

use irori::dataset::Samples;
use irori::imaging::Dimensions;
use proptest::prelude::*;

fn samples_of(labels: Vec<u32>) -> Samples {
    let dimensions = Dimensions {
        height: 1,
        width: 1,
        channels: 1,
    };
    Samples::new(dimensions, vec![0; labels.len()], labels).unwrap()
}

#[test]
fn a_split_asks_for_two_images_of_each_class() {
    let samples = samples_of(vec![0, 0, 1]);
    assert_eq!(samples.split(0.5, 1).unwrap_err().code(), "class_too_small");
    assert_eq!(samples.split(0.0, 1).unwrap(), (vec![0, 1, 2], vec![]));
    for fraction in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(
            samples.split(fraction, 1).unwrap_err().code(),
            "split_fraction_invalid"
        );
    }
}

proptest! {
    #[test]
    fn a_split_is_a_stratified_partition(labels in prop::collection::vec(0u32..5, 0..200), fraction in 0.001f64..0.999, seed: u64) {
        let labels = [labels, (0..5).chain(0..5).collect()].concat();
        let samples = samples_of(labels.clone());
        let (rest, held_out) = samples.split(fraction, seed).unwrap();
        prop_assert_eq!(samples.split(fraction, seed).unwrap(), (rest.clone(), held_out.clone()));
        prop_assert!(rest.is_sorted() && held_out.is_sorted());
        let all: HashSet<_> = rest.iter().chain(&held_out).collect();
        prop_assert_eq!((all.len(), rest.len() + held_out.len()), (labels.len(), labels.len()));
        for label in 0..5 {
            let count = |side: &[usize]| side.iter().filter(|&&index| labels[index] == label).count();
            let (kept, held) = (count(&rest), count(&held_out));
            prop_assert!(kept >= 1 && held >= 1);
            let wish = (kept + held) as f64 * fraction;
            prop_assert!((held as f64 - wish).abs() <= 1.0, "{} of {}", held, kept + held);
        }
    }
}
