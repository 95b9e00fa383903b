//! Labelled images in memory, all of one size.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::DatasetError;
use crate::imaging::Dimensions;

/// Images fitted to a model's size, as bytes, and the class of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Samples {
    /// The size of every image.
    pub dimensions: Dimensions,
    values: usize,
    pixels: Vec<u8>,
    labels: Vec<u32>,
}

impl Samples {
    /// Samples from `labels.len()` images of `height × width × channels` bytes, end to end.
    ///
    /// `None` where `pixels` has another length or `dimensions` holds no value.
    pub fn new(dimensions: Dimensions, pixels: Vec<u8>, labels: Vec<u32>) -> Option<Self> {
        let values = dimensions.values().filter(|&values| values > 0)?;
        (values.checked_mul(labels.len()) == Some(pixels.len())).then_some(Self {
            dimensions,
            values,
            pixels,
            labels,
        })
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The bytes of one image, `height × width × channels`.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn image(&self, index: usize) -> &[u8] {
        &self.pixels[index * self.values..(index + 1) * self.values]
    }

    /// The class of one image.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn label(&self, index: usize) -> u32 {
        self.labels[index]
    }

    /// The class of every image.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Which images to train on, and which to hold out; both in ascending order, and the same for the same seed.
    ///
    /// Each class is split by itself: about `fraction` of its images are held out, at least one, and at least one stays. With a
    /// `fraction` of 0 nothing is held out.
    ///
    /// # Errors
    /// [`DatasetError::Fraction`] unless 0 ≤ `fraction` < 1; [`DatasetError::ClassTooSmall`] where a class has one image.
    pub fn split(
        &self,
        fraction: f64,
        seed: u64,
    ) -> Result<(Vec<usize>, Vec<usize>), DatasetError> {
        if !(0.0..1.0).contains(&fraction) {
            return Err(DatasetError::Fraction { fraction });
        }
        if fraction == 0.0 {
            return Ok(((0..self.len()).collect(), Vec::new()));
        }
        let mut by_label: Vec<(u32, usize)> = self.labels.iter().copied().zip(0..).collect();
        by_label.sort_unstable();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (mut rest, mut held_out) = (Vec::new(), Vec::new());
        for class in by_label.chunk_by_mut(|(a, _), (b, _)| a == b) {
            if let [(label, _)] = *class {
                return Err(DatasetError::ClassTooSmall { label });
            }
            class.shuffle(&mut random);
            let share = (class.len() as f64 * fraction).round() as usize;
            let (held, kept) = class.split_at(share.clamp(1, class.len() - 1));
            held_out.extend(held.iter().map(|&(_, index)| index));
            rest.extend(kept.iter().map(|&(_, index)| index));
        }
        rest.sort_unstable();
        held_out.sort_unstable();
        Ok((rest, held_out))
    }
}
