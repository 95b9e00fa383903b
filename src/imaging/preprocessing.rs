//! The model's recipe for its input: colour, resize, scaling.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::resample::{Region, resize};
use super::{Dimensions, Image, PreprocessingError};

/// How an image becomes the input of one model: the `preprocessing` object of its `card.json`.
///
/// Every field may be left out of the JSON; unknown ones are refused. [`check`](Self::check) it before use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Preprocessing {
    /// The colour that the model sees. Left out, it follows from the channels of the model's input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color: Option<Color>,
    /// The colour behind transparent pixels, and of the bars of [`Mode::Pad`]; RGB. Black unless stated: most encoders write
    /// fully transparent pixels as black, so that black agrees with the tools that drop alpha (Pillow's `convert("RGB")`,
    /// TensorFlow's `decode_image(channels=3)`).
    pub background: [u8; 3],
    /// How an image of another size is brought to the model's.
    pub resize: Resize,
    /// Whether each pixel p is first replaced by 255 − p, for a model that knows white on black and is shown black on white.
    pub invert: bool,
    /// What a pixel, 0 to 255, is multiplied by. 1/255 unless stated.
    pub scale: f32,
    /// What is then added. 0 unless stated.
    pub offset: f32,
    /// What is then subtracted, per channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<Vec<f32>>,
    /// What is then divided by, per channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<Vec<f32>>,
}

/// How an image is brought to the model's size. An image that has it already is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resize {
    /// What becomes of an image with other proportions.
    pub mode: Mode,
    /// How pixels between the image's own are found.
    pub filter: Filter,
    /// Whether a pixel of the result sees every pixel of the source that it covers, as in Pillow. Without, it sees only the
    /// nearest few, as in Keras' `Resizing` and `image_dataset_from_directory`, rounded to whole levels.
    pub antialias: bool,
}

/// The colour that a model sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Color {
    /// One channel: the luma of ITU-R BT.601, as Pillow's `convert("L")` computes it,
    /// `(19595 R + 38470 G + 7471 B + 32768) >> 16`.
    Grayscale,
    /// Red, green, blue.
    Rgb,
}

/// What becomes of an image whose proportions are not the model's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is squeezed or widened.
    #[default]
    Stretch,
    /// Its middle is cut out, as Pillow's `ImageOps.fit` does.
    Crop,
    /// It is fitted inside, centred on the background, as Pillow's `ImageOps.pad` does.
    Pad,
}

/// How pixels between the image's own are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// The pixel under the centre.
    Nearest,
    /// Linear in both directions.
    #[default]
    Bilinear,
    /// Keys' cubic, a = −0.5.
    Bicubic,
    /// Lanczos with three lobes.
    Lanczos,
}

impl Color {
    /// The colour of a model whose input has this many channels: 1 or 3.
    pub fn of_channels(channels: usize) -> Option<Self> {
        match channels {
            1 => Some(Self::Grayscale),
            3 => Some(Self::Rgb),
            _ => None,
        }
    }

    /// Values per pixel.
    pub fn channels(self) -> usize {
        match self {
            Self::Grayscale => 1,
            Self::Rgb => 3,
        }
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grayscale => "grayscale",
            Self::Rgb => "rgb",
        })
    }
}

impl Default for Resize {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            filter: Filter::default(),
            antialias: true,
        }
    }
}

impl Default for Preprocessing {
    fn default() -> Self {
        Self {
            color: None,
            background: [0; 3],
            resize: Resize::default(),
            invert: false,
            scale: 1.0 / 255.0,
            offset: 0.0,
            mean: None,
            std: None,
        }
    }
}

impl Preprocessing {
    /// The default recipe of a model whose input has this many channels: stretched bilinearly, scaled to 0..1.
    pub fn for_channels(channels: usize) -> Self {
        Self {
            color: Color::of_channels(channels),
            ..Self::default()
        }
    }

    /// This recipe with its colour written out, if it suits a model whose input has this many channels.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn checked(mut self, channels: usize) -> Result<Self, PreprocessingError> {
        self.check(channels)?;
        self.color = Color::of_channels(channels);
        Ok(self)
    }

    /// Whether this recipe suits a model whose input has this many channels.
    ///
    /// # Errors
    /// Channels that are not 1 or 3, a colour with other channels, numbers that are not finite or make pixels so, a `mean` or
    /// `std` of another length, a `std` not above zero.
    pub fn check(&self, channels: usize) -> Result<(), PreprocessingError> {
        let natural =
            Color::of_channels(channels).ok_or(PreprocessingError::Channels { channels })?;
        if let Some(color) = self.color.filter(|&color| color != natural) {
            return Err(PreprocessingError::Color { color, channels });
        }
        let mean = self.mean.as_deref();
        let std = self.std.as_deref();
        for (field, values) in [
            ("scale", Some(&[self.scale][..])),
            ("offset", Some(&[self.offset])),
            ("mean", mean),
            ("std", std),
        ] {
            let mut values = values.into_iter().flatten().copied();
            if let Some(value) = values.find(|value| !value.is_finite()) {
                return Err(PreprocessingError::NotFinite { field, value });
            }
        }
        for (field, values) in [("mean", mean), ("std", std)] {
            if let Some(found) = values.map(<[f32]>::len).filter(|&found| found != channels) {
                return Err(PreprocessingError::Length {
                    field,
                    found,
                    channels,
                });
            }
        }
        if let Some(&value) = std.into_iter().flatten().find(|&&value| value <= 0.0) {
            return Err(PreprocessingError::Std { value });
        }
        let tables = self.normaliser(channels).tables;
        for table in tables {
            if let Some((pixel, &value)) = (0u8..=255)
                .zip(&table)
                .find(|(_, value)| !value.is_finite())
            {
                return Err(PreprocessingError::Overflow { pixel, value });
            }
        }
        Ok(())
    }

    /// Brings an image to a model's colour and size: `to.height × to.width × to.channels` bytes.
    ///
    /// Transparent pixels are laid over the background, colour is converted, then the size, in that order. The number of
    /// channels is what decides between grey (1) and RGB (3); [`check`](Self::check) holds `color` to it.
    pub fn fit(&self, image: &Image, to: Dimensions) -> Vec<u8> {
        let color = if to.channels == 1 {
            Color::Grayscale
        } else {
            Color::Rgb
        };
        if to.height == 0 || to.width == 0 {
            return Vec::new();
        }
        let pixels = self.recolor(image, color);
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

    /// The tables that turn the bytes of [`fit`](Self::fit) into network input. Build once, use for every image.
    pub fn normaliser(&self, channels: usize) -> Normaliser {
        let value = |values: &Option<Vec<f32>>, channel: usize, otherwise| {
            let values = values.as_deref().unwrap_or_default();
            values.get(channel).copied().unwrap_or(otherwise)
        };
        let tables = (0..channels).map(|channel| {
            let mean = value(&self.mean, channel, 0.0);
            let std = value(&self.std, channel, 1.0);
            std::array::from_fn(|pixel| {
                let pixel = if self.invert { 255 - pixel } else { pixel };
                (pixel as f32 * self.scale + self.offset - mean) / std
            })
        });
        Normaliser {
            tables: tables.collect(),
        }
    }

    /// Turns fitted bytes into network input, as [`Normaliser::apply`] does with tables kept.
    pub fn normalise(&self, pixels: &[u8], to: Dimensions, out: &mut [f32]) {
        self.normaliser(to.channels).apply(pixels, out);
    }

    fn recolor(&self, image: &Image, color: Color) -> Vec<u8> {
        let pixels = image.pixels();
        let over = |[red, green, blue, alpha]: [u8; 4]| {
            let [under_red, under_green, under_blue] = self.background;
            [
                blend(under_red, red, alpha),
                blend(under_green, green, alpha),
                blend(under_blue, blue, alpha),
            ]
        };
        let grey_over = |[grey, alpha]: [u8; 2]| over([grey, grey, grey, alpha]);
        match (image.dimensions().channels, color) {
            (1, Color::Grayscale) | (3, Color::Rgb) => pixels.to_vec(),
            (1, Color::Rgb) => pixels.iter().flat_map(|&grey| [grey; 3]).collect(),
            (2, Color::Grayscale) => each(pixels, |pixel| [luma(grey_over(pixel))]),
            (2, Color::Rgb) => each(pixels, grey_over),
            (3, Color::Grayscale) => each(pixels, |pixel| [luma(pixel)]),
            (_, Color::Grayscale) => each(pixels, |pixel| [luma(over(pixel))]),
            (_, Color::Rgb) => each(pixels, over),
        }
    }
}

/// The last step of preprocessing: for each channel, what each of the 256 values of a byte becomes.
///
/// With p′ = 255 − p where the recipe inverts and p otherwise, a pixel p of channel c becomes
/// (p′ · `scale` + `offset` − `mean[c]`) / `std[c]`, computed in `f32` from left to right; a `mean` left out is 0, a `std` 1.
#[derive(Clone, Debug)]
pub struct Normaliser {
    tables: Vec<[f32; 256]>,
}

impl Normaliser {
    /// Writes the value of each byte. `pixels` holds whole pixels, channel by channel, and `out` is as long.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn apply(&self, pixels: &[u8], out: &mut [f32]) {
        assert_eq!(pixels.len(), out.len(), "one value per byte");
        match self.tables.as_slice() {
            [table] => {
                for (value, &pixel) in out.iter_mut().zip(pixels) {
                    *value = table[usize::from(pixel)];
                }
            }
            [red, green, blue] => {
                let (values, _) = out.as_chunks_mut::<3>();
                for (value, &[r, g, b]) in values.iter_mut().zip(pixels.as_chunks::<3>().0) {
                    *value = [
                        red[usize::from(r)],
                        green[usize::from(g)],
                        blue[usize::from(b)],
                    ];
                }
            }
            tables => {
                let tables = tables.iter().cycle();
                for ((value, &pixel), table) in out.iter_mut().zip(pixels).zip(tables) {
                    *value = table[usize::from(pixel)];
                }
            }
        }
    }
}

fn each<const FROM: usize, const TO: usize>(
    pixels: &[u8],
    convert: impl Fn([u8; FROM]) -> [u8; TO],
) -> Vec<u8> {
    let (pixels, _) = pixels.as_chunks::<FROM>();
    pixels.iter().flat_map(|&pixel| convert(pixel)).collect()
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
