//! The pixels that a network is given: resized, laid over a background, normalised.

use irori::imaging::{Color, Filter, Image, Mode, Preprocessing, Resize};
use proptest::prelude::*;
use serde::Deserialize;

use super::{fixture, gunzipped, largest_difference, read, size};

#[derive(Deserialize)]
struct ResizeCases {
    background: [u8; 3],
    cases: Vec<ResizeCase>,
}

#[derive(Debug, Deserialize)]
struct ResizeCase {
    file: String,
    color: Color,
    mode: Mode,
    filter: Filter,
    height: usize,
    width: usize,
}

#[test]
fn resizing_gives_the_pixels_of_pillow() {
    let ResizeCases { background, cases } =
        serde_json::from_slice(&fixture("resize.json")).unwrap();
    let expected = gunzipped(&fixture("resize.bin.gz"));
    let mut expected = expected.as_slice();
    assert!(cases.len() > 300);
    for case in cases {
        let image = read(&fixture(&case.file)).unwrap();
        let to = size(case.height, case.width, case.color.channels());
        let preprocessing = Preprocessing {
            background,
            resize: Resize {
                mode: case.mode,
                filter: case.filter,
                antialias: true,
            },
            ..Preprocessing::for_channels(to.channels)
        };
        let (pixels, rest) = expected.split_at(to.values().unwrap());
        expected = rest;
        assert_eq!(
            largest_difference(&preprocessing.fit(&image, to), pixels),
            0,
            "{case:?}"
        );
    }
    assert!(expected.is_empty());
}

#[test]
fn without_antialiasing_the_pixels_are_those_of_tensorflow() {
    let ResizeCases { cases, .. } = serde_json::from_slice(&fixture("tensorflow.json")).unwrap();
    let expected = gunzipped(&fixture("tensorflow.bin.gz"));
    let mut expected = expected.as_slice();
    assert!(cases.len() >= 32);
    for case in cases {
        let image = read(&fixture(&case.file)).unwrap();
        let to = size(case.height, case.width, case.color.channels());
        let preprocessing = Preprocessing {
            resize: Resize {
                mode: case.mode,
                filter: case.filter,
                antialias: false,
            },
            ..Preprocessing::for_channels(to.channels)
        };
        let (pixels, rest) = expected.split_at(to.values().unwrap());
        expected = rest;
        // TensorFlow computes in f32, and looks the weights of its cubic up in a table of 1,024.
        assert!(
            largest_difference(&preprocessing.fit(&image, to), pixels) <= 1,
            "{case:?}"
        );
    }
    assert!(expected.is_empty());
}

#[test]
fn an_image_of_the_right_size_and_colour_passes_untouched() {
    let image = read(&fixture("wide.png")).unwrap();
    for mode in [Mode::Stretch, Mode::Crop, Mode::Pad] {
        for antialias in [true, false] {
            let resize = Resize {
                mode,
                filter: Filter::Lanczos,
                antialias,
            };
            let preprocessing = Preprocessing {
                resize,
                ..Preprocessing::for_channels(3)
            };
            assert_eq!(
                preprocessing.fit(&image, image.dimensions()),
                image.pixels()
            );
        }
    }
}

#[test]
fn transparent_pixels_show_the_background() {
    let image = Image::new(
        size(1, 3, 4),
        vec![9, 9, 9, 0, 200, 100, 0, 255, 100, 100, 100, 128],
    )
    .unwrap();
    let on = |background| {
        Preprocessing {
            background,
            ..Preprocessing::for_channels(3)
        }
        .fit(&image, size(1, 3, 3))
    };
    assert_eq!(on([0, 0, 0]), [0, 0, 0, 200, 100, 0, 50, 50, 50]);
    assert_eq!(
        on([255, 255, 255]),
        [255, 255, 255, 200, 100, 0, 177, 177, 177]
    );
    let grey = Preprocessing {
        background: [255, 0, 0],
        ..Preprocessing::for_channels(1)
    };
    assert_eq!(
        grey.fit(&image, size(1, 3, 1))[0],
        76,
        "the background turns grey with the image"
    );
}

#[test]
fn normalising_follows_its_formula() {
    let to = size(1, 2, 3);
    let pixels = [0, 51, 255, 102, 204, 7];
    let mut out = [f32::NAN; 6];
    Preprocessing::for_channels(3)
        .normaliser(to.channels)
        .apply(&pixels, &mut out);
    assert_eq!(out, pixels.map(|pixel| f32::from(pixel) * (1.0 / 255.0)));

    let preprocessing = Preprocessing {
        invert: true,
        scale: 0.5,
        offset: -1.0,
        mean: Some(vec![1.0, 2.0, 3.0]),
        std: Some(vec![2.0, 4.0, 0.5]),
        ..Preprocessing::for_channels(3)
    };
    preprocessing
        .normaliser(to.channels)
        .apply(&pixels, &mut out);
    let expected = [
        (255.0 * 0.5 - 1.0 - 1.0) / 2.0,
        (204.0 * 0.5 - 1.0 - 2.0) / 4.0,
        (0.0 * 0.5 - 1.0 - 3.0) / 0.5,
        (153.0 * 0.5 - 1.0 - 1.0) / 2.0,
        (51.0 * 0.5 - 1.0 - 2.0) / 4.0,
        (248.0 * 0.5 - 1.0 - 3.0) / 0.5,
    ];
    assert_eq!(out, expected);

    let mut grey = [0.0; 2];
    Preprocessing {
        scale: 1.0,
        ..Preprocessing::for_channels(1)
    }
    .normaliser(1)
    .apply(&[3, 250], &mut grey);
    assert_eq!(grey, [3.0, 250.0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn fitting_fills_any_size_from_any_size(
        (height, width) in (1usize..40, 1usize..40),
        (to_height, to_width) in (1usize..40, 1usize..40),
        channels in 1usize..=4,
        grey in any::<bool>(),
        mode in prop::sample::select(vec![Mode::Stretch, Mode::Crop, Mode::Pad]),
        filter in prop::sample::select(vec![Filter::Nearest, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos]),
        antialias in any::<bool>(),
        level in any::<u8>(),
    ) {
        let pixels = [level, level, level, 255];
        let pixel = match channels { 2 => &pixels[2..], 4 => &pixels[..], few => &pixels[..few] };
        let image = Image::new(size(height, width, channels), pixel.repeat(height * width)).unwrap();
        let to = size(to_height, to_width, if grey { 1 } else { 3 });
        let recipe = Preprocessing { background: [level; 3], resize: Resize { mode, filter, antialias }, ..Preprocessing::for_channels(to.channels) };
        // A plain image stays plain under every filter: weights sum to one.
        prop_assert_eq!(recipe.fit(&image, to), vec![level; to.values().unwrap()]);
    }
}
