//! Why an image, or a preprocessing recipe, is refused.

use thiserror::Error;

use super::preprocessing::Color;

/// Why [`decode`](super::decode()) refused some bytes.
#[derive(Debug, Error)]
pub enum ImagingError {
    /// There is not one byte.
    #[error("the image is empty (0 bytes); send the bytes of an image file")]
    Empty,
    /// The bytes begin like none of the accepted formats.
    #[error("this is not an image that can be read: it looks like {looks_like}; send {accepted}", accepted = super::FORMATS)]
    Unrecognised {
        /// What the first bytes resemble.
        looks_like: &'static str,
    },
    /// The file has more bytes than [`Limits::max_bytes`](super::Limits::max_bytes).
    #[error("the image has {bytes} bytes and at most {allowed} are allowed; send a smaller file")]
    TooLarge {
        /// Bytes found.
        bytes: usize,
        /// Bytes allowed.
        allowed: usize,
    },
    /// The header announces more pixels than [`Limits::max_pixels`](super::Limits::max_pixels).
    #[error(
        "the image is {width}×{height} = {pixels} pixels and at most {allowed} are allowed; scale it down first",
        pixels = u64::from(*.width) * u64::from(*.height)
    )]
    TooManyPixels {
        /// Columns announced.
        width: u32,
        /// Rows announced.
        height: u32,
        /// Pixels allowed.
        allowed: u64,
    },
    /// One side is longer than any camera makes and than JPEG or GIF can say.
    #[error(
        "the image is {width}×{height} and a side may have at most {allowed} pixels; scale or cut it first"
    )]
    SideTooLong {
        /// Columns announced.
        width: u32,
        /// Rows announced.
        height: u32,
        /// Longest side allowed.
        allowed: u32,
    },
    /// Decoding would need more memory than [`Limits::max_decoder_bytes`](super::Limits::max_decoder_bytes).
    #[error(
        "decoding the image takes more memory than the {allowed} bytes allowed; scale it down, or save it with 8 bits per channel and not progressive"
    )]
    TooMuchMemory {
        /// Bytes allowed.
        allowed: u64,
    },
    /// A progressive JPEG repaints its pixels more often than any honest encoder does.
    #[error(
        "the JPEG has {scans} scans over {pixels} pixels, which only serves to waste time; save it again as a baseline JPEG"
    )]
    TooManyScans {
        /// Scans found.
        scans: u64,
        /// Pixels of the image.
        pixels: u64,
    },
    /// The file ends before its image does.
    #[error("the {format} file ends before its image is complete; send the whole file")]
    Truncated {
        /// The format recognised.
        format: &'static str,
    },
    /// The file contradicts its format.
    #[error("the {format} file is damaged: {reason}")]
    Corrupt {
        /// The format recognised.
        format: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// The file is of an accepted format, but of a kind that is not decoded.
    #[error(
        "this kind of {format} cannot be read: {reason}; save it as an 8-bit PNG or baseline JPEG"
    )]
    Unsupported {
        /// The format recognised.
        format: &'static str,
        /// What the decoder says.
        reason: String,
    },
}

impl ImagingError {
    /// The stable name of this refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "image_empty",
            Self::Unrecognised { .. } => "image_unrecognised",
            Self::TooLarge { .. } => "image_too_large",
            Self::TooManyPixels { .. } | Self::SideTooLong { .. } => "image_too_many_pixels",
            Self::TooMuchMemory { .. } => "image_too_much_memory",
            Self::TooManyScans { .. } => "image_too_many_scans",
            Self::Truncated { .. } => "image_truncated",
            Self::Corrupt { .. } => "image_corrupt",
            Self::Unsupported { .. } => "image_unsupported",
        }
    }
}

/// Why a [`Preprocessing`](super::Preprocessing) recipe is refused.
#[derive(Debug, Error, PartialEq)]
pub enum PreprocessingError {
    /// Images have one channel or three.
    #[error("the model reads {channels} channels; images give 1 (grayscale) or 3 (rgb)")]
    Channels {
        /// Channels of the model's input.
        channels: usize,
    },
    /// The colour gives another number of channels than the model reads.
    #[error("`color` is {color}, which gives {gives} channels, but the model reads {channels}", gives = .color.channels())]
    Color {
        /// The colour asked for.
        color: Color,
        /// Channels of the model's input.
        channels: usize,
    },
    /// A number is infinite or not a number.
    #[error("`{field}` holds {value}; it must be a finite number")]
    NotFinite {
        /// The setting.
        field: &'static str,
        /// Its value.
        value: f32,
    },
    /// `mean` or `std` has not one value per channel.
    #[error(
        "`{field}` has {found} values and the model reads {channels} channels; give one per channel"
    )]
    Length {
        /// The setting.
        field: &'static str,
        /// Values found.
        found: usize,
        /// Channels of the model's input.
        channels: usize,
    },
    /// A standard deviation of zero or less.
    #[error("`std` holds {value}; pixels are divided by it, so that it must be above zero")]
    Std {
        /// The value found.
        value: f32,
    },
    /// Together the numbers leave the range of `f32`.
    #[error(
        "with these `scale`, `offset`, `mean` and `std`, the pixel {pixel} becomes {value}; use smaller numbers"
    )]
    Overflow {
        /// A pixel, 0 to 255.
        pixel: u8,
        /// What it becomes.
        value: f32,
    },
}

impl PreprocessingError {
    /// The stable name of this refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Channels { .. } => "preprocessing_channels_unsupported",
            Self::Color { .. } => "preprocessing_color_mismatch",
            Self::NotFinite { .. } => "preprocessing_not_finite",
            Self::Length { .. } => "preprocessing_wrong_length",
            Self::Std { .. } => "preprocessing_std_not_positive",
            Self::Overflow { .. } => "preprocessing_overflow",
        }
    }
}
