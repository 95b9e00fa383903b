//! Depthwise convolution with 3 × 3 kernels: a window of registers slides along a line.
//!
//! The general product reads a value of the input for each multiplication. Here the values under neighbouring windows are
//! read once, and the kernel's weights stay in registers. Sums have the order of the general product.
// Loops over registers read as the arithmetic they stand for.
#![allow(clippy::needless_range_loop)]
use pulp::{Simd, WithSimd};

use crate::level::{at_least, at_most, load};
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
        let first = grid.output - grid.skipped;
        let last = first + (lines - 1) * grid.output_row + grid.width;
        assert!(last <= out.rows() && channels <= out.columns());
        for line in 0..lines {
            for channel in (0..channels).step_by(S::F32_LANES) {
                let from = window.first + line * grid.input_row + channel;
                let mut call = Line::<S> {
                    window: &window,
                    channels,
                    weights: [simd.splat_f32s(0.0); 9],
                    first: match product.finish.bias {
                        Some(bias) => load(simd, &bias[channel..channel + S::F32_LANES]),
                        None => simd.splat_f32s(0.0),
                    },
                    bounds: product.finish.bounds,
                    from: product.x[from..].as_ptr(),
                    to: out
                        .start(first + line * grid.output_row)
                        .wrapping_add(channel),
                    stride: out.stride(),
                    left: grid.width,
                };
                for tap in 0..9 {
                    call.weights[tap] =
                        load(simd, &product.weights.values[tap * channels + channel..]);
                }
                macro_rules! tiles {
                    ($($pixels:literal of $values:literal)*) => {{$(
                        while call.left >= $pixels {
                            // SAFETY: the assertions are for the last value under the last window, and the last pixel.
                            unsafe { call.tile::<$pixels, $values>(simd) };
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

/// One vector of channels of what is left of a line of output.
struct Line<'a, S: Simd> {
    window: &'a Window,
    channels: usize,
    weights: [S::f32s; 9],
    /// What the sums begin with, and the bounds that they are held between.
    first: S::f32s,
    bounds: (f32, f32),
    /// The first value under the next window, and the next pixel of the output.
    from: *const f32,
    to: *mut f32,
    /// From one pixel of the output to the next.
    stride: usize,
    left: usize,
}

impl<S: Simd> Line<'_, S> {
    /// Computes `P` pixels, under whose windows are `N` pixels of each row.
    ///
    /// # Safety
    ///
    /// There are `P` pixels left, and the values under their windows may be read.
    #[inline(always)]
    unsafe fn tile<const P: usize, const N: usize>(&mut self, simd: S) {
        let mut sums = [self.first; P];
        for y in 0..3 {
            let pixels = self.from.wrapping_add(y * self.window.row);
            let mut values = [simd.splat_f32s(0.0); N];
            for x in 0..N {
                let pixel = pixels.wrapping_add(x * self.channels);
                // SAFETY: a pixel under a window, as the caller promises.
                values[x] = unsafe { pixel.cast::<S::f32s>().read_unaligned() };
            }
            for x in 0..3 {
                for p in 0..P {
                    let value = values[p * (N - 3) / (P - 1).max(1) + x];
                    sums[p] = simd.mul_add_e_f32s(value, self.weights[3 * y + x], sums[p]);
                }
            }
        }
        let (low, high) = self.bounds;
        if low > f32::NEG_INFINITY {
            for p in 0..P {
                sums[p] = at_least(simd, sums[p], simd.splat_f32s(low));
            }
        }
        if high < f32::INFINITY {
            for p in 0..P {
                sums[p] = at_most(simd, sums[p], simd.splat_f32s(high));
            }
        }
        for p in 0..P {
            let pixel = self.to.wrapping_add(p * self.stride);
            // SAFETY: one of the pixels that are left.
            unsafe { pixel.cast::<S::f32s>().write_unaligned(sums[p]) };
        }
        self.from = self.from.wrapping_add(P * self.window.step * self.channels);
        self.to = self.to.wrapping_add(P * self.stride);
        self.left -= P;
    }
}
