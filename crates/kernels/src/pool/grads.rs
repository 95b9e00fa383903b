//! Gradients of pooling.
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{AveragePool2d, MaxPool2d, Pool};
use crate::error::{ShapeError, length};
use crate::level::{larger, load, store};

impl MaxPool2d {
    /// Fills `dx`, the gradient of the input, from the input and `dy`, the gradient of the output.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn grad_input(&self, x: &[f32], dy: &[f32], dx: &mut [f32]) -> Result<(), ShapeError> {
        let pool = &self.0;
        pool.check(x.len(), dy.len())?;
        length("the input's gradient", dx.len(), x.len())?;
        let images = dx.par_chunks_mut(pool.input.len());
        images
            .zip(x.par_chunks(pool.input.len()))
            .zip(dy.par_chunks(pool.output.len()))
            .for_each(|((dx, x), dy)| {
                pool.level.run(MaxGrad { pool, x, dy, dx });
            });
        Ok(())
    }
}

impl AveragePool2d {
    /// Fills `dx`, the gradient of the input, from `dy`, the gradient of the output.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn grad_input(&self, dy: &[f32], dx: &mut [f32]) -> Result<(), ShapeError> {
        let pool = &self.0;
        pool.check(dx.len(), dy.len())?;
        let images = dx.par_chunks_mut(pool.input.len());
        images
            .zip(dy.par_chunks(pool.output.len()))
            .for_each(|(dx, dy)| {
                pool.level.run(AverageGrad { pool, dy, dx });
            });
        Ok(())
    }
}

impl Pool {
    /// Whether no two windows share a pixel.
    pub(super) fn is_disjoint(&self) -> bool {
        let Self {
            shape,
            stride,
            output,
            ..
        } = self;
        (output.height == 1 || stride.0 >= shape.window.0)
            && (output.width == 1 || stride.1 >= shape.window.1)
    }

    /// Whether every pixel is in one window.
    pub(super) fn covers(&self) -> bool {
        let Self {
            shape,
            stride,
            input,
            output,
            ..
        } = self;
        let padding = shape.padding;
        let side = |outputs: usize, stride: usize, window: usize, before: usize, input: usize| {
            (outputs == 1 || stride == window) && (outputs - 1) * stride + window >= input + before
        };
        side(
            output.height,
            stride.0,
            shape.window.0,
            padding.top,
            input.height,
        ) && side(
            output.width,
            stride.1,
            shape.window.1,
            padding.left,
            input.width,
        )
    }
}

/// One image's work.
struct MaxGrad<'a> {
    pool: &'a Pool,
    x: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl WithSimd for MaxGrad<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pool, x, dy, dx } = self;
        let channels = pool.input.channels;
        let disjoint = pool.is_disjoint();
        if !pool.covers() {
            dx.fill(0.0);
        }
        for (index, dy) in dy.chunks_exact(channels).enumerate() {
            let window = pool.window(index / pool.output.width, index % pool.output.width);
            for from in (0..channels).step_by(S::F32_LANES) {
                let to = channels.min(from + S::F32_LANES);
                let mut largest = simd.splat_f32s(f32::NEG_INFINITY);
                for wy in window.rows.0..window.rows.1 {
                    for wx in window.columns.0..window.columns.1 {
                        let at = pool.pixel(wy, wx);
                        largest = larger(simd, largest, load(simd, &x[at + from..at + to]));
                    }
                }
                // What is left to give away: the gradient, until the first value that is the largest (or NaN, if that is).
                let zero = simd.splat_f32s(0.0);
                let mut rest = load(simd, &dy[from..to]);
                for wy in window.rows.0..window.rows.1 {
                    for wx in window.columns.0..window.columns.1 {
                        let at = pool.pixel(wy, wx);
                        let value = load(simd, &x[at + from..at + to]);
                        let other = simd.select_f32s(simd.equal_f32s(value, largest), rest, zero);
                        let given = simd.select_f32s(simd.equal_f32s(value, value), other, rest);
                        give(simd, disjoint, &mut dx[at + from..at + to], given);
                        rest = simd.select_f32s(simd.equal_f32s(given, zero), rest, zero);
                    }
                }
            }
        }
    }
}

/// One image's work.
struct AverageGrad<'a> {
    pool: &'a Pool,
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl WithSimd for AverageGrad<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pool, dy, dx } = self;
        let channels = pool.input.channels;
        let disjoint = pool.is_disjoint();
        if !pool.covers() {
            dx.fill(0.0);
        }
        for (index, dy) in dy.chunks_exact(channels).enumerate() {
            let window = pool.window(index / pool.output.width, index % pool.output.width);
            let count = simd.splat_f32s(window.len() as f32);
            for from in (0..channels).step_by(S::F32_LANES) {
                let to = channels.min(from + S::F32_LANES);
                let share = simd.div_f32s(load(simd, &dy[from..to]), count);
                for wy in window.rows.0..window.rows.1 {
                    for wx in window.columns.0..window.columns.1 {
                        let at = pool.pixel(wy, wx);
                        give(simd, disjoint, &mut dx[at + from..at + to], share);
                    }
                }
            }
        }
    }
}

/// Gives pixels their part of a window's gradient, which is all of it if windows are disjoint.
#[inline(always)]
pub(super) fn give<S: Simd>(simd: S, disjoint: bool, dx: &mut [f32], given: S::f32s) {
    let given = if disjoint {
        given
    } else {
        simd.add_f32s(load(simd, dx), given)
    };
    store(simd, dx, given);
}
