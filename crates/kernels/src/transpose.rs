//! Transposition of small matrices.

/// Writes the transpose of `rows` × `columns` values, whose rows begin `stride` apart, to `to`, in rows of `rows` values.
pub(crate) fn transpose(from: &[f32], stride: usize, rows: usize, columns: usize, to: &mut [f32]) {
    let whole = (rows / SIDE * SIDE, columns / SIDE * SIDE);
    // Column by column of squares, so that what is written lies together.
    for column in (0..whole.1).step_by(SIDE) {
        for row in (0..whole.0).step_by(SIDE) {
            let (from, to) = (
                &from[row * stride + column..],
                &mut to[column * rows + row..],
            );
            square(std::array::from_fn(|row| &from[row * stride..]), to, rows);
        }
    }
    for row in 0..rows {
        let rest = if row < whole.0 { whole.1 } else { 0 };
        for column in rest..columns {
            to[column * rows + row] = from[row * stride + column];
        }
    }
}

/// Rows and columns of a square that is turned in registers.
const SIDE: usize = 4;

/// Writes the transpose of the first values of `rows` to rows of `to`, `stride` apart.
#[cfg(target_arch = "x86_64")]
#[inline]
fn square(rows: [&[f32]; SIDE], to: &mut [f32], stride: usize) {
    use std::arch::x86_64::{__m128, _MM_TRANSPOSE4_PS, _mm_loadu_ps, _mm_storeu_ps};

    // SAFETY: slicing to `SIDE` values makes sure that each row has as many to read.
    let [mut a, mut b, mut c, mut d]: [__m128; SIDE] =
        rows.map(|row| unsafe { _mm_loadu_ps(row[..SIDE].as_ptr()) });
    // SAFETY: SSE is part of x86-64.
    unsafe { _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d) };
    for (index, row) in [a, b, c, d].into_iter().enumerate() {
        // SAFETY: slicing to `SIDE` values makes sure that there is room for as many.
        unsafe { _mm_storeu_ps(to[index * stride..][..SIDE].as_mut_ptr(), row) };
    }
}

/// Writes the transpose of the first values of `rows` to rows of `to`, `stride` apart.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn square(rows: [&[f32]; SIDE], to: &mut [f32], stride: usize) {
    for (row, values) in rows.into_iter().enumerate() {
        for (column, value) in values[..SIDE].iter().enumerate() {
            to[column * stride + row] = *value;
        }
    }
}
