//! Images: what is read, what is refused, and that the pixels are Pillow's.

use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use irori::imaging::{
    Color, Dimensions, Filter, Image, ImagingError, Limits, Mode, Preprocessing,
    PreprocessingError, Resize, decode,
};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/imaging")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn gunzipped(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_end(&mut content)
        .unwrap();
    content
}

fn read(bytes: &[u8]) -> Result<Image, ImagingError> {
    decode(bytes, &Limits::default())
}

fn code(bytes: &[u8]) -> &'static str {
    read(bytes).expect_err("must be refused").code()
}

fn largest_difference(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| a.abs_diff(*b))
        .max()
        .unwrap_or(0)
}

fn size(height: usize, width: usize, channels: usize) -> Dimensions {
    Dimensions {
        height,
        width,
        channels,
    }
}

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

#[derive(Deserialize)]
struct FormatCases {
    background: [u8; 3],
    cases: Vec<FormatCase>,
}

#[derive(Deserialize)]
struct FormatCase {
    file: String,
    expected: String,
    height: usize,
    width: usize,
    tolerance: u8,
}

#[test]
fn every_format_arrives_upright_and_in_its_colours() {
    let FormatCases { background, cases } =
        serde_json::from_slice(&fixture("formats/cases.json")).unwrap();
    for case in cases {
        let image = read(&fixture(&format!("formats/{}", case.file)))
            .unwrap_or_else(|error| panic!("{}: {error}", case.file));
        let expected = read(&fixture(&format!("formats/expected/{}", case.expected))).unwrap();
        let dimensions = image.dimensions();
        assert_eq!(
            (dimensions.height, dimensions.width),
            (case.height, case.width),
            "{}",
            case.file
        );
        let to = size(case.height, case.width, 3);
        let preprocessing = Preprocessing {
            background,
            ..Preprocessing::for_channels(3)
        };
        let difference = largest_difference(&preprocessing.fit(&image, to), expected.pixels());
        assert!(
            difference <= case.tolerance,
            "{} is {difference} levels from Pillow, {} allowed",
            case.file,
            case.tolerance
        );
    }
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

#[test]
fn a_recipe_is_read_with_defaults_and_written_whole() {
    let recipe: Preprocessing =
        serde_json::from_value(json!({"invert": true, "resize": {"mode": "pad"}})).unwrap();
    let recipe = recipe.checked(1).unwrap();
    assert_eq!(
        serde_json::to_value(&recipe).unwrap(),
        json!({
            "color": "grayscale", "background": [0, 0, 0],
            "resize": {"mode": "pad", "filter": "bilinear", "antialias": true},
            "invert": true, "scale": 1.0f32 / 255.0, "offset": 0.0f32,
        })
    );
    for text in [
        r#"{"colour": "rgb"}"#,
        r#"{"resize": {"kind": "pad"}}"#,
        r#"{"color": "cmyk"}"#,
        r#"{"background": [0, 0, 256]}"#,
    ] {
        assert!(
            serde_json::from_str::<Preprocessing>(text).is_err(),
            "{text}"
        );
    }
}

#[test]
fn a_recipe_that_does_not_suit_the_model_is_refused() {
    let rgb = || Preprocessing::for_channels(3);
    let code =
        |recipe: Preprocessing, channels| recipe.check(channels).map_err(|error| error.code());
    assert_eq!(code(rgb(), 3), Ok(()));
    assert_eq!(code(rgb(), 1), Err("preprocessing_color_mismatch"));
    assert_eq!(
        code(Preprocessing::default(), 4),
        Err("preprocessing_channels_unsupported")
    );
    assert_eq!(
        code(
            Preprocessing {
                scale: f32::NAN,
                ..rgb()
            },
            3
        ),
        Err("preprocessing_not_finite")
    );
    assert_eq!(
        code(
            Preprocessing {
                mean: Some(vec![0.5]),
                ..rgb()
            },
            3
        ),
        Err("preprocessing_wrong_length")
    );
    assert_eq!(
        code(
            Preprocessing {
                std: Some(vec![1.0, 0.0, 1.0]),
                ..rgb()
            },
            3
        ),
        Err("preprocessing_std_not_positive")
    );
    assert_eq!(
        code(
            Preprocessing {
                scale: 1e38,
                ..rgb()
            },
            3
        ),
        Err("preprocessing_overflow")
    );
    assert_eq!(
        Preprocessing {
            std: Some(vec![1.0, -1.0, 1.0]),
            ..rgb()
        }
        .check(3),
        Err(PreprocessingError::Std { value: -1.0 })
    );
}

#[test]
fn what_is_no_image_is_refused_with_what_it_looks_like() {
    for (bytes, looks_like) in [
        (&b"just some text in a file called photo.jpg"[..], "text"),
        (b"<!DOCTYPE html><title>404</title>", "an HTML page"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"PK\x03\x04abcdef", "an archive"),
        (b"\0\0\0\x20ftypheic\0\0\0\0", "a HEIC image"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "an AVIF image"),
        (b"{\"image\": 1}", "JSON text"),
        (
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            "an SVG drawing",
        ),
        (b"\x00\x01\x02\x03\x04", "binary data of another kind"),
    ] {
        let error = read(bytes).unwrap_err();
        assert_eq!(error.code(), "image_unrecognised");
        let message = error.to_string();
        assert!(
            message.contains(&format!("looks like {looks_like};")) && message.contains("PNG, JPEG"),
            "{message}"
        );
    }
    assert_eq!(code(b""), "image_empty");
}

#[test]
fn an_image_that_ends_early_is_an_error_in_every_format() {
    let whole = [
        "rgb.png",
        "baseline.jpg",
        "progressive.jpg",
        "still.gif",
        "lossy.webp",
        "lossless.webp",
        "rgb.bmp",
        "rgb.tiff",
    ];
    for name in whole {
        let bytes = fixture(&format!("formats/{name}"));
        for part in 1..8 {
            let cut = &bytes[..bytes.len() * part / 8];
            let found = code(cut);
            assert!(
                ["image_truncated", "image_corrupt"].contains(&found),
                "{name} cut to {part}/8: {found}"
            );
        }
    }
    let jpeg = fixture("formats/baseline.jpg");
    assert_eq!(code(&jpeg[..jpeg.len() - 40]), "image_truncated");
    let png = fixture("formats/rgb.png");
    assert_eq!(code(&png[..png.len() / 2]), "image_truncated");
}

/// A PNG header of any size, and no pixels.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let mut crc = flate2::Crc::new();
    crc.update(&header);
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    file.extend(&header);
    file.extend(crc.sum().to_be_bytes());
    file.extend(b"\0\0\0\x01IDAT\0");
    file.extend([0; 4]);
    file
}

#[test]
fn limits_are_held_before_decoding() {
    let start = Instant::now();
    assert_eq!(code(&png_header(50_000, 50_000)), "image_too_many_pixels");
    assert_eq!(code(&png_header(100_000, 2)), "image_too_many_pixels");
    let png = fixture("formats/rgb.png");
    let refused = |limits: Limits| decode(&png, &limits).unwrap_err().code();
    let usual = Limits::default();
    assert_eq!(
        refused(Limits {
            max_bytes: png.len() - 1,
            ..usual
        }),
        "image_too_large"
    );
    assert_eq!(
        refused(Limits {
            max_pixels: 31 * 22 - 1,
            ..usual
        }),
        "image_too_many_pixels"
    );
    assert_eq!(
        refused(Limits {
            max_decoder_bytes: 31 * 22 * 3 - 1,
            ..usual
        }),
        "image_too_much_memory"
    );
    assert!(
        decode(
            &png,
            &Limits {
                max_bytes: png.len(),
                max_pixels: 31 * 22,
                ..usual
            }
        )
        .is_ok()
    );

    // A progressive JPEG keeps two bytes per value until its last scan.
    let progressive = fixture("formats/progressive.jpg");
    let enough = Limits {
        max_decoder_bytes: 31 * 22 * 9,
        ..usual
    };
    assert!(decode(&progressive, &enough).is_ok());
    let short = Limits {
        max_decoder_bytes: 31 * 22 * 9 - 1,
        ..usual
    };
    assert_eq!(
        decode(&progressive, &short).unwrap_err().code(),
        "image_too_much_memory"
    );
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_jpeg_that_repaints_itself_without_end_is_refused() {
    let mut bytes = fixture("formats/progressive.jpg");
    let scan = [0xFF, 0xDA, 0, 8, 1, 1, 0, 1, 63, 0x10, 0];
    bytes.truncate(bytes.len() - 2);
    for _ in 0..10_000 {
        bytes.extend(scan);
    }
    bytes.extend([0xFF, 0xD9]);
    let limits = Limits {
        max_pixels: 100_000,
        ..Limits::default()
    };
    let start = Instant::now();
    assert_eq!(
        decode(&bytes, &limits).unwrap_err().code(),
        "image_too_many_scans"
    );
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_webp_frame_larger_than_its_canvas_is_refused_before_it_is_made() {
    // A canvas of 1×1 around a lossy frame that says it is 16,383×16,383.
    let frame = [
        &[0x10, 0, 0, 0x9D, 0x01, 0x2A, 0xFF, 0x3F, 0xFF, 0x3F][..],
        &[0; 20],
    ]
    .concat();
    let mut file = b"WEBPVP8X\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0VP8 ".to_vec();
    file.extend(u32::try_from(frame.len()).unwrap().to_le_bytes());
    file.extend(&frame);
    let mut bytes = b"RIFF".to_vec();
    bytes.extend(u32::try_from(file.len()).unwrap().to_le_bytes());
    bytes.extend(file);
    let error = read(&bytes).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("a frame is larger than the image"),
        "{error}"
    );
}

const DAMAGED: [&str; 16] = [
    "rgb.png",
    "palette-alpha.png",
    "rgba16.png",
    "orientation-6.png",
    "baseline.jpg",
    "progressive.jpg",
    "cmyk.jpg",
    "orientation-5.jpg",
    "animated.gif",
    "clear.gif",
    "lossy.webp",
    "animated.webp",
    "orientation-6.webp",
    "palette.bmp",
    "lzw.tiff",
    "orientation-6.tiff",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn damaged_files_are_answered_quickly(
        file in 0..DAMAGED.len(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = fixture(&format!("formats/{}", DAMAGED[file]));
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len() + 1)));
        let limits = Limits { max_pixels: 1_000_000, ..Limits::default() };
        let start = Instant::now();
        if let Ok(image) = decode(&bytes, &limits) {
            let to = size(8, 8, 3);
            prop_assert_eq!(Preprocessing::for_channels(3).fit(&image, to).len(), 192);
        }
        prop_assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }

    #[test]
    fn any_bytes_after_any_signature_are_answered(
        signature in prop::sample::select(vec![
            &b"\x89PNG\r\n\x1a\n"[..], b"\xFF\xD8\xFF", b"GIF89a", b"RIFF\0\0\0\0WEBPVP8X", b"II*\0", b"MM\0*", b"BM", b"",
        ]),
        tail in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let _ = read(&[signature, &tail].concat());
    }

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
