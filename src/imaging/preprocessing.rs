//! The model's recipe for its input: colour, resize, scaling.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::PreprocessingError;

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
