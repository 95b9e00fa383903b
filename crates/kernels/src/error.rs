//! The error of a call whose shapes don't fit.
use std::fmt;

/// Why a plan can't be made, or a call can't be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShapeError {
    /// A size that has to be at least 1 is 0.
    Zero {
        /// Which size.
        what: &'static str,
    },
    /// A product of sizes is past what memory can hold.
    TooLarge {
        /// Which product.
        what: &'static str,
    },
    /// The groups don't divide the channels.
    Groups {
        /// The channels that were to be divided.
        channels: usize,
        /// The groups asked for.
        groups: usize,
    },
    /// The window, dilated, is larger than the padded image.
    Window {
        /// Rows or columns that the window spans.
        window: usize,
        /// Rows or columns of the padded image.
        image: usize,
    },
    /// The padding on one side is as large as the window, which would make outputs of nothing but padding.
    Padding {
        /// Rows or columns of padding on the widest side.
        padding: usize,
        /// Rows or columns that the window spans.
        window: usize,
    },
    /// A slice has another length than the shape gives it.
    Length {
        /// Which slice.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length that the shape gives it; for the first slice of a batch, one that it must be a multiple of.
        expected: usize,
    },
}

impl ShapeError {
    /// A stable name for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Zero { .. } => "size_zero",
            Self::TooLarge { .. } => "size_too_large",
            Self::Groups { .. } => "groups_indivisible",
            Self::Window { .. } => "window_exceeds_image",
            Self::Padding { .. } => "padding_exceeds_window",
            Self::Length { .. } => "length_mismatch",
        }
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero { what } => write!(f, "{what} is 0; it must be at least 1"),
            Self::TooLarge { what } => write!(
                f,
                "{what} is past what memory can hold; make the sizes smaller"
            ),
            Self::Groups { channels, groups } => {
                write!(
                    f,
                    "{groups} groups don't divide {channels} channels; choose a divisor of the channels"
                )
            }
            Self::Window { window, image } => write!(
                f,
                "the window spans {window} and the padded image only {image}; make the window smaller or pad more"
            ),
            Self::Padding { padding, window } => write!(
                f,
                "a side is padded by {padding} and the window spans {window}; the padding must be less than the window"
            ),
            Self::Length {
                what,
                found,
                expected,
            } => {
                write!(
                    f,
                    "{what} holds {found} values where its shape needs {expected}"
                )
            }
        }
    }
}

impl std::error::Error for ShapeError {}

/// The product of `sizes`, refused when an array of so many `f32` couldn't exist.
pub(crate) fn volume(what: &'static str, sizes: &[usize]) -> Result<usize, ShapeError> {
    sizes
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))
        .filter(|&product| product <= isize::MAX as usize / size_of::<f32>())
        .ok_or(ShapeError::TooLarge { what })
}

/// Terms of one output value at most; a plan keeps a list of them.
const TERMS: usize = 1 << 24;

/// Refuses sums whose list of terms would be a burden on memory.
pub(crate) fn terms(count: usize) -> Result<(), ShapeError> {
    if count <= TERMS {
        Ok(())
    } else {
        Err(ShapeError::TooLarge {
            what: "the number of terms in one output value",
        })
    }
}

/// Refuses a size of 0.
pub(crate) fn nonzero(sizes: &[(&'static str, usize)]) -> Result<(), ShapeError> {
    match sizes.iter().find(|(_, size)| *size == 0) {
        Some(&(what, _)) => Err(ShapeError::Zero { what }),
        None => Ok(()),
    }
}

/// Refuses a slice of another length than `expected`.
pub(crate) fn length(what: &'static str, found: usize, expected: usize) -> Result<(), ShapeError> {
    if found == expected {
        Ok(())
    } else {
        Err(ShapeError::Length {
            what,
            found,
            expected,
        })
    }
}

/// How many items of length `each` lie in a slice of length `found`.
pub(crate) fn batch(what: &'static str, found: usize, each: usize) -> Result<usize, ShapeError> {
    if found.is_multiple_of(each) {
        Ok(found / each)
    } else {
        Err(ShapeError::Length {
            what,
            found,
            expected: each,
        })
    }
}
