//! Changes of an image's size inside a network: `Cropping2D`, `UpSampling2D`, `Resizing`, `CenterCrop`.
//!
//! Resampling is linear in the pixels and works on rows and columns one after the other, so it is two
//! products with small matrices; their gradients come for free.
//!
//! Source: `tensorflow/core/kernels/image/` (half-pixel centres, no antialiasing; bicubic is Keys'
//! kernel with a = -0.5, its weights renormalised at the edges).

use burn::tensor::{Tensor, TensorData};

use crate::architecture::{Interpolation, Resizing, Sides};

/// Resamples `[N, H, W, C]` to `[N, height, width, C]`.
pub(super) fn resample(
    x: Tensor<4>,
    [height, width]: [usize; 2],
    interpolation: Interpolation,
) -> Tensor<4> {
    let [n, h, w, c] = x.dims();
    let device = x.device();
    let matrix = |from: usize, to: usize| {
        let weights = TensorData::new(weights(from, to, interpolation), [1, to, from]);
        Tensor::<3>::from_data(weights, &device)
    };
    let x = if h == height {
        x
    } else {
        let rows = matrix(h, height).repeat(&[n, 1, 1]);
        rows.matmul(x.reshape([n, h, w * c]))
            .reshape([n, height, w, c])
    };
    if w == width {
        return x;
    }
    let columns = matrix(w, width).repeat(&[n * height, 1, 1]);
    columns
        .matmul(x.reshape([n * height, w, c]))
        .reshape([n, height, width, c])
}

pub(super) fn crop(x: Tensor<4>, sides: Sides) -> Tensor<4> {
    let [n, h, w, c] = x.dims();
    x.slice([
        0..n,
        sides.top..h - sides.bottom,
        sides.left..w - sides.right,
        0..c,
    ])
}

/// The middle `[height, width]` of an image that is no smaller; the odd row or column is cut below
/// and to the right.
fn crop_to(x: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [_, h, w, _] = x.dims();
    let (top, left) = ((h - height) / 2, (w - width) / 2);
    crop(
        x,
        Sides {
            top,
            bottom: h - height - top,
            left,
            right: w - width - left,
        },
    )
}

/// The largest part of the image with the aspect ratio of `[height, width]`, as Keras' `Resizing`
/// cuts it out (`keras/src/backend/tensorflow/image.py`).
fn crop_to_aspect_ratio(x: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [_, h, w, _] = x.dims();
    let crop_height = ((w * height) as f64 / width as f64) as usize;
    let crop_width = ((h * width) as f64 / height as f64) as usize;
    crop_to(x, [h.min(crop_height.max(1)), w.min(crop_width.max(1))])
}

pub(super) fn resize(x: Tensor<4>, layer: &Resizing) -> Tensor<4> {
    let size = [layer.height, layer.width];
    let x = if layer.crop_to_aspect_ratio {
        crop_to_aspect_ratio(x, size)
    } else {
        x
    };
    resample(x, size, layer.interpolation)
}

pub(super) fn center_crop(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [_, h, w, _] = x.dims();
    if h >= size[0] && w >= size[1] {
        crop_to(x, size)
    } else {
        resample(crop_to_aspect_ratio(x, size), size, Interpolation::Bilinear)
    }
}

/// The weight of each of `from` pixels in each of `to` pixels, row-major `[to, from]`.
fn weights(from: usize, to: usize, interpolation: Interpolation) -> Vec<f32> {
    let mut weights = vec![0.0f32; from * to];
    let scale = from as f32 / to as f32;
    let last = from as isize - 1;
    for (out, row) in weights.chunks_exact_mut(from).enumerate() {
        let centre = (out as f32 + 0.5) * scale;
        match interpolation {
            Interpolation::Nearest => row[(centre.floor() as usize).min(from - 1)] = 1.0,
            Interpolation::Bilinear => {
                let position = centre - 0.5;
                let lower = position.floor();
                let fraction = position - lower;
                for (offset, weight) in [(0, 1.0 - fraction), (1, fraction)] {
                    let source = (lower as isize + offset).clamp(0, last);
                    row[source as usize] += weight;
                }
            }
            Interpolation::Bicubic => {
                let position = centre - 0.5;
                let lower = position.floor();
                let fraction = position - lower;
                let mut sum = 0.0;
                for offset in -1..=2isize {
                    let source = lower as isize + offset;
                    if (0..=last).contains(&source) {
                        let weight = keys(fraction - offset as f32);
                        row[source as usize] += weight;
                        sum += weight;
                    }
                }
                if sum != 0.0 {
                    row.iter_mut().for_each(|weight| *weight /= sum);
                }
            }
        }
    }
    weights
}

/// Keys' cubic convolution kernel (1981) with a = -0.5.
fn keys(x: f32) -> f32 {
    const A: f32 = -0.5;
    let x = x.abs();
    if x <= 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
    } else {
        0.0
    }
}
