//! Depthwise convolution with 3 × 3 kernels: a window of registers slides along a line.
//!
//! The general product reads a value of the input for each multiplication. Here the values under neighbouring windows are
//! read once, and the kernel's weights stay in registers. Sums have the order of the general product.
// Loops over registers read as the arithmetic they stand for.
#![allow(clippy::needless_range_loop)]
use pulp::{Simd, WithSimd};

use crate::level::{at_least, at_most, load, store};
use crate::matrix::MatrixMut;
use crate::product::{Factor, Product, Start};

/// A product whose terms are the taps of a 3 × 3 window on neighbouring pixels.
pub(crate) struct Sliding<'a, 'b> {
    pub product: &'a Product<'a>,
    pub out: &'a mut MatrixMut<'b>,
    /// Values of a pixel.
    pub channels: usize,
}

impl WithSimd for Sliding<'_, '_> {
    /// Whether it was computed; if not, the general product has to.
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> bool {
        let Some(window) = Window::of(&self, S::F32_LANES) else {
            return false;
        };
        let Self {
            product,
            out,
            channels,
        } = self;
        let grid = &product.grid;
        let lines = product.rows.1 / grid.width;
        let last = window.first
            + (lines - 1) * grid.input_row
            + 2 * window.row
            + ((grid.width - 1) * window.step + 3) * channels;
        assert!(last <= product.x.len() && product.weights.values.len() >= 9 * channels);
        for line in 0..lines {
            let pixels = &product.x[window.first + line * grid.input_row..];
            let first = grid.output - grid.skipped + line * grid.output_row;
            for channel in (0..channels).step_by(S::F32_LANES) {
                let mut call = Line {
                    product,
                    out,
                    pixels: &pixels[channel..],
                    window: &window,
                    channels,
                    channel,
                    first,
                    column: 0,
                };
                macro_rules! tiles {
                    ($($pixels:literal of $values:literal)*) => {{$(
                        while grid.width - call.column >= $pixels {
                            call.tile::<S, $pixels, $values>(simd);
                        }
                    )*}};
                }
                // The values under `n` windows are `(n - 1) · step + 3` pixels.
                match (window.step, S::REGISTER_COUNT >= 32) {
                    (1, true) => tiles!(8 of 10 4 of 6 1 of 3),
                    (1, false) => tiles!(4 of 6 1 of 3),
                    (_, true) => tiles!(4 of 9 1 of 3),
                    (_, false) => tiles!(2 of 5 1 of 3),
                }
            }
        }
        true
    }
}

/// Where the windows lie.
struct Window {
    /// Where in `x` the first window begins.
    first: usize,
    /// From one row of pixels to the next.
    row: usize,
    /// Pixels from one window to the next.
    step: usize,
}

impl Window {
    fn of(sliding: &Sliding, lanes: usize) -> Option<Self> {
        let Sliding {
            product, channels, ..
        } = *sliding;
        let ([chunk], Factor::Lanes, Start::Replace) =
            (product.chunks, product.factor, product.start)
        else {
            return None;
        };
        let &[first, _, _, below, ..] = chunk.offsets.as_slice() else {
            return None;
        };
        let row = below.checked_sub(first)?;
        let taps = (0..9).map(|tap| first + tap / 3 * row + tap % 3 * channels);
        let step = product.grid.input_column / channels;
        let whole = product.rows.0 == 0
            && product.rows.1 > 0
            && product.rows.1.is_multiple_of(product.grid.width);
        (chunk.offsets.iter().copied().eq(taps)
            && channels.is_multiple_of(lanes)
            && chunk.weight == 0
            && product.weights.stride == channels
            && product.weights.column == 0
            && (step == 1 || step == 2)
            && step * channels == product.grid.input_column
            && whole)
            .then_some(Self {
                first: product.grid.input + first,
                row,
                step,
            })
    }
}

/// One vector of channels of one line of output, from `column` on.
struct Line<'a, 'b> {
    product: &'a Product<'a>,
    out: &'a mut MatrixMut<'b>,
    /// From the channels of the first window on.
    pixels: &'a [f32],
    window: &'a Window,
    channels: usize,
    channel: usize,
    /// The row of `out` of the line's first pixel.
    first: usize,
    column: usize,
}

impl Line<'_, '_> {
    /// Computes `P` pixels, under whose windows are `N` pixels of each row.
    #[inline(always)]
    fn tile<S: Simd, const P: usize, const N: usize>(&mut self, simd: S) {
        let (product, lanes) = (self.product, S::F32_LANES);
        let bias = product
            .finish
            .bias
            .map_or(&[][..], |bias| &bias[self.channel..self.channel + lanes]);
        let mut sums = [load(simd, bias); P];
        let weights = product.weights.values[self.channel..].as_ptr();
        let begin = self.column * self.window.step * self.channels;
        for y in 0..3 {
            let pixels = self.pixels[begin + y * self.window.row..].as_ptr();
            let mut values = [simd.splat_f32s(0.0); N];
            for x in 0..N {
                // SAFETY: the assertion at the beginning is for the last value under the last window.
                values[x] = unsafe {
                    pixels
                        .add(x * self.channels)
                        .cast::<S::f32s>()
                        .read_unaligned()
                };
            }
            for x in 0..3 {
                // SAFETY: nine rows of `channels` weights were asserted, and the channels are whole vectors.
                let weight = unsafe {
                    weights
                        .add((3 * y + x) * self.channels)
                        .cast::<S::f32s>()
                        .read_unaligned()
                };
                for p in 0..P {
                    let value = values[p * (N - 3) / (P - 1).max(1) + x];
                    sums[p] = simd.mul_add_e_f32s(value, weight, sums[p]);
                }
            }
        }
        let (low, high) = product.finish.bounds;
        for p in 0..P {
            let mut sum = sums[p];
            if low > f32::NEG_INFINITY {
                sum = at_least(simd, sum, simd.splat_f32s(low));
            }
            if high < f32::INFINITY {
                sum = at_most(simd, sum, simd.splat_f32s(high));
            }
            let row = self.out.row(self.first + self.column + p);
            store(simd, &mut row[self.channel..self.channel + lanes], sum);
        }
        self.column += P;
    }
}
