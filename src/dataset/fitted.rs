//! Images at a model's size while they arrive, in any order, with gaps where files turn out bad.

use super::layout::Part;
use super::{DatasetError, Options};
use crate::imaging::{Dimensions, Image, Preprocessing};

/// What a model wants of each image.
#[derive(Clone, Copy)]
pub(super) struct Recipe<'a> {
    pub preprocessing: &'a Preprocessing,
    pub to: Dimensions,
}

impl Recipe<'_> {
    pub(super) fn fit(&self, image: &Image) -> Vec<u8> {
        self.preprocessing.fit(image, self.to)
    }
}

/// For each [`Part`], its images end to end.
pub(super) struct Fitted {
    bytes_each: usize,
    pixels: [Vec<u8>; 2],
}

impl Fitted {
    /// Room for so many images of each part, if that is allowed.
    pub(super) fn reserve(
        to: Dimensions,
        images: [usize; 2],
        options: &Options,
    ) -> Result<Self, DatasetError> {
        let drawable = matches!(to.channels, 1 | 3);
        let bytes_each = to.values().filter(|&values| drawable && values > 0);
        let bytes_each = bytes_each.ok_or(DatasetError::Dimensions(to))?;
        let all = images[0].saturating_add(images[1]);
        if all.saturating_mul(bytes_each) as u64 > options.max_loaded_bytes {
            return Err(DatasetError::TooLargeInMemory {
                images: all,
                bytes_each,
                allowed: options.max_loaded_bytes,
            });
        }
        Ok(Self {
            bytes_each,
            pixels: images.map(|images| vec![0; images * bytes_each]),
        })
    }

    pub(super) fn put(&mut self, part: Part, place: usize, pixels: &[u8]) {
        let start = place * self.bytes_each;
        self.pixels[part as usize][start..][..self.bytes_each].copy_from_slice(pixels);
    }

    /// Moves an image down into the gap that bad files before it have left.
    pub(super) fn close_gap(&mut self, part: Part, from: usize, to: usize) {
        let start = from * self.bytes_each;
        let image = start..start + self.bytes_each;
        self.pixels[part as usize].copy_within(image, to * self.bytes_each);
    }

    /// The pixels of the first so many images of each part.
    pub(super) fn into_pixels(mut self, images: [usize; 2]) -> [Vec<u8>; 2] {
        for (pixels, images) in self.pixels.iter_mut().zip(images) {
            pixels.truncate(images * self.bytes_each);
        }
        self.pixels
    }
}
