//! Fitting: an image brought to a model's colour, then to its size.

use std::borrow::Cow;

use super::preprocessing::{Color, Mode, Preprocessing, Resize};
use super::resample::{Region, resize};
use super::{Dimensions, Image};

impl Preprocessing {
    /// Brings an image to a model's colour and size: `to.height × to.width × to.channels` bytes.
    ///
    /// Transparent pixels are laid over the background, colour is converted, then the size, in that order. The number of
    /// channels is what decides between grey (1) and RGB (3); [`check`](Self::check) holds `color` to it.
    pub fn fit(&self, image: &Image, to: Dimensions) -> Vec<u8> {
        if to.height == 0 || to.width == 0 {
            return Vec::new();
        }
        let color = if to.channels == 1 {
            Color::Grayscale
        } else {
            Color::Rgb
        };
        let pixels = recolored(image, color, self.background);
        let from = Dimensions {
            channels: color.channels(),
            ..image.dimensions()
        };
        let Resize {
            mode,
            filter,
            antialias,
        } = self.resize;
        let resized = |region, size| resize(&pixels, from, region, size, filter, antialias);
        match mode {
            Mode::Stretch => resized(Region::whole(from), (to.height, to.width)),
            Mode::Crop => resized(middle(from, to), (to.height, to.width)),
            Mode::Pad => {
                let inside = contained(from, to);
                let fitted = resized(Region::whole(from), inside);
                let background = match color {
                    Color::Grayscale => vec![luma(self.background)],
                    Color::Rgb => self.background.to_vec(),
                };
                padded(fitted, inside, to, &background)
            }
        }
    }
}

/// The pixels of an image in another colour, alpha laid over the background.
fn recolored(image: &Image, color: Color, [red, green, blue]: [u8; 3]) -> Cow<'_, [u8]> {
    let pixels = image.pixels();
    let over = |[r, g, b, alpha]: [u8; 4]| {
        [
            blend(red, r, alpha),
            blend(green, g, alpha),
            blend(blue, b, alpha),
        ]
    };
    let grey_over = |[grey, alpha]: [u8; 2]| over([grey, grey, grey, alpha]);
    Cow::Owned(match (image.dimensions().channels, color) {
        (1, Color::Grayscale) | (3, Color::Rgb) => return Cow::Borrowed(pixels),
        (1, Color::Rgb) => each(pixels, |[grey]| [grey; 3]),
        (2, Color::Grayscale) => each(pixels, |pixel| [luma(grey_over(pixel))]),
        (2, Color::Rgb) => each(pixels, grey_over),
        (3, Color::Grayscale) => each(pixels, |pixel| [luma(pixel)]),
        (_, Color::Grayscale) => each(pixels, |pixel| [luma(over(pixel))]),
        (_, Color::Rgb) => each(pixels, over),
    })
}

fn each<const FROM: usize, const TO: usize>(
    pixels: &[u8],
    convert: impl Fn([u8; FROM]) -> [u8; TO],
) -> Vec<u8> {
    let (pixels, _) = pixels.as_chunks::<FROM>();
    let converted: Vec<[u8; TO]> = pixels.iter().map(|&pixel| convert(pixel)).collect();
    converted.into_flattened()
}

fn luma([red, green, blue]: [u8; 3]) -> u8 {
    let sum = u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471;
    ((sum + 0x8000) >> 16) as u8
}

/// `over` at `alpha`/255 upon `under`, rounded to the nearest level.
fn blend(under: u8, over: u8, alpha: u8) -> u8 {
    let sum = u32::from(under) * u32::from(255 - alpha) + u32::from(over) * u32::from(alpha);
    ((sum + 127) / 255) as u8
}

/// The largest middle part of `from` with the proportions of `to`; the arithmetic of Pillow's `ImageOps.fit`.
fn middle(from: Dimensions, to: Dimensions) -> Region {
    let (width, height) = (from.width as f64, from.height as f64);
    let ratio = to.width as f64 / to.height as f64;
    let (crop_width, crop_height) = if width / height >= ratio {
        (ratio * height, height)
    } else {
        (width, width / ratio)
    };
    let left = (width - crop_width) * 0.5;
    let top = (height - crop_height) * 0.5;
    // The sum may pass the edge by a rounding error.
    Region {
        left: left as f32,
        top: top as f32,
        right: (left + crop_width).min(width) as f32,
        bottom: (top + crop_height).min(height) as f32,
    }
}

/// The largest height and width with the proportions of `from` inside `to`; the arithmetic of Pillow's `ImageOps.contain`.
fn contained(from: Dimensions, to: Dimensions) -> (usize, usize) {
    let (width, height) = (from.width as f64, from.height as f64);
    let (to_width, to_height) = (to.width as f64, to.height as f64);
    let whole = |side: f64, most: usize| (side.round_ties_even() as usize).clamp(1, most);
    if width / height > to_width / to_height {
        (whole(height / width * to_width, to.height), to.width)
    } else {
        (to.height, whole(width / height * to_height, to.width))
    }
}

fn padded(
    pixels: Vec<u8>,
    (height, width): (usize, usize),
    to: Dimensions,
    background: &[u8],
) -> Vec<u8> {
    if (height, width) == (to.height, to.width) {
        return pixels;
    }
    let channels = background.len();
    let centred = |room: usize| (room as f64 * 0.5).round_ties_even() as usize;
    let (left, top) = (centred(to.width - width), centred(to.height - height));
    let mut canvas = background.repeat(to.height * to.width);
    let rows = canvas.chunks_exact_mut(to.width * channels).skip(top);
    for (row, source) in rows.zip(pixels.chunks_exact(width * channels)) {
        row[left * channels..][..source.len()].copy_from_slice(source);
    }
    canvas
}
