//! A convolution with its weights, for calling many times.
use super::{Conv2d, Conv2dShape, Method, Padding2d};
use crate::activation::Activation;
use crate::aligned::Aligned;
use crate::correlation::Correlation;
use crate::error::{ShapeError, batch, length, volume};
use crate::pool::Pool2dShape;
use crate::tasks::calls;

/// A convolution with its weights and activation, and what can be computed of them before there is an image.
///
/// It gives the bits of [`Conv2d::forward`]. What comes after it can be made part of it, so that its output passes through
/// memory once: a maximum [pooling](Self::pool), and the zeros that the next convolution [pads](Self::surround) it with.
#[derive(Debug, Clone)]
pub struct PreparedConv2d {
    plan: Conv2d,
    /// The plan's, or that with its output pooled or surrounded.
    direct: Correlation,
    kernel: Aligned,
    turned: Option<Aligned>,
    bias: Vec<f32>,
    activation: Activation,
}

impl PreparedConv2d {
    /// The convolution of `plan` with these weights; the bias is one value per output channel.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if the weights don't have the lengths that the plan gives them.
    pub fn new(
        plan: Conv2d,
        kernel: &[f32],
        bias: &[f32],
        activation: Activation,
    ) -> Result<Self, ShapeError> {
        length("the kernel", kernel.len(), plan.kernel_len)?;
        length("the bias", bias.len(), plan.shape.out_channels)?;
        let turned = plan.turn(kernel);
        let mut aligned = Aligned::zeros(kernel.len());
        aligned.copy_from_slice(kernel);
        Ok(Self {
            direct: plan.forward.clone(),
            plan,
            kernel: aligned,
            turned,
            bias: bias.to_vec(),
            activation,
        })
    }

    /// Values in an input image.
    pub fn input_len(&self) -> usize {
        self.plan.input_len()
    }

    /// Values in an output image, with what is written around it.
    pub fn output_len(&self) -> usize {
        self.direct.bordered().len()
    }

    /// Values in the kernel.
    pub fn kernel_len(&self) -> usize {
        self.kernel.len()
    }

    /// Whether results are written as they are summed, and not in tiles or again.
    fn is_direct(&self) -> bool {
        self.turned.is_none() && self.activation.bounds().is_some()
    }

    /// Whether so many images are enough for the other threads of the caller's pool to be called.
    pub fn splits(&self, images: usize) -> bool {
        calls(match &self.plan.method {
            Method::Direct => self.direct.work(images),
            Method::Winograd(winograd) => winograd.work(images),
            Method::Narrow(narrow) => narrow.work(images),
        })
    }

    /// Makes the output that which `pool` would make of it, if it can, and answers whether it has: it pools by 2 × 2
    /// without padding, where the convolution is computed directly and has few terms and one group.
    pub fn pool(&mut self, pool: &Pool2dShape) -> bool {
        let Correlation {
            output,
            border,
            pooled,
            groups,
            ..
        } = self.direct;
        let fits = self.is_direct()
            && !pooled
            && border == Padding2d::default()
            && groups == 1
            && (pool.window, pool.stride) == ((2, 2), (2, 2))
            && pool.padding == Padding2d::default()
            && pool.input == (output.height, output.width)
            && pool.channels == output.channels
            && output.height >= 2
            && output.width >= 2;
        let phase = match self.direct.phases.as_mut_slice() {
            [phase] if fits && phase.chunks.len() == 1 => phase,
            _ => return false,
        };
        self.direct.output.height /= 2;
        self.direct.output.width /= 2;
        phase.rows.2 = self.direct.output.height;
        phase.columns.2 = self.direct.output.width;
        phase.tall += phase.steps.0;
        phase.steps = (2 * phase.steps.0, 2 * phase.steps.1);
        self.direct.pooled = true;
        self.direct.terms *= 4;
        true
    }

    /// Writes the zeros that `next` pads its input with around each image of the output, if it can and that spares a copy.
    /// Answers the shape of a convolution of what is written then.
    pub fn surround(&mut self, next: &Conv2d) -> Option<Conv2dShape> {
        let shape = next.shape;
        let output = self.direct.output;
        let fits = self.is_direct()
            && next.pads()
            && shape.input == (output.height, output.width)
            && shape.in_channels == output.channels;
        if !fits {
            return None;
        }
        self.direct.border = shape.padding;
        let padded = self.direct.bordered();
        Some(Conv2dShape {
            input: (padded.height, padded.width),
            padding: Padding2d::default(),
            ..shape
        })
    }

    /// `y = activation(x ∗ kernel + bias)`, and what else was made part of it.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn forward(&self, x: &[f32], y: &mut [f32]) -> Result<(), ShapeError> {
        let images = batch("the input", x.len(), self.input_len())?;
        let output = volume("the output", &[images, self.output_len()])?;
        length("the output", y.len(), output)?;
        let kernel = (&*self.kernel, self.turned.as_deref());
        let (bias, activation) = (Some(&*self.bias), self.activation);
        self.plan.run(&self.direct, x, kernel, bias, activation, y);
        Ok(())
    }
}
