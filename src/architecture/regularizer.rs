//! A regularizer: what the size of a weight adds to the loss.

/// `l1 · Σ|w| + l2 · Σw²`, Keras' `L1`, `L2` and `L1L2`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Regularizer {
    /// The factor of the absolute values.
    pub l1: f64,
    /// The factor of the squares.
    pub l2: f64,
}
