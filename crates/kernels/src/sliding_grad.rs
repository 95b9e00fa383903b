//! The gradient of a depthwise convolution's 3 × 3 kernel: a window of registers slides along a line, as in
//! [`sliding`](crate::sliding), and the sums of the nine taps stay in registers.
// Loops over registers read as the arithmetic they stand for.
#![allow(clippy::needless_range_loop)]
use pulp::{Simd, WithSimd};

use crate::frame::Frame;
use crate::level::{load, store};
use crate::matrix::MatrixMut;

/// One image's part.
pub(crate) struct SlidingGrad<'a, 'b> {
    /// The input with its padding, and from one of its rows to the next.
    pub pixels: &'a [f32],
    pub row: usize,
    /// Pixels from one window to the next, down and across.
    pub steps: (usize, usize),
    /// The output's gradient.
    pub dy: &'a [f32],
    pub output: Frame,
    /// Gets the sums of the nine taps added.
    pub out: &'a mut MatrixMut<'b>,
}

impl WithSimd for SlidingGrad<'_, '_> {
    /// Whether it was computed; if not, the general product has to.
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) -> bool {
        let Frame {
            height,
            width,
            channels,
        } = self.output;
        if !channels.is_multiple_of(S::F32_LANES) || !(1..=2).contains(&self.steps.1) {
            return false;
        }
        let last = ((height - 1) * self.steps.0 + 2) * self.row
            + ((width - 1) * self.steps.1 + 3) * channels;
        assert!(last <= self.pixels.len() && height * width * channels <= self.dy.len());
        for line in 0..height {
            for channel in (0..channels).step_by(S::F32_LANES) {
                self.line(simd, line, channel);
            }
        }
        true
    }
}

impl SlidingGrad<'_, '_> {
    /// Adds what one line of output and one vector of channels give.
    #[inline(always)]
    fn line<S: Simd>(&mut self, simd: S, line: usize, channel: usize) {
        let lanes = S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); 3]; 3];
        let mut column = 0;
        macro_rules! tiles {
            ($($pixels:literal of $values:literal)*) => {{$(
                while self.output.width - column >= $pixels {
                    self.tile::<S, $pixels, $values>(simd, (line, column), channel, &mut sums);
                    column += $pixels;
                }
            )*}};
        }
        // The values under `n` windows are `(n - 1) · step + 3` pixels.
        match (self.steps.1, S::REGISTER_COUNT >= 32) {
            (1, true) => tiles!(8 of 10 4 of 6 1 of 3),
            (1, false) => tiles!(2 of 4 1 of 3),
            (_, true) => tiles!(4 of 9 1 of 3),
            (_, false) => tiles!(1 of 3),
        }
        for y in 0..3 {
            for x in 0..3 {
                let to = &mut self.out.row(3 * y + x)[channel..channel + lanes];
                store(simd, to, simd.add_f32s(load(simd, to), sums[y][x]));
            }
        }
    }

    /// Adds the products of `P` pixels, under whose windows are `N` pixels of each row.
    #[inline(always)]
    fn tile<S: Simd, const P: usize, const N: usize>(
        &self,
        simd: S,
        (line, column): (usize, usize),
        channel: usize,
        sums: &mut [[S::f32s; 3]; 3],
    ) {
        let channels = self.output.channels;
        let dy = &self.dy[(line * self.output.width + column) * channels + channel..];
        let mut grads = [simd.splat_f32s(0.0); P];
        for p in 0..P {
            // SAFETY: the gradient of the pixel's channels, which are whole vectors, is inside: it was asserted.
            grads[p] = unsafe {
                dy.as_ptr()
                    .add(p * channels)
                    .cast::<S::f32s>()
                    .read_unaligned()
            };
        }
        let first = line * self.steps.0 * self.row + column * self.steps.1 * channels + channel;
        for y in 0..3 {
            let pixels = self.pixels[first + y * self.row..].as_ptr();
            let mut values = [simd.splat_f32s(0.0); N];
            for x in 0..N {
                // SAFETY: the assertion at the beginning is for the last value under the last window.
                values[x] = unsafe { pixels.add(x * channels).cast::<S::f32s>().read_unaligned() };
            }
            for x in 0..3 {
                for p in 0..P {
                    let value = values[p * (N - 3) / (P - 1).max(1) + x];
                    sums[y][x] = simd.mul_add_e_f32s(value, grads[p], sums[y][x]);
                }
            }
        }
    }
}
