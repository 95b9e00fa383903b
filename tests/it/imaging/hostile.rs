//! What is no image, or less or more than it says.

use std::time::{Duration, Instant};

use irori::imaging::{Limits, Preprocessing, decode};
use proptest::prelude::*;

use super::{code, fixture, read, size};

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
}
