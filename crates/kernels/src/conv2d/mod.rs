//! Two-dimensional convolution.
mod back;
mod grads;
mod input;
mod output_grad;
mod prepared;
mod training;

pub use grads::Conv2dGrads;
pub use input::Input;
pub use output_grad::OutputGrad;
pub use prepared::PreparedConv2d;

use crate::activation::Activation;
use crate::aligned::Aligned;
use crate::correlation::{Correlation, Phase};
use crate::error::{ShapeError, batch, length, nonzero, terms, volume};
use crate::frame::Frame;
use crate::level::Level;
use crate::narrow::Narrow;
use crate::product::{Chunk, Finish};
use crate::window::{Axis, Tap, offsets};
use crate::winograd::{Again, Winograd};

/// Rows and columns of zeros around an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Padding2d {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns on the left.
    pub left: usize,
    /// Columns on the right.
    pub right: usize,
}

/// What a convolution is made of. Pairs are `(vertical, horizontal)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dShape {
    /// Height and width of an input image.
    pub input: (usize, usize),
    /// Channels of an input image.
    pub in_channels: usize,
    /// Channels of an output image.
    pub out_channels: usize,
    /// Height and width of the kernel.
    pub kernel: (usize, usize),
    /// Input pixels from one output pixel to the next.
    pub stride: (usize, usize),
    /// Input pixels from one tap of the kernel to the next.
    pub dilation: (usize, usize),
    /// Zeros around the input, less on every side than the dilated kernel spans.
    pub padding: Padding2d,
    /// Groups that the channels fall into, each convolved by itself. A depthwise convolution has one per input channel.
    pub groups: usize,
}

/// A convolution of one shape, for batches of any size.
///
/// `x` is `[n, height, width, in_channels]`, `kernel` is `[kernel height, kernel width, in_channels / groups,
/// out_channels]`, `y` is `[n, output height, output width, out_channels]`, where the output has
/// `(padded size - dilation · (kernel size - 1) - 1) / stride + 1` rows and columns. The kernel isn't flipped. Output
/// channels are ordered by group; Keras' `DepthwiseConv2D` with kernel `[kh, kw, channels, multiplier]` is
/// `groups = in_channels`, `out_channels = channels · multiplier`, with the kernel as it lies.
#[derive(Debug, Clone)]
pub struct Conv2d {
    shape: Conv2dShape,
    axes: (Axis, Axis),
    output: Frame,
    kernel_len: usize,
    forward: Correlation,
    method: Method,
    level: Level,
    /// Whether training goes through a batch from its last image to its first.
    from_last: bool,
}

/// How results are computed.
#[derive(Debug, Clone)]
enum Method {
    /// By the forward plan.
    Direct,
    Winograd(Winograd),
    Narrow(Narrow),
}

impl Method {
    /// Winograd's where it suits `direct`, else the direct one.
    fn of(direct: &Correlation, kernel: (usize, usize), dilation: (usize, usize)) -> Self {
        Winograd::new(direct, kernel, dilation).map_or(Self::Direct, Self::Winograd)
    }

    /// What the method derives from a kernel, unless it is the direct one.
    fn turn(&self, level: Level, kernel: &[f32]) -> Option<Aligned> {
        match self {
            Self::Direct => None,
            Self::Winograd(winograd) => Some(winograd.turn(level, kernel)),
            Self::Narrow(narrow) => Some(narrow.turn(kernel)),
        }
    }

    /// Computes `direct` with a kernel and what was derived from it.
    fn run(
        &self,
        level: Level,
        direct: &Correlation,
        x: &[f32],
        (kernel, turned): (&[f32], Option<&[f32]>),
        y: &mut [f32],
        finish: Finish,
    ) {
        match (self, turned) {
            (Self::Winograd(winograd), Some(turned)) => {
                let again = Again { direct, kernel };
                winograd.run(level, x, turned, y, finish, &again);
            }
            (Self::Narrow(narrow), Some(turned)) => narrow.run(level, x, turned, y, finish),
            _ => direct.run(level, x, kernel, y, finish),
        }
    }

    /// Winograd's method, where it is the one.
    fn winograd(&self) -> Option<&Winograd> {
        match self {
            Self::Winograd(winograd) => Some(winograd),
            Self::Direct | Self::Narrow(_) => None,
        }
    }
}

impl Conv2d {
    /// Plans the convolution of `shape`.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] if a size is 0 or the sizes are too large, the groups don't divide the channels, the kernel spans
    /// more than the padded image, or the padding reaches the kernel's span.
    pub fn new(shape: Conv2dShape) -> Result<Self, ShapeError> {
        let Conv2dShape {
            input,
            in_channels,
            out_channels,
            kernel,
            stride,
            dilation,
            padding,
            groups,
        } = shape;
        nonzero(&[
            ("the input height", input.0),
            ("the input width", input.1),
            ("the number of input channels", in_channels),
            ("the number of output channels", out_channels),
            ("the kernel height", kernel.0),
            ("the kernel width", kernel.1),
            ("the vertical stride", stride.0),
            ("the horizontal stride", stride.1),
            ("the vertical dilation", dilation.0),
            ("the horizontal dilation", dilation.1),
            ("the number of groups", groups),
        ])?;
        for channels in [in_channels, out_channels] {
            if channels % groups != 0 {
                return Err(ShapeError::Groups { channels, groups });
            }
        }
        let height = Axis::new(
            input.0,
            kernel.0,
            stride.0,
            dilation.0,
            (padding.top, padding.bottom),
        )?;
        let width = Axis::new(
            input.1,
            kernel.1,
            stride.1,
            dilation.1,
            (padding.left, padding.right),
        )?;
        let input = Frame {
            height: input.0,
            width: input.1,
            channels: in_channels,
        };
        let output = Frame {
            height: height.output,
            width: width.output,
            channels: out_channels,
        };
        volume(
            "a padded input image",
            &[height.padded, width.padded, in_channels],
        )?;
        volume(
            "an output image",
            &[output.height, output.width, out_channels],
        )?;
        let kernel_len = volume(
            "the kernel",
            &[kernel.0, kernel.1, in_channels / groups, out_channels],
        )?;
        terms(kernel_len / out_channels)?;
        terms(kernel_len / in_channels)?;
        volume(
            "a padded output image",
            &[height.back_padded(), width.back_padded(), out_channels],
        )?;

        let taps = Vec::from_iter((0..kernel.0).flat_map(|ky| {
            (0..kernel.1).map(move |kx| Tap {
                y: ky * dilation.0,
                x: kx * dilation.1,
            })
        }));
        let phase = Phase {
            rows: (0, 1, output.height),
            columns: (0, 1, output.width),
            first: (0, 0),
            steps: (height.stride, width.stride),
            tall: height.span,
            chunks: Chunk::cut(
                &offsets(&taps, width.padded, in_channels, in_channels / groups),
                0,
            ),
        };
        let forward = Correlation {
            input,
            margins: padding,
            output,
            border: Padding2d::default(),
            pooled: false,
            groups,
            phases: vec![phase],
            terms: kernel.0 * kernel.1 * (in_channels / groups),
        };
        let method = match Narrow::new(&forward, &taps, (&height, &width)) {
            Some(narrow) => Method::Narrow(narrow),
            None => Method::of(&forward, kernel, dilation),
        };
        Ok(Self {
            shape,
            axes: (height, width),
            output,
            kernel_len,
            method,
            forward,
            level: Level::default(),
            from_last: false,
        })
    }

    /// The same convolution on another instruction set.
    pub fn with_level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// The shape that this was made for.
    pub fn shape(&self) -> &Conv2dShape {
        &self.shape
    }

    /// Height and width of an output image.
    pub fn output(&self) -> (usize, usize) {
        (self.output.height, self.output.width)
    }

    /// Whether the image is copied only to be padded.
    fn pads(&self) -> bool {
        matches!(self.method, Method::Direct) && self.forward.margins != Padding2d::default()
    }

    /// Values in an input image.
    pub fn input_len(&self) -> usize {
        self.forward.input.len()
    }

    /// Values in an output image.
    pub fn output_len(&self) -> usize {
        self.output.len()
    }

    /// Values in the kernel.
    pub fn kernel_len(&self) -> usize {
        self.kernel_len
    }

    /// `y = activation(x ∗ kernel + bias)`; the bias is one value per output channel.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn forward(
        &self,
        x: &[f32],
        kernel: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
        y: &mut [f32],
    ) -> Result<(), ShapeError> {
        self.check(x.len(), kernel.len(), y.len())?;
        self.check_bias(bias)?;
        let turned = self.turn(kernel);
        let kernel = (kernel, turned.as_deref());
        self.run(&self.forward, x, kernel, bias, activation, y);
        Ok(())
    }

    /// What the method derives from a kernel, unless it is the direct one.
    fn turn(&self, kernel: &[f32]) -> Option<Aligned> {
        self.method.turn(self.level, kernel)
    }

    /// Computes `direct`, which is the forward plan or that with its output written otherwise, with a kernel and what was
    /// derived from it.
    fn run(
        &self,
        direct: &Correlation,
        x: &[f32],
        (kernel, turned): (&[f32], Option<&[f32]>),
        bias: Option<&[f32]>,
        activation: Activation,
        y: &mut [f32],
    ) {
        let bounds = activation.bounds();
        let finish = Finish {
            bias,
            bounds: bounds.unwrap_or(Finish::NONE.bounds),
        };
        let kernel = (kernel, turned);
        self.method.run(self.level, direct, x, kernel, y, finish);
        if bounds.is_none() {
            activation.apply(self.level, y);
        }
    }

    fn check_bias(&self, bias: Option<&[f32]>) -> Result<(), ShapeError> {
        bias.map_or(Ok(()), |bias| {
            length("the bias", bias.len(), self.shape.out_channels)
        })
    }

    fn check(&self, x: usize, kernel: usize, y: usize) -> Result<(), ShapeError> {
        let images = batch("the input", x, self.input_len())?;
        length("the kernel", kernel, self.kernel_len)?;
        length(
            "the output",
            y,
            volume("the output", &[images, self.output_len()])?,
        )
    }
}
