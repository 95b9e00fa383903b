//! A shape: the extents of what flows between layers, channels last.

use std::fmt;

/// The extents of a tensor without its batch axis, channels last: `[28, 28, 1]` for an image,
/// `[10]` for a vector.
///
/// Displayed as Keras prints it, `(None, 28, 28, 1)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// A shape with these extents.
    pub fn new(dims: impl Into<Vec<usize>>) -> Self {
        Self(dims.into())
    }

    /// The extents, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// How many axes there are beside the batch axis.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Height, width and channels, if this is an image.
    pub fn as_image(&self) -> Option<[usize; 3]> {
        self.0.as_slice().try_into().ok()
    }

    /// The extent of the last axis, which Keras calls the channels or the features.
    pub fn channels(&self) -> Option<usize> {
        self.0.last().copied()
    }

    /// How many numbers one example has; `None` if that overflows.
    pub fn elements(&self) -> Option<usize> {
        self.0.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(None")?;
        for dim in &self.0 {
            write!(f, ", {dim}")?;
        }
        f.write_str(if self.0.is_empty() { ",)" } else { ")" })
    }
}
