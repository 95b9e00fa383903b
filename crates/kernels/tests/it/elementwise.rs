//! Activations, softmax and batch normalisation.
use kernels::{Activation, BatchNorm, ScaleShift, softmax, softmax_grad};
use proptest::prelude::*;

use crate::reference::{levels, values};

fn reference(activation: Activation, x: f64) -> f64 {
    let elu = |x: f64| if x > 0.0 { x } else { x.exp_m1() };
    match activation {
        Activation::Linear => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Elu => elu(x),
        Activation::Selu => {
            let (alpha, scale) = (1.673_263_242_354_377_2, 1.050_700_987_355_480_5);
            scale * if x > 0.0 { x } else { alpha * x.exp_m1() }
        }
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::HardSigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Tanh => x.tanh(),
        Activation::Exponential => x.exp(),
        Activation::Softsign => x / (1.0 + x.abs()),
    }
}

const ALL: [Activation; 10] = [
    Activation::Linear,
    Activation::Relu,
    Activation::Relu6,
    Activation::Elu,
    Activation::Selu,
    Activation::Sigmoid,
    Activation::HardSigmoid,
    Activation::Tanh,
    Activation::Exponential,
    Activation::Softsign,
];

#[test]
fn activations_and_their_slopes_match_float64() {
    let mut x: Vec<f32> = (-40_000..40_000).map(|i| i as f32 / 450.0).collect();
    x.extend((-3000..3000).map(|i| i as f32 * 1e-5 + 1e-8));
    let dy = values(x.len(), 1);
    for level in levels() {
        for activation in ALL {
            let mut y = x.clone();
            activation.apply(level, &mut y);
            let mut dx = vec![9.0; x.len()];
            activation.grad(level, &y, &dy, &mut dx).unwrap();
            for i in 0..x.len() {
                let exact = f64::from(x[i]);
                let want = reference(activation, exact);
                let size = want.abs().max(1e-37);
                // Below the normal numbers there may be zeros.
                let error = ((f64::from(y[i]) - want).abs() - 4e-38).max(0.0);
                if want > f64::from(f32::MAX) {
                    assert_eq!(y[i], f32::INFINITY);
                    continue;
                }
                assert!(
                    error <= 1e-6 * size,
                    "{activation:?}({exact}) on {level:?}: {}, not {want}",
                    y[i]
                );

                let (step, kinks) = (1e-6, [-3.0, 0.0, 3.0, 6.0]);
                if kinks.iter().any(|kink: &f64| (exact - kink).abs() < 1e-5) {
                    continue;
                }
                let slope = (reference(activation, exact + step)
                    - reference(activation, exact - step))
                    / (2.0 * step);
                let want = slope * f64::from(dy[i]);
                let error = (f64::from(dx[i]) - want).abs();
                assert!(
                    error <= 2e-6 * slope.abs().max(0.2),
                    "{activation:?}'({exact}): {}, not {want}",
                    dx[i]
                );
            }
        }
    }
}

#[test]
fn activations_keep_nan_and_take_infinity() {
    for level in levels() {
        for activation in ALL {
            let mut y = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
            activation.apply(level, &mut y);
            assert!(y[0].is_nan(), "{activation:?}");
            if activation == Activation::Softsign {
                assert!(y[1].is_nan() && y[2].is_nan());
                continue;
            }
            for (got, x) in [(y[1], f64::INFINITY), (y[2], f64::NEG_INFINITY)] {
                assert!(
                    (got - reference(activation, x) as f32).abs() < 1e-6
                        || got == reference(activation, x) as f32,
                    "{activation:?}({x}): {got}"
                );
            }
            let mut dx = [0.0];
            activation
                .grad(level, &[1.0], &[f32::NAN], &mut dx)
                .unwrap();
            assert!(dx[0].is_nan());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn softmax_matches_float64(rows in 0..20usize, classes in 1..70usize, scale in 0.1..200f32, seed in 0..1000u64) {
        let x: Vec<f32> = values(rows * classes, seed).iter().map(|x| x * scale - scale).collect();
        let dy = values(x.len(), seed + 1);
        for level in levels() {
            let mut y = x.clone();
            softmax(level, &mut y, classes).unwrap();
            let mut dx = vec![9.0; x.len()];
            softmax_grad(level, &y, &dy, classes, &mut dx).unwrap();
            for row in (0..x.len()).step_by(classes) {
                let here = row..row + classes;
                let largest = x[here.clone()].iter().copied().fold(f32::MIN, f32::max);
                let powers: Vec<f64> = x[here.clone()].iter().map(|x| (f64::from(*x) - f64::from(largest)).exp()).collect();
                let sum: f64 = powers.iter().sum();
                let want: Vec<f64> = powers.iter().map(|power| power / sum).collect();
                let mean: f64 = want.iter().zip(&dy[here]).map(|(y, dy)| y * f64::from(*dy)).sum();
                for (i, want) in want.iter().enumerate() {
                    // The distance to the largest score is itself rounded.
                    let relative = 2e-6 + 1.2e-7 * f64::from(largest - x[row + i]);
                    prop_assert!((f64::from(y[row + i]) - want).abs() <= relative * want + 4e-38);
                    let dx_want = want * (f64::from(dy[row + i]) - mean);
                    prop_assert!((f64::from(dx[row + i]) - dx_want).abs() <= 2.0 * relative * want + 1e-37);
                }
            }
        }
    }

    #[test]
    fn batch_norm_matches_float64(rows in 1..700usize, channels in 1..40usize, scaled: bool, seed in 0..1000u64) {
        let x: Vec<f32> = values(rows * channels, seed).iter().map(|x| x * 3.0 + 2.0).collect();
        let (gamma, beta) = (values(channels, seed + 1), values(channels, seed + 2));
        let dy = values(x.len(), seed + 3);
        let (gamma, beta) = if scaled { (Some(&gamma[..]), Some(&beta[..])) } else { (None, None) };
        let epsilon = 1e-3;
        for level in levels() {
            let plan = BatchNorm::new(channels, epsilon).unwrap().with_level(level);
            let weights = ScaleShift { gamma, beta };
            let (mut moments, mut y) = (vec![9.0; 2 * channels], vec![9.0; x.len()]);
            plan.moments(&x, &mut moments).unwrap();
            let by = plan.normalizer(weights, &moments).unwrap();
            by.apply(&x, &mut y).unwrap();
            let (mut dx, mut dgamma, mut dbeta) = (vec![9.0; x.len()], vec![9.0; channels], vec![9.0; channels]);
            let sums = by.sums(&x, &dy).unwrap();
            let back = by.back(&sums, rows, [&mut dgamma, &mut dbeta]).unwrap();
            back.grad_input(&x, &dy, &mut dx).unwrap();
            let (mean, variance) = moments.split_at(channels);

            // With an activation, the same of what passes it.
            let relu = plan.with_activation(Activation::Relu).unwrap();
            let mut rectified = vec![9.0; x.len()];
            relu.normalizer(weights, &moments).unwrap().apply(&x, &mut rectified).unwrap();
            prop_assert!(rectified.iter().zip(&y).all(|(rectified, y)| *rectified == y.max(0.0)));
            let passed: Vec<f32> = dy.iter().zip(&y).map(|(dy, y)| if *y > 0.0 { *dy } else { 0.0 }).collect();
            let mut found = [0, 1, 2].map(|_| vec![9.0; x.len()]);
            let mut want = found.clone();
            for (plan, dy, [dx, dgamma, dbeta]) in [(relu, &dy, &mut found), (plan, &passed, &mut want)] {
                let by = plan.normalizer(weights, &moments).unwrap();
                let sums = by.sums(&x, dy).unwrap();
                let grads = [&mut dgamma[..channels], &mut dbeta[..channels]];
                let back = by.back(&sums, rows, grads).unwrap();
                back.grad_input(&x, dy, dx).unwrap();
            }
            prop_assert_eq!(found, want);
            for c in 0..channels {
                let column = |values: &[f32]| -> Vec<f64> { values[c..].iter().step_by(channels).map(|v| f64::from(*v)).collect() };
                let (x, y, dy, dx) = (column(&x), column(&y), column(&dy), column(&dx));
                let n = rows as f64;
                let (g, b) = (gamma.map_or(1.0, |g| f64::from(g[c])), beta.map_or(0.0, |b| f64::from(b[c])));
                let m = x.iter().sum::<f64>() / n;
                let v = x.iter().map(|x| (x - m).powi(2)).sum::<f64>() / n;
                let deviation = (v + f64::from(epsilon)).sqrt();
                prop_assert!((f64::from(mean[c]) - m).abs() < 1e-5);
                prop_assert!((f64::from(variance[c]) - v).abs() < 1e-5 * (1.0 + v));
                let hat: Vec<f64> = x.iter().map(|x| (x - m) / deviation).collect();
                let sum_dy: f64 = dy.iter().sum();
                let sum_hat: f64 = dy.iter().zip(&hat).map(|(dy, hat)| dy * hat).sum();
                prop_assert!((f64::from(dbeta[c]) - sum_dy).abs() < 1e-5 * (1.0 + n));
                prop_assert!((f64::from(dgamma[c]) - sum_hat).abs() < 1e-5 * (1.0 + n));
                for i in 0..rows {
                    prop_assert!((y[i] - (g * hat[i] + b)).abs() < 1e-5 * (1.0 + 1.0 / deviation));
                    let want = g / deviation * (dy[i] - sum_dy / n - hat[i] * sum_hat / n);
                    prop_assert!((dx[i] - want).abs() < 2e-5 * (1.0 + 1.0 / deviation), "{} {}", dx[i], want);
                }
            }
        }
    }
}

#[test]
fn moments_are_exact_where_the_mean_is_large() {
    let x: Vec<f32> = values(3 * 5000, 1).iter().map(|x| x + 1000.0).collect();
    for level in levels() {
        let plan = BatchNorm::new(3, 1e-3).unwrap().with_level(level);
        let mut moments = [0.0; 6];
        plan.moments(&x, &mut moments).unwrap();
        for c in 0..3 {
            let column = || x[c..].iter().step_by(3).map(|x| f64::from(*x));
            let mean = column().sum::<f64>() / 5000.0;
            let variance = column().map(|x| (x - mean).powi(2)).sum::<f64>() / 5000.0;
            assert!((f64::from(moments[3 + c]) / variance - 1.0).abs() < 1e-4);
        }
    }
}

#[test]
fn softmax_of_nan_is_nan() {
    for level in levels() {
        let mut y = vec![0.0; 20];
        y[3] = f32::NAN;
        softmax(level, &mut y, 20).unwrap();
        assert!(y.iter().all(|y| y.is_nan()));
    }
}
