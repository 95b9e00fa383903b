//! A tile of rows × columns of a product, summed in registers.
// Loops over the registers of a tile read as the arithmetic they stand for.
#![allow(clippy::needless_range_loop)]
use pulp::Simd;

use crate::grid::Cursor;
use crate::level::{WIDEST, at_least, at_most, clamp, larger, load, store};
use crate::matrix::MatrixMut;
use crate::product::{Chunk, Finish, Product, Weights};

/// One chunk's terms for some columns of the output.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    pub product: &'a Product<'a>,
    pub chunk: &'a Chunk,
    /// The first column of the output, and how many.
    pub column: usize,
    pub columns: usize,
    /// Whether the sums join what the output holds.
    pub add: bool,
    pub finish: Finish<'a>,
}

/// Computes all rows of a block of at most `V` vectors of columns.
#[inline(always)]
pub(crate) fn panel<S: Simd, const V: usize, const LANES: bool>(
    simd: S,
    block: Block,
    out: &mut MatrixMut,
) {
    let (from, to) = block.product.rows;
    let shared = Shared::<S, V>::of(simd, &block, 0);
    let mut cursor = Cursor::new(&block.product.grid, from);
    let mut left = to - from;
    macro_rules! tiles {
        ($($rows:literal)*) => {$(
            while left >= $rows {
                let (starts, rows) = cursor.take::<$rows>();
                let sums = block.sums::<S, $rows, V, LANES>(simd, &shared, &starts);
                block.finish(simd, sums, &rows, out);
                left -= $rows;
            }
        )*};
    }
    // The largest tile leaves room for its sums, a broadcast value per row and the vectors of weights all at once:
    // 8 × 2 + 8 + 2 of the 32 registers of AVX-512 and NEON, 4 × 2 + 4 + 2 of the 16 of AVX2. Compilers load all the
    // values first, and a tile that is larger ends up in memory. The smaller tiles take what is left of the rows.
    if V == 4 {
        tiles!(2 1);
    } else if S::REGISTER_COUNT >= 32 {
        tiles!(8 4 2 1);
    } else {
        tiles!(4 2 1);
    }
}

/// As [`panel`], where a row of the output is the largest of four rows of the product, which begin at `windows`.
#[inline(always)]
pub(crate) fn pooled_panel<S: Simd, const V: usize>(
    simd: S,
    block: Block,
    windows: [usize; 4],
    out: &mut MatrixMut,
) {
    let (from, to) = block.product.rows;
    let farthest = windows.into_iter().max().unwrap_or(0);
    let shared = Shared::<S, V>::of(simd, &block, farthest);
    let mut cursor = Cursor::new(&block.product.grid, from);
    let mut left = to - from;
    if S::REGISTER_COUNT >= 32 {
        while left >= 2 {
            pooled_tile::<S, 8, 2, V>(simd, block, &shared, windows, &mut cursor, out);
            left -= 2;
        }
    }
    while left >= 1 {
        pooled_tile::<S, 4, 1, V>(simd, block, &shared, windows, &mut cursor, out);
        left -= 1;
    }
}

/// Computes `Q` rows of a block, each from four: `P` is 4 · `Q`.
#[inline(always)]
fn pooled_tile<S: Simd, const P: usize, const Q: usize, const V: usize>(
    simd: S,
    block: Block,
    shared: &Shared<S, V>,
    windows: [usize; 4],
    cursor: &mut Cursor,
    out: &mut MatrixMut,
) {
    let mut starts = [0; P];
    let (firsts, rows) = cursor.take::<Q>();
    for q in 0..Q {
        for w in 0..4 {
            starts[4 * q + w] = firsts[q] + windows[w];
        }
    }
    let sums = block.sums::<S, P, V, false>(simd, shared, &starts);
    let mut most = [[simd.splat_f32s(0.0); V]; Q];
    for q in 0..Q {
        for v in 0..V {
            let line = larger(simd, sums[4 * q][v], sums[4 * q + 1][v]);
            let below = larger(simd, sums[4 * q + 2][v], sums[4 * q + 3][v]);
            most[q][v] = larger(simd, line, below);
        }
    }
    block.finish(simd, most, &rows, out);
}

/// What all tiles of a block have in common.
struct Shared<'a, S: Simd, const V: usize> {
    /// What the sums begin with.
    first: [S::f32s; V],
    /// From the block's first column on.
    weights: Weights<'a>,
    /// How many of the chunk's terms have `V` whole vectors of weights.
    ready: usize,
}

impl<'a, S: Simd, const V: usize> Shared<'a, S, V> {
    /// Checks, too, that every term of a row that begins as much as `further` than the product's is within `x`.
    #[inline(always)]
    fn of(simd: S, block: &Block<'a>, further: usize) -> Self {
        let Block {
            product,
            chunk,
            column,
            columns,
            finish,
            ..
        } = *block;
        let weights = Weights {
            column: product.weights.column + column,
            ..product.weights
        };
        let mut first = [simd.splat_f32s(0.0); V];
        if let Some(bias) = finish.bias {
            let bias = &bias[column..column + columns];
            for v in 0..V {
                first[v] = load(simd, bias.get(v * S::F32_LANES..).unwrap_or_default());
            }
        }
        if let Some(last) = product.grid.last(product.rows) {
            assert!(chunk.reach == 0 || last + further + chunk.reach <= product.x.len());
        }
        Self {
            first,
            weights,
            ready: weights.ready(chunk, V * S::F32_LANES),
        }
    }
}

impl Block<'_> {
    /// The sums of the bias and this chunk for `P` rows that begin at `starts`, which are within what was checked.
    #[inline(always)]
    fn sums<S: Simd, const P: usize, const V: usize, const LANES: bool>(
        &self,
        simd: S,
        shared: &Shared<S, V>,
        starts: &[usize; P],
    ) -> [[S::f32s; V]; P] {
        if LANES {
            sum_lanes::<S, P, V>(simd, self.product.x, starts, self.chunk, shared)
        } else {
            sum::<S, P, V>(simd, self.product.x, starts, self.chunk, shared)
        }
    }

    /// Writes sums to `rows` of the output, with what is done to them on the way.
    #[inline(always)]
    fn finish<S: Simd, const P: usize, const V: usize>(
        &self,
        simd: S,
        mut sums: [[S::f32s; V]; P],
        rows: &[usize; P],
        out: &mut MatrixMut,
    ) {
        let Block {
            column,
            columns,
            add,
            finish,
            ..
        } = *self;
        if columns == V * S::F32_LANES {
            if add {
                for p in 0..P {
                    let row = &out.row(rows[p])[column..column + V * S::F32_LANES];
                    for v in 0..V {
                        let before = load(simd, &row[v * S::F32_LANES..][..S::F32_LANES]);
                        sums[p][v] = simd.add_f32s(before, sums[p][v]);
                    }
                }
            }
            let (low, high) = finish.bounds;
            if low > f32::NEG_INFINITY {
                let low = simd.splat_f32s(low);
                for p in 0..P {
                    for v in 0..V {
                        sums[p][v] = at_least(simd, sums[p][v], low);
                    }
                }
            }
            if high < f32::INFINITY {
                let high = simd.splat_f32s(high);
                for p in 0..P {
                    for v in 0..V {
                        sums[p][v] = at_most(simd, sums[p][v], high);
                    }
                }
            }
            for p in 0..P {
                let row = &mut out.row(rows[p])[column..column + V * S::F32_LANES];
                for v in 0..V {
                    store(
                        simd,
                        &mut row[v * S::F32_LANES..][..S::F32_LANES],
                        sums[p][v],
                    );
                }
            }
        } else {
            // A copy: indices into the sums themselves that aren't known at compile time would keep them in memory.
            let sums = sums;
            for (sums, &row) in sums.iter().zip(rows) {
                let row = &mut out.row(row)[column..column + columns];
                for (&sum, to) in sums.iter().zip(row.chunks_mut(S::F32_LANES)) {
                    let sum = if add {
                        simd.add_f32s(load(simd, to), sum)
                    } else {
                        sum
                    };
                    let sum = clamp(
                        simd,
                        sum,
                        simd.splat_f32s(finish.bounds.0),
                        simd.splat_f32s(finish.bounds.1),
                    );
                    store(simd, to, sum);
                }
            }
        }
    }
}

/// The sums of `first` and one chunk for `P` rows that begin at `starts` and `V` vectors of columns.
///
/// A row of weights is read as whole vectors even where the block is narrower: the lanes past it hold whatever follows in
/// memory, and aren't stored. Only rows at the very end, where nothing follows, are read in part.
#[inline(always)]
fn sum<S: Simd, const P: usize, const V: usize>(
    simd: S,
    x: &[f32],
    starts: &[usize; P],
    chunk: &Chunk,
    shared: &Shared<S, V>,
) -> [[S::f32s; V]; P] {
    let lanes = S::F32_LANES;
    let Shared {
        first,
        weights,
        ready,
    } = *shared;
    let Weights {
        values,
        stride,
        column,
    } = weights;
    let mut sums = [first; P];
    let mut row = values.as_ptr().wrapping_add(chunk.weight * stride + column);
    for &offset in &chunk.offsets[..ready] {
        let mut vectors = [simd.splat_f32s(0.0); V];
        for v in 0..V {
            // SAFETY: the term is one of the `ready`, so its row of weights has `V` whole vectors from `column` on.
            vectors[v] = unsafe { row.add(v * lanes).cast::<S::f32s>().read_unaligned() };
        }
        for p in 0..P {
            // SAFETY: `offset` is less than `reach`, and `starts[p] + reach` was checked to be within `x`.
            let value = simd.splat_f32s(unsafe { *x.as_ptr().add(offset).add(starts[p]) });
            for v in 0..V {
                sums[p][v] = simd.mul_add_e_f32s(value, vectors[v], sums[p][v]);
            }
        }
        row = row.wrapping_add(stride);
    }
    if ready < chunk.offsets.len() {
        #[inline(always)]
        fn value<S: Simd>(simd: S, x: &[f32], at: usize, _: usize) -> S::f32s {
            simd.splat_f32s(x[at])
        }
        add_rest(simd, &mut sums, x, starts, chunk, weights, ready, value);
    }
    sums
}

/// As [`sum`], but each column has its own value of `x`.
#[inline(always)]
fn sum_lanes<S: Simd, const P: usize, const V: usize>(
    simd: S,
    x: &[f32],
    starts: &[usize; P],
    chunk: &Chunk,
    shared: &Shared<S, V>,
) -> [[S::f32s; V]; P] {
    let lanes = S::F32_LANES;
    let Shared { first, weights, .. } = *shared;
    let Weights {
        values,
        stride,
        column,
    } = weights;
    let mut sums = [first; P];
    // The values of `x` too are read as whole vectors, unless that would pass its end.
    let last = starts.iter().copied().max().unwrap_or(0) + chunk.reach + column + V * lanes;
    let ready = if last <= x.len() { shared.ready } else { 0 };
    let mut row = values.as_ptr().wrapping_add(chunk.weight * stride + column);
    let input = x.as_ptr().wrapping_add(column);
    for &offset in &chunk.offsets[..ready] {
        for v in 0..V {
            // SAFETY: the term is one of the `ready`, so its row of weights has `V` whole vectors from `column` on.
            let vector = unsafe { row.add(v * lanes).cast::<S::f32s>().read_unaligned() };
            for p in 0..P {
                // SAFETY: `offset` is less than `reach`, and `V` vectors past `starts[p] + reach + column` are within `x`.
                let value = unsafe {
                    input
                        .add(starts[p] + offset + v * lanes)
                        .cast::<S::f32s>()
                        .read_unaligned()
                };
                sums[p][v] = simd.mul_add_e_f32s(value, vector, sums[p][v]);
            }
        }
        row = row.wrapping_add(stride);
    }
    if ready < chunk.offsets.len() {
        #[inline(always)]
        fn value<S: Simd>(simd: S, x: &[f32], at: usize, column: usize) -> S::f32s {
            load(simd, x.get(at + column..).unwrap_or_default())
        }
        add_rest(simd, &mut sums, x, starts, chunk, weights, ready, value);
    }
    sums
}

/// Adds the chunk's terms from `ready` on, which are read in part: their factors are `value(x, offset, column)`.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
fn add_rest<S: Simd, const P: usize, const V: usize>(
    simd: S,
    sums: &mut [[S::f32s; V]; P],
    x: &[f32],
    starts: &[usize; P],
    chunk: &Chunk,
    weights: Weights,
    ready: usize,
    value: impl Fn(S, &[f32], usize, usize) -> S::f32s,
) {
    let Weights {
        values,
        stride,
        column,
    } = weights;
    // In memory, for these loops aren't unrolled; a copy of another type, for else the sums themselves would stay there.
    let mut spilled = [[[0.0; WIDEST]; V]; P];
    for p in 0..P {
        for v in 0..V {
            store(simd, &mut spilled[p][v], sums[p][v]);
        }
    }
    for (term, &offset) in chunk.offsets.iter().enumerate().skip(ready) {
        let row = &values[(chunk.weight + term) * stride + column..];
        for v in 0..V {
            let from = v * S::F32_LANES;
            let vector = load(simd, row.get(from..).unwrap_or_default());
            for (spilled, start) in spilled.iter_mut().zip(starts) {
                let value = value(simd, x, start + offset, column + from);
                let sum = simd.mul_add_e_f32s(value, vector, load(simd, &spilled[v]));
                store(simd, &mut spilled[v], sum);
            }
        }
    }
    for p in 0..P {
        for v in 0..V {
            sums[p][v] = load(simd, &spilled[p][v]);
        }
    }
}
