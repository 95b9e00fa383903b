//! Dense layers and their gradients.
use kernels::{Activation, Dense, PreparedDense};
use proptest::prelude::*;

use crate::reference::{Sum, assert_same_bits, assert_sums, levels, on_threads, values};

fn check(examples: usize, inputs: usize, outputs: usize, seed: u64) {
    let x = values(examples * inputs, seed);
    let kernel = values(inputs * outputs, seed + 1);
    let bias = values(outputs, seed + 2);
    let dy = values(examples * outputs, seed + 3);
    let mut want_y = vec![Sum::default(); dy.len()];
    let mut want_dx = vec![Sum::default(); x.len()];
    let mut want_dkernel = vec![Sum::default(); kernel.len()];
    for n in 0..examples {
        for o in 0..outputs {
            want_y[n * outputs + o].add(f64::from(bias[o]));
            for i in 0..inputs {
                let [x, w, g] = [
                    x[n * inputs + i],
                    kernel[i * outputs + o],
                    dy[n * outputs + o],
                ]
                .map(f64::from);
                want_y[n * outputs + o].add(x * w);
                want_dx[n * inputs + i].add(w * g);
                want_dkernel[i * outputs + o].add(x * g);
            }
        }
    }
    for level in levels() {
        let plan = Dense::new(inputs, outputs).unwrap().with_level(level);
        let what = |name| format!("{name} on {level:?} of {examples} × {inputs} × {outputs}");
        let mut y = vec![f32::NAN; dy.len()];
        plan.forward(&x, &kernel, Some(&bias), Activation::Linear, &mut y)
            .unwrap();
        assert_sums(&what("y"), &y, &want_y);
        for activation in [Activation::Linear, Activation::Relu6, Activation::Tanh] {
            plan.forward(&x, &kernel, Some(&bias), activation, &mut y)
                .unwrap();
            let prepared = PreparedDense::new(plan.clone(), &kernel, &bias, activation).unwrap();
            let mut prepared_y = vec![f32::NAN; dy.len()];
            prepared.forward(&x, &mut prepared_y).unwrap();
            assert_same_bits(&what("y of prepared weights"), &prepared_y, &y);
        }
        let mut dx = vec![f32::NAN; x.len()];
        plan.grad_input(&dy, &kernel, &mut dx).unwrap();
        assert_sums(&what("dx"), &dx, &want_dx);
        let mut dkernel = vec![f32::NAN; kernel.len()];
        plan.grad_kernel(&x, &dy, &mut dkernel).unwrap();
        assert_sums(&what("dkernel"), &dkernel, &want_dkernel);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_shape_matches_float64(
        examples in 0..40usize, inputs in 1..90usize, outputs in 1..90usize, seed in 0..1000u64,
    ) {
        check(examples, inputs, outputs, seed);
    }
}

#[test]
fn long_sums_stay_accurate() {
    check(3, 9216, 128, 1);
    check(130, 64, 600, 2);
    check(1100, 20, 10, 3);
}

#[test]
fn an_example_gets_the_same_bits_in_any_batch_and_on_any_threads() {
    let (inputs, outputs) = (1300, 130);
    let plan = Dense::new(inputs, outputs).unwrap();
    let (kernel, x, dy) = (
        values(inputs * outputs, 1),
        values(64 * inputs, 2),
        values(64 * outputs, 3),
    );
    let (mut want_y, mut want_dx) = (vec![0.0; 64 * outputs], vec![0.0; 64 * inputs]);
    on_threads(1, || {
        for n in 0..64 {
            let (x, y) = (
                &x[n * inputs..][..inputs],
                &mut want_y[n * outputs..][..outputs],
            );
            plan.forward(x, &kernel, None, Activation::Relu, y).unwrap();
            let (dy, dx) = (
                &dy[n * outputs..][..outputs],
                &mut want_dx[n * inputs..][..inputs],
            );
            plan.grad_input(dy, &kernel, dx).unwrap();
        }
    });
    let bias = vec![0.0; outputs];
    let prepared = PreparedDense::new(plan.clone(), &kernel, &bias, Activation::Relu).unwrap();
    for threads in [1, 2, 4] {
        for n in 1..=64 {
            let (mut y, mut dx) = (vec![0.0; n * outputs], vec![0.0; n * inputs]);
            on_threads(threads, || {
                plan.forward(&x[..n * inputs], &kernel, None, Activation::Relu, &mut y)
                    .unwrap();
                plan.grad_input(&dy[..n * outputs], &kernel, &mut dx)
                    .unwrap();
            });
            assert_same_bits("y", &y, &want_y[..n * outputs]);
            on_threads(threads, || {
                prepared.forward(&x[..n * inputs], &mut y).unwrap()
            });
            assert_same_bits("y of prepared weights", &y, &want_y[..n * outputs]);
            assert_same_bits("dx", &dx, &want_dx[..n * inputs]);
        }
    }
}
