//! The way back through a batch normalisation.
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{Normalizer, ROWS};
use crate::error::{ShapeError, batch, length};

/// The way back through a batch normalisation: the gradient of its input from that of its output.
///
/// The input's gradient of one image depends on the whole batch, by two sums for each channel. This holds what follows
/// from them; [`Normalizer::back`] makes it.
#[derive(Debug)]
pub struct BatchNormBack {
    pub(super) by: Normalizer,
    /// The mean of the gradient.
    pub(super) height: Vec<f32>,
    /// How much of the gradient goes along with the input.
    pub(super) slope: Vec<f32>,
}

impl BatchNormBack {
    /// Fills `dx`, the gradient of the input, from the input and the gradient of the output.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn grad_input(&self, x: &[f32], dy: &[f32], dx: &mut [f32]) -> Result<(), ShapeError> {
        self.check(x.len(), dy.len())?;
        length("the input's gradient", dx.len(), x.len())?;
        let part = ROWS * self.channels();
        dx.par_chunks_mut(part)
            .zip(x.par_chunks(part))
            .zip(dy.par_chunks(part))
            .rev()
            .for_each(|((dx, x), dy)| self.fill(x, dy, dx));
        Ok(())
    }

    pub(crate) fn channels(&self) -> usize {
        self.by.channels()
    }

    pub(crate) fn check(&self, x: usize, dy: usize) -> Result<(), ShapeError> {
        batch("the input", x, self.channels())?;
        length("the output's gradient", dy, x)
    }

    /// Fills `dx` for some rows.
    pub(crate) fn fill(&self, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        self.by.level.run(Back {
            back: self,
            x,
            dy,
            dx,
        });
    }
}

/// The gradient before the activation, where what it was applied to is `value`; NaN is on neither side of a bound.
#[inline(always)]
pub(super) fn inside<S: Simd>(
    simd: S,
    (low, high): (f32, f32),
    value: S::f32s,
    mut dy: S::f32s,
) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    if low > f32::NEG_INFINITY {
        let below = simd.less_than_or_equal_f32s(value, simd.splat_f32s(low));
        dy = simd.select_f32s(below, zero, dy);
    }
    if high < f32::INFINITY {
        let above = simd.greater_than_or_equal_f32s(value, simd.splat_f32s(high));
        dy = simd.select_f32s(above, zero, dy);
    }
    dy
}

/// One part of the rows.
struct Back<'a> {
    back: &'a BatchNormBack,
    x: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl WithSimd for Back<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { back, x, dy, dx } = self;
        let by = &back.by;
        let params = [&by.mean, &by.factors, &by.beta, &back.height, &back.slope];
        let [mean, factors, beta, height, slope] = params.map(|values| S::as_simd_f32s(values).0);
        let wide = by.mean.len();
        for (dx, (x, dy)) in dx.chunks_mut(wide).zip(x.chunks(wide).zip(dy.chunks(wide))) {
            let (x, dy) = (S::as_simd_f32s(x), S::as_simd_f32s(dy));
            let dx = S::as_mut_simd_f32s(dx);
            let params = mean.iter().zip(factors).zip(beta).zip(height).zip(slope);
            for (((dx, x), dy), ((((mean, factor), beta), height), slope)) in
                dx.0.iter_mut().zip(x.0).zip(dy.0).zip(params)
            {
                let params = [*mean, *factor, *beta, *height, *slope];
                *dx = grad(simd, (*x, *dy), params, by.bounds);
            }
            if !x.1.is_empty() {
                let params = [mean, factors, beta, height, slope];
                let params = params.map(|values| values[x.0.len()]);
                let row = (simd.partial_load_f32s(x.1), simd.partial_load_f32s(dy.1));
                simd.partial_store_f32s(dx.1, grad(simd, row, params, by.bounds));
            }
        }
    }
}

/// The gradient of an input.
#[inline(always)]
fn grad<S: Simd>(
    simd: S,
    (x, dy): (S::f32s, S::f32s),
    [mean, factor, beta, height, slope]: [S::f32s; 5],
    bounds: (f32, f32),
) -> S::f32s {
    let centred = simd.sub_f32s(x, mean);
    let value = simd.mul_add_e_f32s(centred, factor, beta);
    let dy = inside(simd, bounds, value, dy);
    let trend = simd.mul_f32s(centred, slope);
    let above = simd.sub_f32s(simd.sub_f32s(dy, height), trend);
    simd.mul_f32s(above, factor)
}
