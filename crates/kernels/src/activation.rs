//! Activation functions.
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::error::{ShapeError, length};
use crate::exponential::{exp, exp_m1};
use crate::level::{Level, at_least, clamp, load, store};
use crate::product::Finish;
use crate::tasks::parts_mut;

/// A function applied to each value of a layer's output, by its Keras name: those whose gradient can be told from their
/// value, so that training keeps only the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// The value itself.
    #[default]
    Linear,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x` above zero, `eˣ - 1` below.
    Elu,
    /// `elu` with the scale and slope of Klambauer et al. (2017), under which mean and variance have a fixed point.
    Selu,
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid,
    /// `min(max(x + 3, 0), 6) / 6`.
    HardSigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `eˣ`.
    Exponential,
    /// `x / (1 + |x|)`.
    Softsign,
}

const SELU_ALPHA: f32 = 1.673_263_2;
const SELU_SCALE: f32 = 1.050_701;

/// Values that one task works on.
const STRETCH: usize = 1 << 14;

impl Activation {
    /// Replaces each value by the function of it; NaN stays NaN.
    pub fn apply(self, level: Level, values: &mut [f32]) {
        if self == Self::Linear {
            return;
        }
        parts_mut(values, STRETCH, |_, values| {
            level.run(Apply {
                activation: self,
                values,
            });
        });
    }

    /// Fills `dx`, the gradient of what the function was applied to, from its values `y` and their gradient `dy`.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if the slices differ in length.
    pub fn grad(
        self,
        level: Level,
        y: &[f32],
        dy: &[f32],
        dx: &mut [f32],
    ) -> Result<(), ShapeError> {
        length("the output's gradient", dy.len(), y.len())?;
        length("the input's gradient", dx.len(), y.len())?;
        let parts = dx
            .par_chunks_mut(STRETCH)
            .zip(y.par_chunks(STRETCH))
            .zip(dy.par_chunks(STRETCH));
        parts.for_each(|((dx, y), dy)| self.fill_grad(level, y, dy, dx));
        Ok(())
    }

    /// Fills `dx` for some of the values.
    pub(crate) fn fill_grad(self, level: Level, y: &[f32], dy: &[f32], dx: &mut [f32]) {
        level.run(Grad {
            activation: self,
            y,
            dy,
            dx,
        });
    }

    /// The bounds that the function holds a value between, if that is all it does.
    pub(crate) fn bounds(self) -> Option<(f32, f32)> {
        match self {
            Self::Linear => Some(Finish::NONE.bounds),
            Self::Relu => Some((0.0, f32::INFINITY)),
            Self::Relu6 => Some((0.0, 6.0)),
            _ => None,
        }
    }

    #[inline(always)]
    fn value<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        let splat = |value| simd.splat_f32s(value);
        let above = || simd.greater_than_f32s(x, splat(0.0));
        match self {
            Self::Linear => x,
            Self::Relu => at_least(simd, x, splat(0.0)),
            Self::Relu6 => clamp(simd, x, splat(0.0), splat(6.0)),
            Self::Elu => simd.select_f32s(above(), x, exp_m1(simd, x)),
            Self::Selu => {
                let below = simd.mul_f32s(exp_m1(simd, x), splat(SELU_SCALE * SELU_ALPHA));
                simd.select_f32s(above(), simd.mul_f32s(x, splat(SELU_SCALE)), below)
            }
            Self::Sigmoid => {
                let inverse = simd.add_f32s(splat(1.0), exp(simd, simd.neg_f32s(x)));
                simd.div_f32s(splat(1.0), inverse)
            }
            Self::HardSigmoid => {
                let moved = clamp(simd, simd.add_f32s(x, splat(3.0)), splat(0.0), splat(6.0));
                simd.div_f32s(moved, splat(6.0))
            }
            Self::Tanh => {
                // Past 10 it is 1 to the last bit.
                let near = clamp(simd, x, splat(-10.0), splat(10.0));
                let power = exp_m1(simd, simd.add_f32s(near, near));
                simd.div_f32s(power, simd.add_f32s(power, splat(2.0)))
            }
            Self::Exponential => exp(simd, x),
            Self::Softsign => simd.div_f32s(x, simd.add_f32s(splat(1.0), simd.abs_f32s(x))),
        }
    }

    /// The slope where the value is `y`.
    #[inline(always)]
    fn slope<S: Simd>(self, simd: S, y: S::f32s) -> S::f32s {
        let splat = |value| simd.splat_f32s(value);
        let (zero, one) = (splat(0.0), splat(1.0));
        // NaN is passed on: it is on neither side of any bound.
        let outside = |y, low: f32, high: f32| {
            let below = simd.select_f32s(simd.less_than_or_equal_f32s(y, splat(low)), zero, one);
            simd.select_f32s(simd.greater_than_or_equal_f32s(y, splat(high)), zero, below)
        };
        match self {
            Self::Linear => one,
            Self::Relu => simd.select_f32s(simd.less_than_or_equal_f32s(y, zero), zero, one),
            Self::Relu6 => outside(y, 0.0, 6.0),
            Self::Elu => {
                simd.select_f32s(simd.greater_than_f32s(y, zero), one, simd.add_f32s(y, one))
            }
            Self::Selu => {
                let below = simd.add_f32s(y, splat(SELU_SCALE * SELU_ALPHA));
                simd.select_f32s(simd.greater_than_f32s(y, zero), splat(SELU_SCALE), below)
            }
            Self::Sigmoid => simd.mul_f32s(y, simd.sub_f32s(one, y)),
            Self::HardSigmoid => simd.div_f32s(outside(y, 0.0, 1.0), splat(6.0)),
            Self::Tanh => simd.mul_f32s(simd.sub_f32s(one, y), simd.add_f32s(one, y)),
            Self::Exponential => y,
            Self::Softsign => {
                let root = simd.sub_f32s(one, simd.abs_f32s(y));
                simd.mul_f32s(root, root)
            }
        }
    }
}

struct Apply<'a> {
    activation: Activation,
    values: &'a mut [f32],
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for values in self.values.chunks_mut(S::F32_LANES) {
            let x = load(simd, values);
            store(simd, values, self.activation.value(simd, x));
        }
    }
}

struct Grad<'a> {
    activation: Activation,
    y: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl WithSimd for Grad<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            activation,
            y,
            dy,
            dx,
        } = self;
        let values = y.chunks(S::F32_LANES).zip(dy.chunks(S::F32_LANES));
        for (dx, (y, dy)) in dx.chunks_mut(S::F32_LANES).zip(values) {
            let slope = activation.slope(simd, load(simd, y));
            store(simd, dx, simd.mul_f32s(slope, load(simd, dy)));
        }
    }
}
