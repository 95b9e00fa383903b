//! The one inner loop: a matrix product whose left rows are gathered from where they lie.
//!
//! `out[row][column] = Σ_k x[start(row) + offset(k)] · weights[k][column]`. With the starts at an image's pixels and the
//! offsets at a window's taps it is a convolution; with the two exchanged, the gradient of its kernel; with one row per
//! example, a dense layer. A tile of rows × columns stays in registers: each value of `x` is broadcast against vectors of
//! a row of weights.
//!
//! Where every column has an input of its own, as in a depthwise convolution, the value isn't broadcast but read beside
//! the weights: `out[row][column] = Σ_k x[start(row) + offset(k) + column] · weights[k][column]`.
use pulp::{Simd, WithSimd};

use crate::grid::Grid;
use crate::level::Level;
use crate::matrix::MatrixMut;
use crate::tile::{Block, panel, pooled_panel};

/// A product, or as much of one as a task computes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product<'a> {
    pub factor: Factor,
    pub x: &'a [f32],
    pub grid: Grid,
    /// Which of the grid's rows, from and to.
    pub rows: (usize, usize),
    pub chunks: &'a [Chunk],
    pub weights: Weights<'a>,
    pub start: Start,
    pub finish: Finish<'a>,
    /// Where the four rows begin, from the start of each of the grid's, of which the output gets the largest sums: a
    /// 2 × 2 maximum pooling of the product. There is one chunk then, which replaces what the output holds.
    pub windows: Option<[usize; 4]>,
}

/// Terms that are summed by themselves before they join the total: few enough for their weights to stay in the cache and
/// for the sum to stay accurate.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    /// Where in `x`, from the start of a row, each term's value lies.
    pub offsets: Vec<usize>,
    /// One past the largest of the offsets.
    pub reach: usize,
    /// The row of weights of the first term; the others follow it.
    pub weight: usize,
}

/// Terms in a chunk, at most: 512 rows of 32 columns of weights are 64 KiB, well inside a second-level cache.
const CHUNK: usize = 512;

impl Chunk {
    /// One chunk of terms at `offsets`, their weights from row `weight` on.
    pub fn new(offsets: Vec<usize>, weight: usize) -> Self {
        let reach = offsets.iter().max().map_or(0, |last| last + 1);
        Self {
            offsets,
            reach,
            weight,
        }
    }

    /// Chunks of bounded length for the terms at `offsets`; one empty chunk if there are none.
    pub fn cut(offsets: &[usize], weight: usize) -> Vec<Self> {
        if offsets.is_empty() {
            return vec![Self::new(Vec::new(), weight)];
        }
        let chunk = |(index, offsets): (usize, &[usize])| {
            Self::new(offsets.to_vec(), weight + index * CHUNK)
        };
        offsets.chunks(CHUNK).enumerate().map(chunk).collect()
    }
}

/// The right side of a product: rows of weights, `stride` apart, of which the columns from `column` on are used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weights<'a> {
    pub values: &'a [f32],
    pub stride: usize,
    pub column: usize,
}

impl Weights<'_> {
    /// How many of the chunk's terms come before the first whose row of weights can't be read `wide` from `column` on.
    #[inline(always)]
    pub fn ready(&self, chunk: &Chunk, wide: usize) -> usize {
        let rows =
            (self.values.len() + self.stride).saturating_sub(self.column + wide) / self.stride;
        rows.saturating_sub(chunk.weight).min(chunk.offsets.len())
    }
}

/// What a term multiplies the weights by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Factor {
    /// One value of `x` for all columns.
    Broadcast,
    /// For each column the value of `x` that is so many columns further on.
    Lanes,
}

/// What is done to a finished sum on its way to memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finish<'a> {
    /// Added to each column.
    pub bias: Option<&'a [f32]>,
    /// Bounds that the result is held between; infinite ones cost nothing.
    pub bounds: (f32, f32),
}

impl Finish<'_> {
    /// Nothing.
    pub const NONE: Finish<'static> = Finish {
        bias: None,
        bounds: (f32::NEG_INFINITY, f32::INFINITY),
    };
}

/// Whether the first chunk replaces what the output holds, or adds to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Replace,
    Add,
}

impl Product<'_> {
    /// Computes all columns of `out`.
    pub fn run(&self, level: Level, out: &mut MatrixMut) {
        level.run(Run { product: self, out });
    }
}

struct Run<'a, 'b> {
    product: &'a Product<'a>,
    out: &'a mut MatrixMut<'b>,
}

impl WithSimd for Run<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { product, out } = self;
        let columns = out.columns();
        for (index, chunk) in product.chunks.iter().enumerate() {
            let last = index + 1 == product.chunks.len();
            let add = index > 0 || product.start == Start::Add;
            let finish = if last { product.finish } else { Finish::NONE };
            let mut column = 0;
            while column < columns {
                let left = columns - column;
                // One or two rows alone are a few sums, so they take more columns at a time.
                let few = product.rows.1 - product.rows.0 <= 2 && product.windows.is_none();
                let vectors = left.div_ceil(S::F32_LANES).min(if few { 4 } else { 2 });
                let block = Block {
                    product,
                    chunk,
                    column,
                    columns: left.min(vectors * S::F32_LANES),
                    add,
                    finish,
                };
                match (product.factor, vectors) {
                    _ if let Some(windows) = product.windows => match vectors {
                        1 => pooled_panel::<S, 1>(simd, block, windows, out),
                        _ => pooled_panel::<S, 2>(simd, block, windows, out),
                    },
                    (Factor::Broadcast, 1) => panel::<S, 1, false>(simd, block, out),
                    (Factor::Broadcast, 2) => panel::<S, 2, false>(simd, block, out),
                    (Factor::Broadcast, _) => panel::<S, 4, false>(simd, block, out),
                    (Factor::Lanes, 1) => panel::<S, 1, true>(simd, block, out),
                    (Factor::Lanes, 2) => panel::<S, 2, true>(simd, block, out),
                    (Factor::Lanes, _) => panel::<S, 4, true>(simd, block, out),
                }
                column += block.columns;
            }
        }
    }
}
