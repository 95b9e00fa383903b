//! The gradient of a convolution's output, as far as it is known.
use super::Conv2d;
use crate::activation::Activation;
use crate::batch_norm::BatchNormBack;
use crate::error::{ShapeError, length};
use crate::level::Level;
use crate::pool::MaxPool2d;
use crate::scratch::with_scratch;
use crate::tasks::parts_mut;

/// The gradient of a convolution's output, before any activation: it itself, or that of what was made of the output.
///
/// What has to be computed first is so an image at a time, while it is in the cache.
#[derive(Debug, Clone, Copy)]
pub enum OutputGrad<'a> {
    /// It itself.
    Plain(&'a [f32]),
    /// That of an activation of the output.
    Activated {
        /// The activation.
        activation: Activation,
        /// Its values.
        y: &'a [f32],
        /// Their gradient.
        dy: &'a [f32],
    },
    /// That of a maximum pooling of an activation of the output; see [`Conv2d::forward_pooled`].
    Pooled {
        /// The activation.
        activation: Activation,
        /// The pooling of its values.
        pool: &'a MaxPool2d,
        /// What was pooled from them.
        y: &'a [f32],
        /// Where in their windows the values were found.
        places: &'a [f32],
        /// Its gradient.
        dy: &'a [f32],
    },
    /// That of a batch normalisation of the output.
    Normalized {
        /// The way back through it.
        back: &'a BatchNormBack,
        /// The output.
        y: &'a [f32],
        /// The gradient of what it was normalised to.
        dy: &'a [f32],
    },
}

impl<'a> OutputGrad<'a> {
    /// The number of images, if all lengths fit.
    pub(super) fn check(
        &self,
        plan: &Conv2d,
        x: usize,
        kernel: usize,
    ) -> Result<usize, ShapeError> {
        match *self {
            Self::Plain(dy) => plan.check(x, kernel, dy.len())?,
            Self::Activated { y, dy, .. } => {
                plan.check(x, kernel, y.len())?;
                length("the output's gradient", dy.len(), y.len())?;
            }
            Self::Normalized { back, y, dy } => {
                plan.check(x, kernel, y.len())?;
                length("the moments", back.channels(), plan.shape.out_channels)?;
                back.check(y.len(), dy.len())?;
            }
            Self::Pooled {
                pool,
                y,
                places,
                dy,
                ..
            } => {
                let images = plan.check_pooled(x, kernel, pool, y.len(), places.len())?;
                length("the output's gradient", dy.len(), y.len())?;
                return Ok(images);
            }
        }
        Ok(x / plan.input_len())
    }

    /// Whether an image of it has to be computed.
    pub(super) fn is_made(&self) -> bool {
        !matches!(
            self,
            Self::Plain(_)
                | Self::Activated {
                    activation: Activation::Linear,
                    ..
                }
        )
    }

    /// The gradient of `count` images of the output, of `each` values, from `first` on; `room` holds as many where they
    /// are made.
    pub(super) fn images<'b>(
        &self,
        level: Level,
        each: usize,
        (first, count): (usize, usize),
        room: &'b mut [f32],
    ) -> &'b [f32]
    where
        'a: 'b,
    {
        match *self {
            Self::Plain(dy) | Self::Activated { dy, .. } if !self.is_made() => {
                &dy[first * each..(first + count) * each]
            }
            _ => {
                parts_mut(room, each, |index, room| {
                    self.image(level, first + index, room);
                });
                room
            }
        }
    }

    /// Fills `dx` with one image.
    fn image(&self, level: Level, image: usize, dx: &mut [f32]) {
        let here = |values: &'a [f32]| &values[image * dx.len()..(image + 1) * dx.len()];
        match *self {
            Self::Plain(dy) => dx.copy_from_slice(here(dy)),
            Self::Activated { activation, y, dy } => {
                activation.fill_grad(level, here(y), here(dy), dx);
            }
            Self::Normalized { back, y, dy } => back.fill(here(y), here(dy), dx),
            Self::Pooled {
                activation,
                pool,
                y,
                places,
                dy,
            } => {
                let each = pool.output_len();
                let range = image * each..(image + 1) * each;
                with_scratch(each, |dz| {
                    activation.fill_grad(level, &y[range.clone()], &dy[range.clone()], dz);
                    pool.scatter(level, &places[range], dz, dx);
                });
            }
        }
    }
}
