//! Bytes of an image file → an upright [`Image`], within limits.

use std::error::Error;
use std::io::{self, Cursor};
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};

use super::{Dimensions, Image, ImagingError, jpeg, webp};

/// The formats that [`decode`] accepts, for messages.
pub const FORMATS: &str = "PNG, JPEG, WebP, GIF, BMP or TIFF";

/// How much one image may ask for. All are checked before a pixel is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file: 20 MiB.
    pub max_bytes: usize,
    /// Pixels, width × height: 50 million.
    pub max_pixels: u64,
    /// Bytes that decoding may hold, the decoded image included: 256 MiB. Converting to 8 bits or turning the image upright
    /// may for a moment hold the image once more.
    pub max_decoder_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 20 << 20,
            max_pixels: 50_000_000,
            max_decoder_bytes: 256 << 20,
        }
    }
}

/// The longest side accepted: all that JPEG and GIF can express.
const MAX_SIDE: u32 = 0xFFFF;

/// How many times over a JPEG may paint [`Limits::max_pixels`]; encoders make some ten scans.
const MAX_REPAINTS: u64 = 16;

/// Decodes a PNG, JPEG, WebP, GIF (its first frame), BMP or TIFF, told apart by its content.
///
/// The image is turned upright by its Exif orientation. 16-bit channels are rounded to 8 bits (`v / 257`, so that white stays
/// white), palettes are looked up, CMYK becomes RGB; alpha stays for [`Preprocessing`](super::Preprocessing) to lay over a
/// background. Colour profiles are not applied.
///
/// # Errors
/// Every refusal of [`ImagingError`]. A size over the limits is refused from the header alone, and a JPEG without its end is
/// [`Truncated`](ImagingError::Truncated) rather than grey below.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Image, ImagingError> {
    if bytes.is_empty() {
        return Err(ImagingError::Empty);
    }
    if bytes.len() > limits.max_bytes {
        return Err(ImagingError::TooLarge {
            bytes: bytes.len(),
            allowed: limits.max_bytes,
        });
    }
    let unrecognised = || ImagingError::Unrecognised {
        looks_like: resemblance(bytes),
    };
    let format = image::guess_format(bytes).map_err(|_| unrecognised())?;
    let name = name_of(format).ok_or_else(unrecognised)?;
    // The decoders are other people's code on a stranger's bytes: one that panics must cost this image and not the caller.
    catch_unwind(AssertUnwindSafe(|| decode_as(bytes, format, name, limits))).unwrap_or_else(|_| {
        Err(ImagingError::Corrupt {
            format: name,
            reason: "the decoder gave up on it".to_owned(),
        })
    })
}

fn decode_as(
    bytes: &[u8],
    format: ImageFormat,
    name: &'static str,
    limits: &Limits,
) -> Result<Image, ImagingError> {
    let refused = |error| refusal(error, name, limits);
    let mut allowed = image::Limits::default();
    allowed.max_image_width = None;
    allowed.max_image_height = None;
    allowed.max_alloc = Some(limits.max_decoder_bytes);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(allowed);
    let mut decoder = reader.into_decoder().map_err(refused)?;

    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.max_pixels {
        return Err(ImagingError::TooManyPixels {
            width,
            height,
            allowed: limits.max_pixels,
        });
    }
    if width.max(height) > MAX_SIDE {
        return Err(ImagingError::SideTooLong {
            width,
            height,
            allowed: MAX_SIDE,
        });
    }

    let image_bytes = decoder.total_bytes();
    let working_bytes = match format {
        ImageFormat::Jpeg => jpeg_working_bytes(bytes, pixels, image_bytes, name, limits)?,
        ImageFormat::WebP => {
            if webp::outline(bytes).largest_frame > pixels {
                return Err(ImagingError::Corrupt {
                    format: name,
                    reason: "a frame is larger than the image".to_owned(),
                });
            }
            // Lossless decoding works on RGBA; lossy on planes of less.
            pixels.saturating_mul(4)
        }
        _ => 0,
    };
    if image_bytes.saturating_add(working_bytes) > limits.max_decoder_bytes {
        return Err(ImagingError::TooMuchMemory {
            allowed: limits.max_decoder_bytes,
        });
    }

    let orientation = match format {
        ImageFormat::WebP => webp::outline(bytes)
            .exif
            .and_then(Orientation::from_exif_chunk),
        // Metadata that cannot be read is no reason to refuse the picture.
        _ => decoder.orientation().ok(),
    };
    let mut image = DynamicImage::from_decoder(decoder).map_err(refused)?;
    image.apply_orientation(orientation.unwrap_or(Orientation::NoTransforms));
    in_eight_bits(image).ok_or_else(|| ImagingError::Unsupported {
        format: name,
        reason: "its pixels are floating-point numbers".to_owned(),
    })
}

/// What decoding a JPEG holds besides the decoded image: for a progressive one, the 16-bit coefficients of every channel.
fn jpeg_working_bytes(
    bytes: &[u8],
    pixels: u64,
    image_bytes: u64,
    name: &'static str,
    limits: &Limits,
) -> Result<u64, ImagingError> {
    let outline = jpeg::outline(bytes);
    if outline.scans.saturating_mul(pixels) > limits.max_pixels.saturating_mul(MAX_REPAINTS) {
        return Err(ImagingError::TooManyScans {
            scans: outline.scans,
            pixels,
        });
    }
    if !outline.ended {
        return Err(ImagingError::Truncated { format: name });
    }
    Ok(if outline.progressive {
        image_bytes.saturating_mul(2)
    } else {
        0
    })
}

fn in_eight_bits(image: DynamicImage) -> Option<Image> {
    let (height, width) = (image.height(), image.width());
    let (channels, pixels) = match image {
        DynamicImage::ImageLuma8(image) => (1, image.into_raw()),
        DynamicImage::ImageLumaA8(image) => (2, image.into_raw()),
        DynamicImage::ImageRgb8(image) => (3, image.into_raw()),
        DynamicImage::ImageRgba8(image) => (4, image.into_raw()),
        DynamicImage::ImageLuma16(image) => (1, rounded(&image)),
        DynamicImage::ImageLumaA16(image) => (2, rounded(&image)),
        DynamicImage::ImageRgb16(image) => (3, rounded(&image)),
        DynamicImage::ImageRgba16(image) => (4, rounded(&image)),
        _ => return None,
    };
    let dimensions = Dimensions {
        height: usize::try_from(height).ok()?,
        width: usize::try_from(width).ok()?,
        channels,
    };
    Image::new(dimensions, pixels)
}

/// 65535 = 255 · 257: the nearest of 256 levels.
fn rounded(channels: &[u16]) -> Vec<u8> {
    let to_byte = |&value: &u16| ((u32::from(value) + 128) / 257) as u8;
    channels.iter().map(to_byte).collect()
}

fn name_of(format: ImageFormat) -> Option<&'static str> {
    Some(match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Tiff => "TIFF",
        _ => return None,
    })
}

fn refusal(error: ImageError, format: &'static str, limits: &Limits) -> ImagingError {
    match error {
        ImageError::Limits(_) => ImagingError::TooMuchMemory {
            allowed: limits.max_decoder_bytes,
        },
        ImageError::Unsupported(error) => ImagingError::Unsupported {
            format,
            reason: error.to_string(),
        },
        error if ends_early(&error) => ImagingError::Truncated { format },
        error => ImagingError::Corrupt {
            format,
            reason: error.to_string(),
        },
    }
}

fn ends_early(error: &ImageError) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = match error {
        ImageError::IoError(error) => Some(error),
        error => error.source(),
    };
    while let Some(error) = cause {
        let io_error = error.downcast_ref::<io::Error>();
        if io_error.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What bytes that are no accepted image look like, so that the sender sees what went wrong.
fn resemblance(bytes: &[u8]) -> &'static str {
    let start = bytes.trim_ascii_start();
    let start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start);
    let starts_with = |beginning: &[u8]| {
        let head = start.get(..beginning.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(beginning))
    };
    let begins = |beginnings: &[&[u8]]| beginnings.iter().any(|beginning| starts_with(beginning));
    // ISO base media: the brand follows the size of the first box and `ftyp`.
    if let Some([b'f', b't', b'y', b'p', brand @ ..]) = bytes.get(4..12) {
        return match brand {
            b"avif" | b"avis" => "an AVIF image",
            b"heic" | b"heix" | b"mif1" | b"msf1" => "a HEIC image",
            _ => "a video",
        };
    }
    if begins(&[b"<!doctype html", b"<html"]) {
        "an HTML page"
    } else if begins(&[b"<svg"]) {
        "an SVG drawing"
    } else if begins(&[b"<?xml", b"<"]) {
        "an XML document"
    } else if begins(&[b"%PDF"]) {
        "a PDF document"
    } else if begins(&[
        b"PK\x03\x04",
        b"\x1F\x8B",
        b"BZh",
        b"7z\xBC\xAF",
        b"Rar!",
        b"\x28\xB5\x2F\xFD",
    ]) {
        "an archive"
    } else if begins(&[b"\x00\x00\x01\x00"]) {
        "an icon"
    } else if begins(&[b"\x93NUMPY"]) {
        "a NumPy array"
    } else if begins(&[b"data:image/"]) {
        "a data URL"
    } else if begins(&[b"--"]) {
        "a multipart body"
    } else if begins(&[b"{", b"["]) {
        "JSON text"
    } else if bytes
        .iter()
        .take(512)
        .all(|&byte| byte == b'\t' || byte == b'\n' || byte == b'\r' || byte >= b' ')
    {
        "text"
    } else {
        "binary data of another kind"
    }
}
