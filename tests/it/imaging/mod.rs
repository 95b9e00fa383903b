//! Images: what is read, what is refused, and that the pixels are Pillow's.

mod hostile;
mod pixels;
mod recipe;

use std::io::Read;
use std::path::PathBuf;

use irori::imaging::{Dimensions, Image, ImagingError, Limits, Preprocessing, decode};
use serde::Deserialize;

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
