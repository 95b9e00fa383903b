//! Mean and variance of the columns of a matrix, in one pass over memory.
use pulp::{Simd, WithSimd};

use crate::columns::{columns, params, stretch, sum};
use crate::level::{Level, store};

/// The mean and `Σ (x - mean)²` of each channel of some rows.
///
/// A few rows at a time are gone through twice while they are in the cache, for their mean and for the squares about it;
/// those join the rest by the formulas of Chan, Golub and LeVeque (1979), which lose no more to rounding than two passes.
#[derive(Debug, Clone)]
pub(crate) struct Moments {
    rows: usize,
    mean: Vec<f32>,
    squares: Vec<f32>,
}

impl Moments {
    /// Those of no rows.
    fn none(channels: usize) -> Self {
        Self {
            rows: 0,
            mean: vec![0.0; channels],
            squares: vec![0.0; channels],
        }
    }

    /// Those of the rows of `x`.
    pub fn of(level: Level, x: &[f32], channels: usize) -> Self {
        let mut moments = Self::none(channels);
        level.run(Add {
            x,
            moments: &mut moments,
        });
        moments
    }

    /// Fills the means and variances of all parts together.
    pub fn join(parts: &[Self], mean: &mut [f32], variance: &mut [f32]) {
        let mut all = Self::none(mean.len());
        for part in parts {
            all.join_one(part.rows, &part.mean, &part.squares);
        }
        mean.copy_from_slice(&all.mean);
        let share = 1.0 / all.rows as f32;
        for (variance, squares) in variance.iter_mut().zip(&all.squares) {
            *variance = squares * share;
        }
    }

    #[inline(always)]
    fn join_one(&mut self, rows: usize, mean: &[f32], squares: &[f32]) {
        let before = self.rows as f32;
        self.rows += rows;
        let share = rows as f32 / self.rows as f32;
        let here = self.mean.iter_mut().zip(&mut self.squares);
        for ((to_mean, to_squares), (mean, squares)) in here.zip(mean.iter().zip(squares)) {
            let apart = mean - *to_mean;
            *to_mean += apart * share;
            *to_squares += squares + apart * apart * (before * share);
        }
    }
}

struct Add<'a> {
    x: &'a [f32],
    moments: &'a mut Moments,
}

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, moments } = self;
        let channels = moments.mean.len();
        let mut mean = vec![0.0; channels];
        let mut squares = vec![0.0; channels];
        for x in x.chunks(stretch(channels) * channels) {
            let rows = x.len() / channels;
            macro_rules! block {
                ($vectors:literal, $columns:expr) => {
                    block::<S, $vectors>(simd, x, $columns, &mut mean, &mut squares)
                };
            }
            columns!(channels, S::F32_LANES, block);
            moments.join_one(rows, &mean, &squares);
        }
    }
}

/// Fills the means and squares of some columns.
#[inline(always)]
fn block<S: Simd, const V: usize>(
    simd: S,
    x: &[f32],
    columns: (usize, usize),
    mean: &mut [f32],
    squares: &mut [f32],
) {
    let channels = mean.len();
    let zero = simd.splat_f32s(0.0);
    let share = simd.splat_f32s(channels as f32 / x.len() as f32);
    let sums = sum::<S, V, false>(simd, x, channels, columns, [zero; V]);
    let to = mean[columns.0..columns.1].chunks_mut(S::F32_LANES);
    for (to, sum) in to.zip(sums) {
        store(simd, to, simd.mul_f32s(sum, share));
    }
    let centre = params::<S, V>(simd, mean, columns);
    let sums = sum::<S, V, true>(simd, x, channels, columns, centre);
    let to = squares[columns.0..columns.1].chunks_mut(S::F32_LANES);
    for (to, sum) in to.zip(sums) {
        store(simd, to, sum);
    }
}
