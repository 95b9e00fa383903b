//! Convolution while training, with what comes after it: what is made of an image of the output is made while the image is
//! in the cache.
use rayon::prelude::*;

use super::{Conv2d, Input};
use crate::activation::Activation;
use crate::batch_norm::BatchNorm;
use crate::error::{ShapeError, batch, length, volume};
use crate::pool::MaxPool2d;
use crate::scratch::with_scratch;
use crate::tasks::{alone, threads};

/// Values of output that are computed at a time, at least: 128 KiB.
const DIRECT: usize = 1 << 15;

/// As [`DIRECT`], where a transformed kernel is gone through each time: 1 MiB.
const WINOGRAD: usize = 1 << 18;

impl Conv2d {
    /// The same convolution, whose [`Self::forward_moments`] goes through a batch from its last image to its first, and its
    /// [`Self::grads`] the other way.
    ///
    /// Gradients always go the other way than the forward pass, and who reads what a convolution has written should too: what
    /// was written last is likely to be in the cache still.
    pub fn from_last(self) -> Self {
        Self {
            from_last: true,
            ..self
        }
    }

    /// `y = x ∗ kernel + bias`, and the `moments` of `y` that `norm` needs, the means and then the variances of the
    /// channels.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn forward_moments(
        &self,
        x: Input,
        kernel: &[f32],
        bias: Option<&[f32]>,
        norm: &BatchNorm,
        y: &mut [f32],
        moments: &mut [f32],
    ) -> Result<(), ShapeError> {
        let len = x.values().len();
        self.check(len, kernel.len(), y.len())?;
        x.check(self)?;
        self.check_bias(bias)?;
        norm.check(y.len(), moments.len())?;
        length("the moments", moments.len(), 2 * self.shape.out_channels)?;
        let turned = self.turn(kernel);
        let kernel = (kernel, turned.as_deref());
        let (inputs, outputs) = (self.input_len(), self.output_len());
        let step = self.step(len / inputs);
        // Image by image, so the moments don't depend on the steps.
        let part = |(index, y): (usize, &mut [f32])| {
            let count = y.len() / outputs;
            with_scratch(x.room(count * inputs), |room| {
                step.run(|| {
                    let x = x.images(inputs, (index * step.images, count), room);
                    self.run(&self.forward, x, kernel, bias, Activation::Linear, y);
                });
            });
            let parts: Vec<_> = y.chunks(outputs).map(|y| norm.part(y)).collect();
            parts
        };
        let steps = y.par_chunks_mut(step.images * outputs).enumerate();
        let parts: Vec<_> = if self.from_last {
            let mut parts: Vec<_> = steps.rev().map(part).collect();
            parts.reverse();
            parts
        } else {
            steps.map(part).collect()
        };
        let parts = parts.concat();
        norm.join(&parts, moments);
        Ok(())
    }

    /// Whether [`Self::forward_pooled`] can pool with `pool`: its input is this one's output, and its windows aren't
    /// enormous.
    pub fn pools(&self, pool: &MaxPool2d) -> bool {
        pool.pools(
            (self.output.height, self.output.width),
            self.output.channels,
        )
    }

    /// `y`, the maximum pooling of `activation(x ∗ kernel + bias)`, and the places in their windows where the values
    /// were found.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it, or the pooling has another input
    /// than this output.
    pub fn forward_pooled(
        &self,
        x: &[f32],
        kernel: &[f32],
        bias: Option<&[f32]>,
        (activation, pool): (Activation, &MaxPool2d),
        y: &mut [f32],
        places: &mut [f32],
    ) -> Result<(), ShapeError> {
        let images = self.check_pooled(x.len(), kernel.len(), pool, y.len(), places.len())?;
        self.check_bias(bias)?;
        let turned = self.turn(kernel);
        let kernel = (kernel, turned.as_deref());
        let step = self.step(images);
        let pooled = step.images * pool.output_len();
        y.par_chunks_mut(pooled)
            .zip(places.par_chunks_mut(pooled))
            .zip(x.par_chunks(step.images * self.input_len()))
            .for_each(|((y, places), x)| {
                let images = x.len() / self.input_len();
                with_scratch(images * self.output_len(), |room| {
                    step.run(|| self.run(&self.forward, x, kernel, bias, activation, room));
                    pool.find(self.level, room, y, places);
                });
            });
        Ok(())
    }

    /// The number of images, if all lengths fit.
    pub(super) fn check_pooled(
        &self,
        x: usize,
        kernel: usize,
        pool: &MaxPool2d,
        y: usize,
        places: usize,
    ) -> Result<usize, ShapeError> {
        let images = batch("the input", x, self.input_len())?;
        length("the kernel", kernel, self.kernel_len)?;
        if !self.pools(pool) {
            return length("the pooling's input", pool.input_len(), self.output_len()).and(Err(
                ShapeError::TooLarge {
                    what: "the pooling's window",
                },
            ));
        }
        let pooled = volume("the output", &[images, pool.output_len()])?;
        length("the output", y, pooled)?;
        length("the places", places, pooled)?;
        Ok(images)
    }

    /// How a batch is cut.
    fn step(&self, images: usize) -> Step {
        let least = if self.method.winograd().is_some() {
            WINOGRAD
        } else {
            DIRECT
        };
        let threads = threads();
        let share = images.div_ceil(2 * threads).max(1);
        let step = (least / self.output_len()).clamp(1, share);
        Step {
            images: step,
            enough: images.div_ceil(step) >= threads,
        }
    }
}

/// Images that a task takes at a time.
#[derive(Clone, Copy)]
struct Step {
    images: usize,
    /// Whether there are tasks for all threads.
    enough: bool,
}

impl Step {
    fn run(self, work: impl FnOnce()) {
        if self.enough { alone(work) } else { work() }
    }
}
