//! What a convolution is of, while training.
use super::Conv2d;
use crate::batch_norm::Normalizer;
use crate::error::{ShapeError, length};
use crate::tasks::parts_mut;

/// The images that are convolved, or what they are made of.
///
/// What has to be computed first is so a few images at a time, while they are in the cache, and never lies in memory as a
/// whole.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// They themselves.
    Plain(&'a [f32]),
    /// A batch normalisation, with its activation.
    Normalized {
        /// The normalisation.
        by: &'a Normalizer,
        /// What is normalised.
        x: &'a [f32],
    },
}

impl<'a> Input<'a> {
    /// The values, or those that they are made of.
    pub(super) fn values(self) -> &'a [f32] {
        match self {
            Self::Plain(x) | Self::Normalized { x, .. } => x,
        }
    }

    /// The normalisation that makes them.
    pub(super) fn normalizer(self) -> Option<&'a Normalizer> {
        match self {
            Self::Plain(_) => None,
            Self::Normalized { by, .. } => Some(by),
        }
    }

    pub(super) fn check(self, plan: &Conv2d) -> Result<(), ShapeError> {
        self.normalizer().map_or(Ok(()), |by| {
            length("the moments", by.channels(), plan.shape.in_channels)
        })
    }

    /// How much room [`Self::images`] needs for so many values.
    pub(super) fn room(self, values: usize) -> usize {
        self.normalizer().map_or(0, |_| values)
    }

    /// `count` images of `each` values from `first` on; `room` holds as many where they are made.
    pub(super) fn images<'b>(
        self,
        each: usize,
        (first, count): (usize, usize),
        room: &'b mut [f32],
    ) -> &'b [f32]
    where
        'a: 'b,
    {
        let x = &self.values()[first * each..(first + count) * each];
        let Some(by) = self.normalizer() else {
            return x;
        };
        parts_mut(room, each, |index, room| {
            by.fill(&x[index * each..(index + 1) * each], room);
        });
        room
    }
}
