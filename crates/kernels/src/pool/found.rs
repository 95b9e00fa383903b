//! Maximum pooling that notes where each maximum was found, so that its input isn't needed for the way back.
use pulp::{Simd, WithSimd};

use super::grads::give;
use super::{MaxPool2d, Pool, Window};
use crate::level::{Level, load, store};

/// Places of a window that can be told apart by an `f32`.
const PLACES: usize = 1 << 24;

impl MaxPool2d {
    /// Whether the places can be noted, of images of this size.
    pub(crate) fn pools(&self, (height, width): (usize, usize), channels: usize) -> bool {
        let Pool { shape, input, .. } = &self.0;
        (input.height, input.width, input.channels) == (height, width, channels)
            && shape
                .window
                .0
                .checked_mul(shape.window.1)
                .is_some_and(|places| places <= PLACES)
    }

    /// Fills `y` from the images of `x`, and `places` with where in its window each value was found: the first of the
    /// largest, in rows from top to bottom and from left to right, or the first NaN.
    pub(crate) fn find(&self, level: Level, x: &[f32], y: &mut [f32], places: &mut [f32]) {
        level.run(Find {
            pool: &self.0,
            x,
            y,
            places,
        });
    }

    /// Fills `dx`, one image of the gradient of the input, from that of the output and where it was found.
    pub(crate) fn scatter(&self, level: Level, places: &[f32], dy: &[f32], dx: &mut [f32]) {
        level.run(Scatter {
            pool: &self.0,
            places,
            dy,
            dx,
        });
    }
}

struct Find<'a> {
    pool: &'a Pool,
    x: &'a [f32],
    y: &'a mut [f32],
    places: &'a mut [f32],
}

impl WithSimd for Find<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pool, x, y, places } = self;
        let (channels, output) = (pool.input.channels, pool.output);
        let images = y
            .chunks_exact_mut(output.len())
            .zip(places.chunks_exact_mut(output.len()));
        for ((y, places), x) in images.zip(x.chunks_exact(pool.input.len())) {
            let mut pixels = y
                .chunks_exact_mut(channels)
                .zip(places.chunks_exact_mut(channels));
            for row in 0..output.height {
                for column in 0..output.width {
                    if let Some((y, places)) = pixels.next() {
                        find(simd, pool, pool.window(row, column), x, y, places);
                    }
                }
            }
        }
    }
}

/// Fills a pixel.
#[inline(always)]
fn find<S: Simd>(
    simd: S,
    pool: &Pool,
    window: Window,
    x: &[f32],
    y: &mut [f32],
    places: &mut [f32],
) {
    let channels = y.len();
    let one = simd.splat_f32s(1.0);
    for from in (0..channels).step_by(S::F32_LANES) {
        let to = channels.min(from + S::F32_LANES);
        let first = pool.pixel(window.rows.0, window.columns.0);
        let mut most = load(simd, &x[first + from..first + to]);
        let mut place = simd.splat_f32s(0.0);
        let mut here = place;
        for row in window.rows.0..window.rows.1 {
            for column in window.columns.0..window.columns.1 {
                let at = pool.pixel(row, column);
                let value = load(simd, &x[at + from..at + to]);
                // NaN is larger than everything, and the first of them stays.
                let is_number = simd.equal_f32s(most, most);
                let is_less = simd.less_than_or_equal_f32s(value, most);
                let is_larger = simd.and_m32s(is_number, simd.not_m32s(is_less));
                most = simd.select_f32s(is_larger, value, most);
                place = simd.select_f32s(is_larger, here, place);
                here = simd.add_f32s(here, one);
            }
        }
        store(simd, &mut y[from..to], most);
        store(simd, &mut places[from..to], place);
    }
}

struct Scatter<'a> {
    pool: &'a Pool,
    places: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl WithSimd for Scatter<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            pool,
            places,
            dy,
            dx,
        } = self;
        let (channels, output) = (pool.input.channels, pool.output);
        if !pool.covers() {
            dx.fill(0.0);
        }
        let disjoint = pool.is_disjoint();
        let (one, zero) = (simd.splat_f32s(1.0), simd.splat_f32s(0.0));
        let mut pixels = places.chunks_exact(channels).zip(dy.chunks_exact(channels));
        for row in 0..output.height {
            for column in 0..output.width {
                let Some((places, dy)) = pixels.next() else {
                    return;
                };
                let window = pool.window(row, column);
                for from in (0..channels).step_by(S::F32_LANES) {
                    let to = channels.min(from + S::F32_LANES);
                    let place = load(simd, &places[from..to]);
                    let dy = load(simd, &dy[from..to]);
                    let mut here = zero;
                    for row in window.rows.0..window.rows.1 {
                        for column in window.columns.0..window.columns.1 {
                            let at = pool.pixel(row, column);
                            let given = simd.select_f32s(simd.equal_f32s(place, here), dy, zero);
                            give(simd, disjoint, &mut dx[at + from..at + to], given);
                            here = simd.add_f32s(here, one);
                        }
                    }
                }
            }
        }
    }
}
