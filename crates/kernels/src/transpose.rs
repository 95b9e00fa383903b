//! Transposition of small matrices.

/// Writes the transpose of `rows` × `columns` values, whose rows begin `stride` apart, to `to`, in rows of `rows` values.
///
/// Goes square by square, so that both sides stay in the cache, and in the registers where the square is whole.
#[inline(always)]
pub(crate) fn transpose(from: &[f32], stride: usize, rows: usize, columns: usize, to: &mut [f32]) {
    for row in (0..rows).step_by(SIDE) {
        for column in (0..columns).step_by(SIDE) {
            if row + SIDE <= rows && column + SIDE <= columns {
                square(
                    &from[row * stride + column..],
                    stride,
                    &mut to[column * rows + row..],
                    rows,
                );
            } else {
                for r in row..rows.min(row + SIDE) {
                    for c in column..columns.min(column + SIDE) {
                        to[c * rows + r] = from[r * stride + c];
                    }
                }
            }
        }
    }
}

const SIDE: usize = 8;

#[inline(always)]
fn square(from: &[f32], stride: usize, to: &mut [f32], to_stride: usize) {
    let mut values = [[0.0; SIDE]; SIDE];
    for (row, values) in values.iter_mut().enumerate() {
        values.copy_from_slice(&from[row * stride..row * stride + SIDE]);
    }
    for column in 0..SIDE {
        let mut turned = [0.0; SIDE];
        for row in 0..SIDE {
            turned[row] = values[row][column];
        }
        to[column * to_stride..column * to_stride + SIDE].copy_from_slice(&turned);
    }
}
