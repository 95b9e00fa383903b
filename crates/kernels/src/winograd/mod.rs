//! Convolution with small square kernels by Winograd's minimal filtering: fewer multiplications.
//!
//! `F(4 × 4, 3 × 3)` and `F(2 × 2, 2 × 2)` of Lavin and Gray (2016): the output falls into tiles; the inputs of each tile
//! (6 × 6, or 3 × 3) and the kernel are transformed to as many positions, multiplied position by position, summed over
//! channels, and transformed back. The sums over channels are matrix products of tiles × input channels × output channels,
//! one for each position. That is a quarter of the multiplications for 3 × 3 weights, and 9 of 16 for 2 × 2.
//!
//! The transforms add and subtract neighbours, so an infinity or NaN would spread over its tile, and large values could
//! overflow. Where a result isn't finite, its line of tiles is computed anew, directly.
mod call;
mod grad;
mod kernels;
mod lines;
mod tiles;

use std::marker::PhantomData;

pub(crate) use self::call::Again;
use self::call::Call;
use self::kernels::Turn;
use self::lines::{F22, F43, Lines};
use crate::aligned::Aligned;
use crate::conv2d::Padding2d;
use crate::correlation::{Correlation, Task};
use crate::frame::Frame;
use crate::level::Level;
use crate::matrix::MatrixMut;
use crate::product::{Chunk, Finish};
use crate::tasks::tasks;

/// The most positions that a tile has.
const MOST: usize = 36;

/// The plan of a convolution, made from that of the direct one.
#[derive(Debug, Clone)]
pub(crate) enum Winograd {
    /// Of a 3 × 3 kernel.
    Three(Filter<F43, 3, 4, 6>),
    /// Of a 2 × 2 kernel.
    Two(Filter<F22, 2, 2, 3>),
}

/// Calls a method of the filter, whichever it is.
macro_rules! filter {
    ($winograd:expr, $filter:ident => $call:expr) => {
        match $winograd {
            Winograd::Three($filter) => $call,
            Winograd::Two($filter) => $call,
        }
    };
}

impl Winograd {
    /// The plan for the same as `direct`, whose kernel and dilation are given, if this is faster.
    pub fn new(
        direct: &Correlation,
        kernel: (usize, usize),
        dilation: (usize, usize),
    ) -> Option<Self> {
        if dilation != (1, 1) {
            return None;
        }
        match kernel {
            // A transform takes as long as some 400 multiplications with their loads, or 60.
            (3, 3) => Filter::new(direct, 400).map(Self::Three),
            (2, 2) => Filter::new(direct, 60).map(Self::Two),
            _ => None,
        }
    }

    /// The kernel, `[taps, taps, input channels, output channels]`, transformed: `[positions, input channels, output channels]`.
    pub fn turn(&self, level: Level, kernel: &[f32]) -> Aligned {
        filter!(self, filter => filter.turn(level, kernel))
    }

    /// Fills `out` from the images in `x`, the transformed kernel and, for what has to be computed directly, the kernel.
    pub fn run(
        &self,
        level: Level,
        x: &[f32],
        turned: &[f32],
        out: &mut [f32],
        finish: Finish,
        again: &Again,
    ) {
        filter!(self, filter => filter.run(level, x, turned, out, finish, again));
    }

    /// How many multiplications so many images are worth.
    pub fn work(&self, images: usize) -> usize {
        filter!(self, filter => filter.work(images))
    }

    /// Whether the gradient of the kernel is better told from sums over so many images than computed directly.
    pub fn sums_kernels(&self, images: usize) -> bool {
        filter!(self, filter => filter.sums_kernels(images))
    }

    /// The length of the transformed kernel, and of the sums that its gradient is told from.
    pub fn turned_len(&self) -> usize {
        filter!(self, filter => filter.turned_len())
    }

    /// Adds what the images in `x` and the gradients of their outputs give to the sums.
    pub fn add_sums(&self, level: Level, x: &[f32], dy: &[f32], sums: &mut [f32]) {
        filter!(self, filter => filter.add_sums(level, x, dy, sums));
    }

    /// Fills `dkernel` from the sums over all images; answers whether it is right. It isn't where something isn't finite,
    /// which may be this method's doing.
    pub fn turn_back(&self, level: Level, sums: &[f32], dkernel: &mut [f32]) -> bool {
        filter!(self, filter => filter.turn_back(level, sums, dkernel))
    }
}

/// A convolution by the transforms of `M`.
#[derive(Debug, Clone)]
pub(crate) struct Filter<M, const TAPS: usize, const TILE: usize, const PATCH: usize> {
    lines: PhantomData<M>,
    input: Frame,
    output: Frame,
    margins: Padding2d,
    /// Lines of tiles in an image, and tiles in a line.
    tiles: (usize, usize),
    chunks: Vec<Chunk>,
}

impl<M: Lines<TAPS, TILE, PATCH>, const TAPS: usize, const TILE: usize, const PATCH: usize>
    Filter<M, TAPS, TILE, PATCH>
{
    /// Positions of a tile.
    const POSITIONS: usize = PATCH * PATCH;

    /// The plan for the same as `direct`, if this is faster, where a tile's transform takes as long as `transform`
    /// multiplications of a vector.
    fn new(direct: &Correlation, transform: usize) -> Option<Self> {
        let Correlation {
            input,
            output,
            margins,
            groups,
            ..
        } = *direct;
        let strides = direct.phases.first().map(|phase| phase.steps);
        if groups != 1 || direct.phases.len() != 1 || strides != Some((1, 1)) {
            return None;
        }
        let tiles = (output.height.div_ceil(TILE), output.width.div_ceil(TILE));
        // In vectors of 16; the products of few channels take a little more than their number.
        let (inputs, outputs) = (input.channels.div_ceil(16), output.channels.div_ceil(16));
        let products = Self::POSITIONS * input.channels * outputs * 9 / 8;
        let transforms = transform * (inputs + outputs);
        let direct = output.height * output.width * TAPS * TAPS * input.channels * outputs;
        if tiles.0 * tiles.1 * (products + transforms) >= direct {
            return None;
        }
        let margins = Padding2d {
            bottom: tiles.0 * TILE + PATCH - TILE - input.height - margins.top,
            right: tiles.1 * TILE + PATCH - TILE - input.width - margins.left,
            ..margins
        };
        let chunks = Chunk::cut(&Vec::from_iter(0..input.channels), 0);
        Some(Self {
            lines: PhantomData,
            input,
            output,
            margins,
            tiles,
            chunks,
        })
    }

    fn turned_len(&self) -> usize {
        Self::POSITIONS * self.input.channels * self.output.channels
    }

    fn turn(&self, level: Level, kernel: &[f32]) -> Aligned {
        let mut turned = Aligned::zeros(self.turned_len());
        level.run(Turn::<M, TAPS, TILE, PATCH> {
            lines: PhantomData,
            kernel,
            turned: &mut turned,
        });
        turned
    }

    fn run(
        &self,
        level: Level,
        x: &[f32],
        turned: &[f32],
        out: &mut [f32],
        finish: Finish,
        again: &Again,
    ) {
        let images = out.len() / self.output.len();
        let lines = images * self.tiles.0;
        let task = Task {
            lines: (0, lines),
            column: 0,
            out: MatrixMut::new(out, self.output.channels),
        };
        let call = Call {
            plan: self,
            level,
            x,
            turned,
            finish,
            again,
        };
        // Tasks that share columns each transform the input anew, so they are fewer.
        call.split(task, tasks(self.work(images) / 4));
    }

    /// How many multiplications so many images are worth.
    fn work(&self, images: usize) -> usize {
        let tiles = images.saturating_mul(self.tiles.0 * self.tiles.1);
        tiles.saturating_mul(self.turned_len())
    }

    /// The first row of output of a line of tiles, counted over the whole batch.
    fn row(&self, line: usize) -> usize {
        line / self.tiles.0 * self.output.height + line % self.tiles.0 * TILE
    }
}
