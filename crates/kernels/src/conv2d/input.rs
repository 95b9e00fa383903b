//! What a convolution is of, while training.
use rayon::prelude::*;

use super::Conv2d;
use crate::batch_norm::Normalizer;
use crate::error::{ShapeError, length};
use crate::sums::add_to;
use crate::tasks::{parts_mut, threads};

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

    /// As [`Self::images`], from the gradient `dy` of which the sums of the normalisation are added to `sums`: each image's by
    /// itself first, so that they don't depend on the threads.
    pub(super) fn images_summed<'b>(
        self,
        each: usize,
        (first, count): (usize, usize),
        room: &'b mut [f32],
        dy: &[f32],
        sums: &mut [f32],
    ) -> &'b [f32]
    where
        'a: 'b,
    {
        let x = &self.values()[first * each..(first + count) * each];
        let Some(by) = self.normalizer() else {
            return x;
        };
        let mut parts = vec![0.0; count * sums.len()];
        let image = |(index, (y, sums)): (usize, (&mut [f32], &mut [f32]))| {
            let here = index * each..(index + 1) * each;
            by.fill_and_sum(&x[here.clone()], &dy[here], y, sums);
        };
        if threads() == 1 {
            let parts = parts.chunks_mut(sums.len());
            room.chunks_mut(each).zip(parts).enumerate().for_each(image);
        } else {
            let parts = parts.par_chunks_mut(sums.len());
            room.par_chunks_mut(each)
                .zip(parts)
                .enumerate()
                .for_each(image);
        }
        parts.chunks(sums.len()).for_each(|part| add_to(sums, part));
        room
    }
}
