//! One step of an optimizer, in one pass over a parameter.
use pulp::{Simd, WithSimd};

use crate::error::{ShapeError, length};
use crate::level::{Level, at_least, load, store};

/// The rule by which a step moves a parameter, with the numbers of that step.
///
/// `w` is the parameter, `g` its gradient; `m`, `v`, … are what the rule remembers from step to step, each as long as the
/// parameter. The arithmetic is that of Keras (`keras/src/optimizers/*.py`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Update {
    /// `w -= rate · g`.
    Descent {
        /// The learning rate.
        rate: f32,
    },
    /// `m = momentum · m - rate · g`; then `w += m`, or with Nesterov's `w += momentum · m - rate · g`.
    Momentum {
        /// The learning rate.
        rate: f32,
        /// The share of the velocity that stays.
        momentum: f32,
        /// Whether to look ahead.
        nesterov: bool,
    },
    /// `v = rho · v + (1 - rho) · g²`, then `w -= rate · g / √(v + epsilon)`.
    RmsProp {
        /// The learning rate.
        rate: f32,
        /// The share of the mean square that stays.
        rho: f32,
        /// Added under the root.
        epsilon: f32,
        /// The share of the velocity that stays; with zero there is none, else it is the last that is remembered.
        momentum: f32,
        /// Whether the mean gradient, remembered after `v`, is squared and taken off `v`.
        centered: bool,
    },
    /// `v += g²`, then `w -= rate · g / √(v + epsilon)`.
    Adagrad {
        /// The learning rate.
        rate: f32,
        /// Added under the root.
        epsilon: f32,
    },
    /// `v = rho · v + (1 - rho) · g²`, `d = g · √(u + epsilon) / √(v + epsilon)`, `u = rho · u + (1 - rho) · d²`, then
    /// `w -= rate · d`. Remembers `v`, then `u`.
    Adadelta {
        /// The learning rate.
        rate: f32,
        /// The share of the mean squares that stays.
        rho: f32,
        /// Added under the roots.
        epsilon: f32,
    },
    /// `m += (g - m) · gain_1`, `v += (g² - v) · gain_2`, then `w -= rate · m / (√v + epsilon)`. With `amsgrad` the root
    /// is of the largest `v` so far, which is remembered last.
    Adam {
        /// The learning rate times both bias corrections.
        rate: f32,
        /// `1 - beta_1`.
        gain_1: f32,
        /// `1 - beta_2`.
        gain_2: f32,
        /// Added to the root.
        epsilon: f32,
        /// Whether the largest mean square counts.
        amsgrad: bool,
    },
}

/// The most that a rule remembers of a parameter, in tensors of its size.
const MOST: usize = 3;

/// Values that one task works on.
const STRETCH: usize = 1 << 15;

impl Update {
    /// How many tensors of the parameter's size the rule remembers.
    pub fn remembers(&self) -> usize {
        match *self {
            Self::Descent { .. } => 0,
            Self::Momentum { .. } | Self::Adagrad { .. } => 1,
            Self::Adadelta { .. } => 2,
            Self::RmsProp {
                momentum, centered, ..
            } => 1 + usize::from(centered) + usize::from(momentum > 0.0),
            Self::Adam { amsgrad, .. } => 2 + usize::from(amsgrad),
        }
    }

    /// Moves `weight` against `gradient`, and what is remembered with it.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if the slices differ in length, or there are not as many memories as
    /// [`remembers`](Self::remembers) says.
    pub fn step(
        &self,
        level: Level,
        weight: &mut [f32],
        gradient: &[f32],
        memory: &mut [&mut [f32]],
    ) -> Result<(), ShapeError> {
        length("the gradient", gradient.len(), weight.len())?;
        length("the optimizer's memory", memory.len(), self.remembers())?;
        for memory in memory.iter() {
            length("the optimizer's memory", memory.len(), weight.len())?;
        }
        let mut memory = memory.iter_mut();
        let memory = std::array::from_fn(|_| memory.next().map_or(&mut [][..], |memory| memory));
        self.split(level, weight, gradient, memory);
        Ok(())
    }

    fn split(
        &self,
        level: Level,
        weight: &mut [f32],
        gradient: &[f32],
        memory: [&mut [f32]; MOST],
    ) {
        if weight.len() <= STRETCH {
            return level.run(Step {
                update: *self,
                weight,
                gradient,
                memory,
            });
        }
        let at = (weight.len() / 2).next_multiple_of(STRETCH);
        let (first, second) = weight.split_at_mut(at);
        let (gradient, rest) = gradient.split_at(at);
        let mut memory = memory.map(|memory| {
            let at = at.min(memory.len());
            let (first, second) = memory.split_at_mut(at);
            (first, Some(second))
        });
        let others = memory
            .each_mut()
            .map(|(_, second)| second.take().unwrap_or_default());
        let memory = memory.map(|(first, _)| first);
        rayon::join(
            || self.split(level, first, gradient, memory),
            || self.split(level, second, rest, others),
        );
    }
}

struct Step<'a> {
    update: Update,
    weight: &'a mut [f32],
    gradient: &'a [f32],
    memory: [&'a mut [f32]; MOST],
}

impl WithSimd for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let splat = |value: f32| simd.splat_f32s(value);
        let (add, sub) = (|a, b| simd.add_f32s(a, b), |a, b| simd.sub_f32s(a, b));
        let (mul, div) = (|a, b| simd.mul_f32s(a, b), |a, b| simd.div_f32s(a, b));
        let root = |a| simd.sqrt_f32s(a);
        match self.update {
            Update::Descent { rate } => {
                let rate = splat(rate);
                self.each(simd, |w, g, []| (sub(w, mul(g, rate)), []));
            }
            Update::Momentum {
                rate,
                momentum,
                nesterov,
            } => {
                let (rate, momentum) = (splat(rate), splat(momentum));
                self.each(simd, |w, g, [m]| {
                    let step = mul(g, rate);
                    let m = sub(mul(m, momentum), step);
                    let moved = if nesterov {
                        sub(add(w, mul(m, momentum)), step)
                    } else {
                        add(w, m)
                    };
                    (moved, [m])
                });
            }
            Update::RmsProp {
                rate,
                rho,
                epsilon,
                momentum,
                centered,
            } => {
                let (rate, stays, comes) = (splat(rate), splat(rho), splat(1.0 - rho));
                let (epsilon, keeps) = (splat(epsilon), splat(momentum));
                let square = |v, g| add(mul(v, stays), mul(mul(g, g), comes));
                let increment = |g, v| div(mul(g, rate), root(add(v, epsilon)));
                let average = |a, g| add(mul(a, stays), mul(g, comes));
                match (centered, momentum > 0.0) {
                    (false, false) => self.each(simd, |w, g, [v]| {
                        let v = square(v, g);
                        (sub(w, increment(g, v)), [v])
                    }),
                    (false, true) => self.each(simd, |w, g, [v, m]| {
                        let v = square(v, g);
                        let m = add(mul(m, keeps), increment(g, v));
                        (sub(w, m), [v, m])
                    }),
                    (true, false) => self.each(simd, |w, g, [v, a]| {
                        let (v, a) = (square(v, g), average(a, g));
                        (sub(w, increment(g, sub(v, mul(a, a)))), [v, a])
                    }),
                    (true, true) => self.each(simd, |w, g, [v, a, m]| {
                        let (v, a) = (square(v, g), average(a, g));
                        let m = add(mul(m, keeps), increment(g, sub(v, mul(a, a))));
                        (sub(w, m), [v, a, m])
                    }),
                }
            }
            Update::Adagrad { rate, epsilon } => {
                let (rate, epsilon) = (splat(rate), splat(epsilon));
                self.each(simd, |w, g, [v]| {
                    let v = add(v, mul(g, g));
                    (sub(w, div(mul(g, rate), root(add(v, epsilon)))), [v])
                });
            }
            Update::Adadelta { rate, rho, epsilon } => {
                let (rate, stays, comes) = (splat(rate), splat(rho), splat(1.0 - rho));
                let epsilon = splat(epsilon);
                let square = |v, g| add(mul(v, stays), mul(mul(g, g), comes));
                self.each(simd, |w, g, [v, u]| {
                    let v = square(v, g);
                    let d = div(mul(root(add(u, epsilon)), g), root(add(v, epsilon)));
                    (sub(w, mul(d, rate)), [v, square(u, d)])
                });
            }
            Update::Adam {
                rate,
                gain_1,
                gain_2,
                epsilon,
                amsgrad,
            } => {
                let (rate, gain_1, gain_2) = (splat(rate), splat(gain_1), splat(gain_2));
                let epsilon = splat(epsilon);
                let first = |m, g| add(m, mul(sub(g, m), gain_1));
                let second = |v, g| add(v, mul(sub(mul(g, g), v), gain_2));
                let moved = |w, m, v| sub(w, div(mul(m, rate), add(root(v), epsilon)));
                if amsgrad {
                    self.each(simd, |w, g, [m, v, largest]| {
                        let (m, v) = (first(m, g), second(v, g));
                        let largest = at_least(simd, v, largest);
                        (moved(w, m, largest), [m, v, largest])
                    });
                } else {
                    self.each(simd, |w, g, [m, v]| {
                        let (m, v) = (first(m, g), second(v, g));
                        (moved(w, m, v), [m, v])
                    });
                }
            }
        }
    }
}

impl Step<'_> {
    /// Replaces each weight and its `N` memories by what `rule` makes of them and the gradient.
    #[inline(always)]
    fn each<S: Simd, const N: usize>(
        self,
        simd: S,
        rule: impl Fn(S::f32s, S::f32s, [S::f32s; N]) -> (S::f32s, [S::f32s; N]),
    ) {
        let Self {
            weight,
            gradient,
            memory,
            ..
        } = self;
        let mut memory = memory.map(|memory| memory.chunks_mut(S::F32_LANES));
        let gradients = gradient.chunks(S::F32_LANES);
        for (weight, gradient) in weight.chunks_mut(S::F32_LANES).zip(gradients) {
            let kept: [&mut [f32]; N] =
                std::array::from_fn(|slot| memory[slot].next().unwrap_or_default());
            let before = std::array::from_fn(|slot| load(simd, &*kept[slot]));
            let (moved, after) = rule(load(simd, weight), load(simd, gradient), before);
            store(simd, weight, moved);
            for slot in 0..N {
                store(simd, kept[slot], after[slot]);
            }
        }
    }
}
