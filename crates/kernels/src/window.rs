//! How a window moves along one direction of an image, there and back.
use crate::error::ShapeError;

/// One direction of a convolution.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    input: usize,
    taps: usize,
    dilation: usize,
    before: usize,
    /// Pixels from one output pixel to the next; at most `padded`, past which it makes no difference.
    pub stride: usize,
    /// The input with its padding.
    pub padded: usize,
    /// Pixels from the first tap to the last, both included.
    pub span: usize,
    pub output: usize,
}

impl Axis {
    pub fn new(
        input: usize,
        taps: usize,
        stride: usize,
        dilation: usize,
        (before, after): (usize, usize),
    ) -> Result<Self, ShapeError> {
        let span = (taps - 1)
            .checked_mul(dilation)
            .and_then(|steps| steps.checked_add(1));
        let span = span.ok_or(ShapeError::TooLarge {
            what: "the dilated kernel",
        })?;
        let padding = before.max(after);
        if padding >= span {
            return Err(ShapeError::Padding {
                padding,
                window: span,
            });
        }
        let padded = input
            .checked_add(before)
            .and_then(|size| size.checked_add(after));
        let padded = padded.ok_or(ShapeError::TooLarge {
            what: "the padded image",
        })?;
        let room = padded.checked_sub(span).ok_or(ShapeError::Window {
            window: span,
            image: padded,
        })?;
        let stride = stride.min(padded);
        Ok(Self {
            input,
            taps,
            dilation,
            before,
            stride,
            padded,
            span,
            output: room / stride + 1,
        })
    }

    /// The zeros that the output needs before and after it for every input pixel to find all its taps.
    pub fn back_margins(&self) -> (usize, usize) {
        let before = (self.span - 1 - self.before).div_ceil(self.stride);
        let last = (self.input - 1 + self.before) / self.stride;
        (before, last.saturating_sub(self.output - 1))
    }

    /// The output with those zeros.
    pub fn back_padded(&self) -> usize {
        let (before, after) = self.back_margins();
        before.saturating_add(self.output).saturating_add(after)
    }

    /// Input pixels by which taps fall on them.
    ///
    /// Input pixel `i` meets tap `k` at output pixel `(i + before - k · dilation) / stride` where that is whole.
    pub fn back_phases(&self) -> Vec<BackPhase> {
        let margin = self.back_margins().0;
        let phase = |start: usize| {
            let (quotient, rest) = (
                (start + self.before) / self.stride,
                (start + self.before) % self.stride,
            );
            let taps = (0..self.taps)
                .rev()
                .filter(|tap| tap * self.dilation % self.stride == rest);
            // How many output pixels before `quotient` a tap is.
            let back = |tap: usize| (tap * self.dilation - rest) / self.stride;
            let farthest = taps.clone().next().map_or(0, back);
            BackPhase {
                start,
                count: (self.input - start).div_ceil(self.stride),
                first: if taps.clone().next().is_some() {
                    margin + quotient - farthest
                } else {
                    0
                },
                taps: taps
                    .map(|index| BackTap {
                        index,
                        offset: farthest - back(index),
                    })
                    .collect(),
            }
        };
        (0..self.stride.min(self.input)).map(phase).collect()
    }
}

/// Input pixels, one stride apart, that the same taps fall on.
pub(crate) struct BackPhase {
    /// The first of them, and how many.
    pub start: usize,
    pub count: usize,
    /// The padded output pixel under the first of the taps at the first input pixel.
    pub first: usize,
    /// The taps, last to first, which is their order in the output.
    pub taps: Vec<BackTap>,
}

/// A tap of the kernel, and its offset in the output from the first tap of the phase.
pub(crate) struct BackTap {
    pub index: usize,
    pub offset: usize,
}

/// Rows and columns from the window's first tap to another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tap {
    pub y: usize,
    pub x: usize,
}

/// Where the terms of a window with these taps lie in an image `width` wide with `channels`, of which the first `used`
/// belong to a group: tap after tap, channel after channel.
pub(crate) fn offsets(taps: &[Tap], width: usize, channels: usize, used: usize) -> Vec<usize> {
    taps.iter()
        .flat_map(|tap| {
            let first = (tap.y * width + tap.x) * channels;
            first..first + used
        })
        .collect()
}
