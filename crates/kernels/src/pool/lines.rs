//! How lines of output, and of gradients, are filled.
use pulp::{Simd, WithSimd};

use super::Pool;
use crate::conv2d::Padding2d;
use crate::level::{larger, load, store};

/// Lines of output to fill, counted over the whole batch from `first` on.
pub(super) struct Lines<'a> {
    pub pool: &'a Pool,
    pub x: &'a [f32],
    pub y: &'a mut [f32],
    pub first: usize,
}

impl Lines<'_> {
    /// Fills each vector of channels with `finish(sum, count)`, where the sum is of a window's values by `join`.
    #[inline(always)]
    fn fill<S: Simd>(
        self,
        simd: S,
        identity: f32,
        join: impl Fn(S::f32s, S::f32s) -> S::f32s,
        finish: impl Fn(S::f32s, usize) -> S::f32s,
    ) {
        let Self { pool, x, y, first } = self;
        let (channels, output) = (pool.input.channels, pool.output);
        let quads = pool.shape.window == (2, 2)
            && pool.shape.padding == Padding2d::default()
            && channels.is_multiple_of(S::F32_LANES);
        for (line, y) in y.chunks_mut(output.width * channels).enumerate() {
            let (image, row) = (
                (first + line) / output.height,
                (first + line) % output.height,
            );
            let x = &x[image * pool.input.len()..][..pool.input.len()];
            if quads {
                // The usual window, without a look at its borders and with whole vectors alone.
                let lines = [0, 1].map(|below| &x[pool.pixel(row * pool.stride.0 + below, 0)..]);
                for (column, y) in y.chunks_exact_mut(channels).enumerate() {
                    let at = column * pool.stride.1 * channels;
                    let [above, below] = lines.map(|line| {
                        let (left, right) = line[at..at + 2 * channels].split_at(channels);
                        left.chunks_exact(S::F32_LANES)
                            .zip(right.chunks_exact(S::F32_LANES))
                    });
                    let vectors = y.chunks_exact_mut(S::F32_LANES).zip(above.zip(below));
                    for (y, ((a, b), (c, d))) in vectors {
                        let pairs = (
                            join(load(simd, a), load(simd, b)),
                            join(load(simd, c), load(simd, d)),
                        );
                        store(simd, y, finish(join(pairs.0, pairs.1), 4));
                    }
                }
                continue;
            }
            for (column, y) in y.chunks_mut(channels).enumerate() {
                let window = pool.window(row, column);
                for from in (0..channels).step_by(S::F32_LANES) {
                    let to = channels.min(from + S::F32_LANES);
                    let mut value = simd.splat_f32s(identity);
                    for wy in window.rows.0..window.rows.1 {
                        for wx in window.columns.0..window.columns.1 {
                            let at = pool.pixel(wy, wx);
                            value = join(value, load(simd, &x[at + from..at + to]));
                        }
                    }
                    store(simd, &mut y[from..to], finish(value, window.len()));
                }
            }
        }
    }
}

pub(super) struct MaxForward<'a>(pub Lines<'a>);

impl WithSimd for MaxForward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.fill(
            simd,
            f32::NEG_INFINITY,
            #[inline(always)]
            |largest, value| larger(simd, largest, value),
            #[inline(always)]
            |largest, _| largest,
        );
    }
}

pub(super) struct AverageForward<'a>(pub Lines<'a>);

impl WithSimd for AverageForward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.fill(
            simd,
            0.0,
            #[inline(always)]
            |sum, value| simd.add_f32s(sum, value),
            #[inline(always)]
            |sum, count| simd.div_f32s(sum, simd.splat_f32s(count as f32)),
        );
    }
}
