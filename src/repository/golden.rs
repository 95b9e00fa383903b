//! Golden answers, `golden.safetensors`: a few images with the scores that the network gave when the version was made.
//!
//! Whoever loads the version runs the network over the same images and compares. What comes out otherwise — on another
//! processor, from another build, with files that were exchanged — is not the network that was evaluated.

use burn::tensor::Device;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::VersionFault;
use crate::architecture::{Architecture, Shape};
use crate::imaging::Preprocessing;
use crate::network::{Network, Parameters};

/// The images, U8 `[N, height, width, channels]`.
const IMAGES: &str = "images";
/// What the network gave for each, F32 `[N, outputs]`.
const SCORES: &str = "scores";

/// Images of each kind, made up and real, at most.
const EACH: usize = 4;
/// Bytes of each kind of image, unless a single one has more.
const BYTES_EACH: usize = 1 << 20;
/// How far a score may be off, relative to the image's largest score where that is above 1.
const TOLERANCE: f32 = 1e-4;

/// A few images with the scores that the network gave for them.
///
/// The images are as preprocessing fits them to the network's input, before their bytes become numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Golden {
    images: Vec<u8>,
    scores: Vec<f32>,
    count: usize,
}

impl Golden {
    /// Real images that are kept at most.
    pub const EXAMPLES: usize = EACH;

    /// What the network of this architecture and these weights gives for images that are made up, the same ones for the same
    /// input, and for the first few `examples` (`height × width × channels` bytes each, end to end). Computed on the CPU.
    ///
    /// `None` where the input is no image, or the weights are not the architecture's.
    pub fn compute(
        architecture: &Architecture,
        parameters: &Parameters,
        preprocessing: &Preprocessing,
        examples: &[u8],
    ) -> Option<Self> {
        let channels = architecture.input_shape().as_image()?[2];
        let values = architecture.input_shape().elements()?;
        let network = Network::new(architecture, parameters, &Device::flex()).ok()?;
        let normaliser = preprocessing.normaliser(channels);
        let mut images = made_up(values);
        let real = examples.chunks_exact(values.max(1)).take(each(values));
        images.extend(real.flatten());
        let count = images.len() / values.max(1);
        let mut pixels = vec![0.0; values];
        let scores = images
            .chunks_exact(values.max(1))
            .flat_map(|image| {
                normaliser.apply(image, &mut pixels);
                network.predict(pixels.clone(), 1)
            })
            .collect();
        Some(Self {
            images,
            scores,
            count,
        })
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The images, `height × width × channels` bytes each.
    pub fn images(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let values = (self.images.len() / self.count.max(1)).max(1);
        self.images.chunks_exact(values)
    }

    /// Compares the scores that a network gives for [`images`](Self::images), image after image, with those of the file.
    ///
    /// # Errors
    ///
    /// [`VersionFault::SelfTest`] where one is off by more than 1e-4.
    pub fn compare<'a>(
        &self,
        found: impl IntoIterator<Item = &'a [f32]>,
    ) -> Result<(), VersionFault> {
        let outputs = (self.scores.len() / self.count.max(1)).max(1);
        let expected = self.scores.chunks_exact(outputs);
        for (image, (expected, found)) in expected.zip(found).enumerate() {
            let largest = expected
                .iter()
                .fold(1.0f32, |most, score| most.max(score.abs()));
            let is_same = |expected: f32, found: f32| {
                expected == found
                    || (expected.is_nan() && found.is_nan())
                    || (expected - found).abs() <= TOLERANCE * largest
            };
            for (output, (&expected, &found)) in expected.iter().zip(found).enumerate() {
                if !is_same(expected, found) {
                    return Err(VersionFault::SelfTest {
                        image,
                        output,
                        found,
                        expected,
                    });
                }
            }
        }
        Ok(())
    }

    /// The file.
    pub(super) fn write(&self, architecture: &Architecture) -> Result<Vec<u8>, VersionFault> {
        let scores: Vec<u8> = self.scores.iter().flat_map(|s| s.to_le_bytes()).collect();
        let input = architecture.input_shape().dims();
        let shape = [&[self.count], input].concat();
        let images = TensorView::new(Dtype::U8, shape, &self.images).map_err(malformed)?;
        let shape = vec![self.count, self.scores.len() / self.count.max(1)];
        let scores = TensorView::new(Dtype::F32, shape, &scores).map_err(malformed)?;
        safetensors::serialize([(IMAGES, images), (SCORES, scores)], None).map_err(malformed)
    }

    /// Reads the file, for a network of this architecture.
    pub(super) fn read(bytes: &[u8], architecture: &Architecture) -> Result<Self, VersionFault> {
        let file = SafeTensors::deserialize(bytes).map_err(malformed)?;
        let images = file.tensor(IMAGES).map_err(malformed)?;
        let scores = file.tensor(SCORES).map_err(malformed)?;
        let count = images.shape().first().copied().unwrap_or(0);
        let check = |name, tensor: &TensorView, dtype: Dtype, each: &[usize]| {
            let expected = [&[count], each].concat();
            if tensor.dtype() == dtype && tensor.shape() == expected && count > 0 {
                return Ok(());
            }
            Err(VersionFault::Golden(format!(
                "\"{name}\" is {:?} {:?}; expected {dtype:?} {expected:?}, with at least one image",
                tensor.dtype(),
                tensor.shape()
            )))
        };
        check(
            IMAGES,
            &images,
            Dtype::U8,
            architecture.input_shape().dims(),
        )?;
        check(
            SCORES,
            &scores,
            Dtype::F32,
            architecture.output_shape().dims(),
        )?;
        let scores = scores.data().as_chunks::<4>().0;
        Ok(Self {
            images: images.data().to_vec(),
            scores: scores
                .iter()
                .map(|&bytes| f32::from_le_bytes(bytes))
                .collect(),
            count,
        })
    }

    /// The most bytes that the file can need.
    pub(super) fn largest(architecture: &Architecture) -> u64 {
        let elements = |shape: &Shape| shape.elements().unwrap_or(0) as u64;
        let input = elements(architecture.input_shape());
        let scores = elements(architecture.output_shape()).saturating_mul(4);
        let images = input.saturating_add(scores).saturating_mul(2 * EACH as u64);
        images.saturating_add(1 << 16)
    }
}

/// Images that nobody has taken: noise, from faint around grey to every value there is.
fn made_up(values: usize) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let images = each(values);
    let mut made = Vec::with_capacity(images.saturating_mul(values));
    for image in 1..=images {
        let contrast = image as f32 / images as f32;
        made.extend((0..values).map(|_| {
            let noise = f32::from(rng.random::<u8>()) - 127.5;
            (127.5 + noise * contrast) as u8
        }));
    }
    made
}

/// How many images of each kind there are where one has so many values.
fn each(values: usize) -> usize {
    (BYTES_EACH / values.max(1)).clamp(1, EACH)
}

fn malformed(error: impl ToString) -> VersionFault {
    VersionFault::Golden(error.to_string())
}
