//! Bytes of an image file → the numbers that a network reads.
//!
//! ```text
//! bytes ── decode ──▶ Image ── Preprocessing::fit ──▶ H×W×C bytes ── Normaliser ──▶ H×W×C f32
//! ```
//!
//! [`decode()`] accepts what a stranger sends and checks it against [`Limits`]. [`Preprocessing`] is the model's own recipe:
//! training, evaluation and serving all run it, and nothing else turns an image into network input. Between the two steps
//! the pixels are bytes, so that a data set is kept in memory at a quarter of the size of its `f32` form.

mod decode;
mod error;
mod fit;
mod jpeg;
mod preprocessing;
mod resample;
mod webp;

pub use decode::{FORMATS, Limits, decode};
pub use error::{ImagingError, PreprocessingError};
pub use preprocessing::{Color, Filter, Mode, Normaliser, Preprocessing, Resize};

use serde::{Deserialize, Serialize};

/// The size of one channels-last image: `height × width × channels` values, row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dimensions {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Values per pixel.
    pub channels: usize,
}

impl Dimensions {
    /// The number of values in one image, or `None` where it does not fit a `usize`.
    pub fn values(&self) -> Option<usize> {
        self.height
            .checked_mul(self.width)?
            .checked_mul(self.channels)
    }
}

/// Height, width and channels, in this order.
impl From<[usize; 3]> for Dimensions {
    fn from([height, width, channels]: [usize; 3]) -> Self {
        Self {
            height,
            width,
            channels,
        }
    }
}

/// A decoded image, turned upright, with 8 bits per channel, in the colour that its file has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    dimensions: Dimensions,
    pixels: Vec<u8>,
}

impl Image {
    /// An image from `height × width × channels` bytes: grey (1 channel), grey and alpha (2), RGB (3) or RGBA (4).
    ///
    /// `None` where a side is zero, there is another number of channels, or `pixels` has another length.
    pub fn new(dimensions: Dimensions, pixels: Vec<u8>) -> Option<Self> {
        let drawable = dimensions.height > 0 && dimensions.width > 0;
        let fits = drawable
            && (1..=4).contains(&dimensions.channels)
            && dimensions.values() == Some(pixels.len());
        fits.then_some(Self { dimensions, pixels })
    }

    /// Height and width after orientation, and the channels of the file's colour.
    pub fn dimensions(&self) -> Dimensions {
        self.dimensions
    }

    /// The bytes, `height × width × channels`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }
}
