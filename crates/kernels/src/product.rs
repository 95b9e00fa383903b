//! The one inner loop: a matrix product whose left rows are gathered from where they lie.
//!
//! `out[row][column] = Σ_k x[start(row) + offset(k)] · weights[k][column]`. With the starts at an image's pixels and the
//! offsets at a window's taps it is a convolution; with the two exchanged, the gradient of its kernel; with one row per
//! example, a dense layer. A tile of rows × columns stays in registers: each value of `x` is broadcast against vectors of
//! a row of weights.
// Loops over the registers of a tile read as the arithmetic they stand for.
#![allow(clippy::needless_range_loop)]
use pulp::Simd;

use crate::level::{clamp, load, store};
use crate::matrix::MatrixMut;

/// Where the rows of a product begin in `x`, and which row of the output each one is: two nested steps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    /// Steps of the inner loop.
    pub width: usize,
    /// Offset in `x` of the first row.
    pub input: usize,
    /// Step in `x` of the outer loop.
    pub input_row: usize,
    /// Step in `x` of the inner loop.
    pub input_column: usize,
    /// Output row of the first row.
    pub output: usize,
    /// Rows of the output that precede those at hand.
    pub skipped: usize,
    /// Step in output rows of the outer loop.
    pub output_row: usize,
    /// Step in output rows of the inner loop.
    pub output_column: usize,
}

/// Terms that are summed by themselves before they join the total: few enough for their weights to stay in the cache and
/// for the sum to stay accurate.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    /// Where in `x`, from the start of a row, each term's value lies.
    offsets: Vec<usize>,
    /// One past the largest of the offsets.
    reach: usize,
    /// The row of weights of the first term; the others follow it.
    weight: usize,
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

/// What is done to a finished sum on its way to memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finish<'a> {
    /// Added to each column.
    pub bias: Option<&'a [f32]>,
    /// Bounds that the result is held between.
    pub bounds: Option<(f32, f32)>,
}

impl Finish<'_> {
    /// Nothing.
    pub const NONE: Finish<'static> = Finish {
        bias: None,
        bounds: None,
    };
}

/// Whether the first chunk replaces what the output holds, or adds to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Replace,
    Add,
}

/// The right side of a product: rows of weights, `stride` apart, of which the columns from `column` on are used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weights<'a> {
    pub values: &'a [f32],
    pub stride: usize,
    pub column: usize,
}

/// Computes rows `from..to` of `grid` and all columns of `out`.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
pub(crate) fn product<S: Simd>(
    simd: S,
    x: &[f32],
    grid: &Grid,
    (from, to): (usize, usize),
    chunks: &[Chunk],
    weights: Weights,
    out: &mut MatrixMut,
    start: Start,
    finish: Finish,
) {
    let columns = out.columns();
    for (index, chunk) in chunks.iter().enumerate() {
        let add = index > 0 || start == Start::Add;
        let finish = if index + 1 == chunks.len() {
            finish
        } else {
            Finish::NONE
        };
        let mut column = 0;
        while column < columns {
            let left = columns - column;
            let block = Block {
                column,
                columns: left.min(2 * S::F32_LANES),
                add,
                finish,
            };
            if left > S::F32_LANES {
                panel::<S, 2>(simd, x, grid, (from, to), chunk, weights, out, block);
            } else {
                panel::<S, 1>(simd, x, grid, (from, to), chunk, weights, out, block);
            }
            column += block.columns;
        }
    }
}

/// The columns of the output that one panel fills, and how.
#[derive(Clone, Copy)]
struct Block<'a> {
    column: usize,
    columns: usize,
    add: bool,
    finish: Finish<'a>,
}

/// Computes all rows of a block of at most `V` vectors of columns.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn panel<S: Simd, const V: usize>(
    simd: S,
    x: &[f32],
    grid: &Grid,
    (from, to): (usize, usize),
    chunk: &Chunk,
    weights: Weights,
    out: &mut MatrixMut,
    block: Block,
) {
    let weights = Weights {
        column: weights.column + block.column,
        ..weights
    };
    let mut cursor = Cursor::new(grid, from);
    let mut row = from;
    macro_rules! tiles {
        ($($rows:literal)*) => {$(
            while to - row >= $rows {
                tile::<S, $rows, V>(simd, x, &mut cursor, chunk, weights, out, block);
                row += $rows;
            }
        )*};
    }
    // The largest tile leaves room for its sums, a broadcast value per row and the vectors of weights all at once:
    // 9 × 2 + 9 + 2 of the 32 registers of AVX-512 and NEON, 4 × 2 + 4 + 2 of the 16 of AVX2. Compilers load all the
    // values first, and a tile that is larger ends up in memory. The smaller tiles take what is left of the rows.
    if S::REGISTER_COUNT >= 32 {
        tiles!(9 4 2 1);
    } else {
        tiles!(4 2 1);
    }
}

/// Walks a grid without a division per row.
struct Cursor<'a> {
    grid: &'a Grid,
    column: usize,
    input_row: usize,
    output_row: usize,
    input: usize,
    output: usize,
}

impl<'a> Cursor<'a> {
    #[inline(always)]
    fn new(grid: &'a Grid, row: usize) -> Self {
        let (line, column) = (row / grid.width, row % grid.width);
        let input_row = grid.input + line * grid.input_row;
        let output_row = grid.output + line * grid.output_row;
        Self {
            grid,
            column,
            input_row,
            output_row,
            input: input_row + column * grid.input_column,
            output: output_row + column * grid.output_column,
        }
    }

    #[inline(always)]
    fn next(&mut self) -> (usize, usize) {
        let here = (self.input, self.output - self.grid.skipped);
        self.column += 1;
        if self.column == self.grid.width {
            self.column = 0;
            self.input_row += self.grid.input_row;
            self.output_row += self.grid.output_row;
            (self.input, self.output) = (self.input_row, self.output_row);
        } else {
            self.input += self.grid.input_column;
            self.output += self.grid.output_column;
        }
        here
    }
}

/// Computes `P` rows of a block.
#[inline(always)]
fn tile<S: Simd, const P: usize, const V: usize>(
    simd: S,
    x: &[f32],
    cursor: &mut Cursor,
    chunk: &Chunk,
    weights: Weights,
    out: &mut MatrixMut,
    block: Block,
) {
    let mut starts = [0; P];
    let mut rows = [0; P];
    for p in 0..P {
        (starts[p], rows[p]) = cursor.next();
    }
    let sums = sum::<S, P, V>(simd, x, &starts, chunk, weights);

    let Block {
        column,
        columns,
        add,
        finish,
    } = block;
    for p in 0..P {
        let row = &mut out.row(rows[p])[column..column + columns];
        for v in 0..V {
            let (low, high) = (v * S::F32_LANES, columns.min((v + 1) * S::F32_LANES));
            let mut value = sums[p][v];
            if add {
                value = simd.add_f32s(load(simd, &row[low..high]), value);
            }
            if let Some(bias) = finish.bias {
                value = simd.add_f32s(value, load(simd, &bias[column + low..column + high]));
            }
            if let Some((least, most)) = finish.bounds {
                value = clamp(simd, value, simd.splat_f32s(least), simd.splat_f32s(most));
            }
            store(simd, &mut row[low..high], value);
        }
    }
}

/// The sums of one chunk for `P` rows that begin at `starts` and `V` vectors of columns.
///
/// A row of weights is read as whole vectors even where the block is narrower: the lanes past it hold whatever follows in
/// memory, and aren't stored. Only rows at the very end, where nothing follows, are read in part.
#[inline(always)]
fn sum<S: Simd, const P: usize, const V: usize>(
    simd: S,
    x: &[f32],
    starts: &[usize; P],
    chunk: &Chunk,
    weights: Weights,
) -> [[S::f32s; V]; P] {
    let lanes = S::F32_LANES;
    let Weights {
        values,
        stride,
        column,
    } = weights;
    let mut sums = [[simd.splat_f32s(0.0); V]; P];
    for &start in starts {
        assert!(chunk.reach == 0 || start + chunk.reach <= x.len());
    }
    // How many terms come before the first row of weights that can't be read as whole vectors.
    let whole = (values.len() + stride).saturating_sub(column + V * lanes) / stride;
    let ready = whole.saturating_sub(chunk.weight).min(chunk.offsets.len());
    let mut row = values.as_ptr().wrapping_add(chunk.weight * stride + column);
    for &offset in &chunk.offsets[..ready] {
        let mut vectors = [simd.splat_f32s(0.0); V];
        for v in 0..V {
            // SAFETY: the term is one of the `ready`, so its row of weights has `V` whole vectors from `column` on.
            vectors[v] = unsafe { row.add(v * lanes).cast::<S::f32s>().read_unaligned() };
        }
        for p in 0..P {
            // SAFETY: `offset` is less than `reach`, and `starts[p] + reach` is within `x`.
            let value = simd.splat_f32s(unsafe { *x.as_ptr().add(offset).add(starts[p]) });
            for v in 0..V {
                sums[p][v] = simd.mul_add_e_f32s(value, vectors[v], sums[p][v]);
            }
        }
        row = row.wrapping_add(stride);
    }
    for (term, &offset) in chunk.offsets.iter().enumerate().skip(ready) {
        let row = &values[(chunk.weight + term) * stride + column..];
        for v in 0..V {
            let vector = load(simd, row.get(v * lanes..).unwrap_or_default());
            for p in 0..P {
                sums[p][v] =
                    simd.mul_add_e_f32s(simd.splat_f32s(x[starts[p] + offset]), vector, sums[p][v]);
            }
        }
    }
    sums
}
