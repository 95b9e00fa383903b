//! Transposition of small matrices.

/// Writes the transpose of `rows` × `columns` values, whose rows begin `stride` apart, to `to`, in rows of `rows` values.
///
/// Goes square by square, so that both sides stay in the cache.
pub(crate) fn transpose(from: &[f32], stride: usize, rows: usize, columns: usize, to: &mut [f32]) {
    const SQUARE: usize = 16;
    for row in (0..rows).step_by(SQUARE) {
        let high = rows.min(row + SQUARE);
        for column in (0..columns).step_by(SQUARE) {
            for c in column..columns.min(column + SQUARE) {
                let to = &mut to[c * rows + row..c * rows + high];
                for (offset, to) in to.iter_mut().enumerate() {
                    *to = from[(row + offset) * stride + c];
                }
            }
        }
    }
}
