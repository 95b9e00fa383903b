//! Steps of the optimizers, against the same formulas in float64.
use kernels::{ShapeError, Update};

use crate::reference::{levels, values};

/// All rules, with each of their switches.
fn updates() -> Vec<Update> {
    let mut updates = vec![
        Update::Descent { rate: 0.1 },
        Update::Adagrad {
            rate: 0.1,
            epsilon: 1e-7,
        },
        Update::Adadelta {
            rate: 0.9,
            rho: 0.95,
            epsilon: 1e-6,
        },
    ];
    for switch in [false, true] {
        updates.push(Update::Momentum {
            rate: 0.1,
            momentum: 0.9,
            nesterov: switch,
        });
        updates.push(Update::Adam {
            rate: 0.01,
            gain_1: 0.1,
            gain_2: 0.001,
            epsilon: 1e-7,
            amsgrad: switch,
        });
        for momentum in [0.0, 0.9] {
            updates.push(Update::RmsProp {
                rate: 0.01,
                rho: 0.9,
                epsilon: 1e-7,
                momentum,
                centered: switch,
            });
        }
    }
    updates
}

fn f(value: f32) -> f64 {
    f64::from(value)
}

/// One element's step: the weight and what is remembered of it.
fn reference(update: Update, w: f64, g: f64, memory: &mut [f64]) -> f64 {
    match update {
        Update::Descent { rate } => w - f(rate) * g,
        Update::Momentum {
            rate,
            momentum,
            nesterov,
        } => {
            memory[0] = f(momentum) * memory[0] - f(rate) * g;
            if nesterov {
                w + f(momentum) * memory[0] - f(rate) * g
            } else {
                w + memory[0]
            }
        }
        Update::RmsProp {
            rate,
            rho,
            epsilon,
            momentum,
            centered,
        } => {
            memory[0] = f(rho) * memory[0] + (1.0 - f(rho)) * g * g;
            let mut spread = memory[0];
            if centered {
                memory[1] = f(rho) * memory[1] + (1.0 - f(rho)) * g;
                spread -= memory[1] * memory[1];
            }
            let mut step = f(rate) * g / (spread + f(epsilon)).sqrt();
            if momentum > 0.0 {
                let last = memory.last_mut().unwrap();
                *last = f(momentum) * *last + step;
                step = *last;
            }
            w - step
        }
        Update::Adagrad { rate, epsilon } => {
            memory[0] += g * g;
            w - f(rate) * g / (memory[0] + f(epsilon)).sqrt()
        }
        Update::Adadelta { rate, rho, epsilon } => {
            memory[0] = f(rho) * memory[0] + (1.0 - f(rho)) * g * g;
            let step = g * (memory[1] + f(epsilon)).sqrt() / (memory[0] + f(epsilon)).sqrt();
            memory[1] = f(rho) * memory[1] + (1.0 - f(rho)) * step * step;
            w - f(rate) * step
        }
        Update::Adam {
            rate,
            gain_1,
            gain_2,
            epsilon,
            amsgrad,
        } => {
            memory[0] += (g - memory[0]) * f(gain_1);
            memory[1] += (g * g - memory[1]) * f(gain_2);
            let mut spread = memory[1];
            if amsgrad {
                memory[2] = memory[2].max(spread);
                spread = memory[2];
            }
            w - f(rate) * memory[0] / (spread.sqrt() + f(epsilon))
        }
    }
}

#[test]
fn steps_follow_their_formulas() {
    // Longer than a task's share, and not a whole number of vectors.
    for len in [1, 19, 100_003] {
        for level in levels() {
            for update in updates() {
                let mut weight = values(len, 1);
                let mut memory = vec![vec![0.0f32; len]; update.remembers()];
                let mut exact: Vec<f64> = weight.iter().map(|&w| f(w)).collect();
                let mut remembered = vec![vec![0.0f64; len]; update.remembers()];
                for step in 0..5 {
                    let gradient = values(len, 10 + step);
                    let mut slots: Vec<&mut [f32]> =
                        memory.iter_mut().map(Vec::as_mut_slice).collect();
                    update
                        .step(level, &mut weight, &gradient, &mut slots)
                        .unwrap();
                    for i in 0..len {
                        let mut own: Vec<f64> = remembered.iter().map(|m| m[i]).collect();
                        exact[i] = reference(update, exact[i], f(gradient[i]), &mut own);
                        for (slot, value) in remembered.iter_mut().zip(own) {
                            slot[i] = value;
                        }
                    }
                }
                for (i, (&found, want)) in weight.iter().zip(&exact).enumerate() {
                    let error = (f(found) - want).abs();
                    assert!(
                        error <= 2e-5 * want.abs().max(1.0),
                        "{update:?}, {len} weights on {level:?}, at {i}: {found} for {want}"
                    );
                }
            }
        }
    }
}

#[test]
fn lengths_are_checked() {
    let update = Update::Adagrad {
        rate: 0.1,
        epsilon: 1e-7,
    };
    let level = kernels::Level::default();
    let (mut weight, mut short, mut memory) = ([1.0; 4], [0.0; 3], [0.0; 4]);
    for result in [
        update.step(level, &mut weight, &[0.0; 3], &mut [&mut memory]),
        update.step(level, &mut weight, &[0.0; 4], &mut [&mut short]),
        update.step(level, &mut weight, &[0.0; 4], &mut []),
    ] {
        assert!(matches!(result, Err(ShapeError::Length { .. })));
    }
    assert_eq!(weight, [1.0; 4]);
}
