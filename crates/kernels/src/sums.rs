//! Sums down the columns of a matrix: the gradient of a bias, and what a normalisation needs.
use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::columns::{columns, stretch, sum};
use crate::error::{ShapeError, batch, nonzero};
use crate::level::{Level, load, store};

/// Rows that are summed by themselves first, whatever the threads.
const ROWS: usize = 256;

/// Fills `sums` with the sum of each column of `values`, whose rows have `sums.len()` values.
///
/// # Errors
///
/// [`ShapeError`] if `sums` is empty or `values` isn't a whole number of rows.
pub fn column_sums(level: Level, values: &[f32], sums: &mut [f32]) -> Result<(), ShapeError> {
    nonzero(&[("the number of columns", sums.len())])?;
    let rows = batch("the matrix", values.len(), sums.len())?;
    let columns = sums.len();
    sum_rows(level, rows, sums, |rows, sums| {
        level.run(Sum {
            values: &values[rows.start * columns..rows.end * columns],
            sums,
        });
    });
    Ok(())
}

/// Adds the sum of each column of `values` to `sums`.
pub(crate) fn add_columns(level: Level, values: &[f32], sums: &mut [f32]) {
    level.run(Sum { values, sums });
}

/// Fills `sums` with the sums over all `rows` of what `add` adds to its second argument for a range of them.
pub(crate) fn sum_rows<F>(level: Level, rows: usize, sums: &mut [f32], add: F)
where
    F: Fn(Range<usize>, &mut [f32]) + Sync,
{
    let mut partial = vec![0.0; rows.div_ceil(ROWS) * sums.len()];
    partial
        .par_chunks_mut(sums.len())
        .with_min_len(4)
        .enumerate()
        .for_each(|(part, sums)| {
            add(part * ROWS..rows.min((part + 1) * ROWS), sums);
        });
    sums.fill(0.0);
    level.run(Sum {
        values: &partial,
        sums,
    });
}

/// Adds `values` to `to`, one by one.
pub(crate) fn add_to(to: &mut [f32], values: &[f32]) {
    to.iter_mut()
        .zip(values)
        .for_each(|(to, value)| *to += value);
}

struct Sum<'a> {
    values: &'a [f32],
    sums: &'a mut [f32],
}

impl WithSimd for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { values, sums } = self;
        let channels = sums.len();
        for values in values.chunks(stretch(channels) * channels) {
            macro_rules! block {
                ($vectors:literal, $columns:expr) => {{
                    let columns: (usize, usize) = $columns;
                    let centre = [simd.splat_f32s(0.0); $vectors];
                    let part = sum::<S, $vectors, false>(simd, values, channels, columns, centre);
                    let to = sums[columns.0..columns.1].chunks_mut(S::F32_LANES);
                    for (to, part) in to.zip(part) {
                        store(simd, to, simd.add_f32s(load(simd, to), part));
                    }
                }};
            }
            columns!(channels, S::F32_LANES, block);
        }
    }
}
