//! Convolution and its gradients.
use kernels::{Activation, Conv2d, Conv2dGrads, Conv2dShape, Input, OutputGrad, Padding2d};
use proptest::prelude::*;

use crate::reference::{
    Sum, assert_near, assert_same_bits, assert_sums, conv_shapes, levels, on_threads, products,
    shape, values,
};

/// The gradients of the input, the kernel and the bias.
fn grads(plan: &Conv2d, x: &[f32], kernel: &[f32], dy: &[f32]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let (mut dx, mut dkernel) = (vec![f32::NAN; x.len()], vec![f32::NAN; kernel.len()]);
    let mut dbias = vec![f32::NAN; plan.shape().out_channels];
    let wanted = Conv2dGrads {
        dx: Some(&mut dx),
        dkernel: Some(&mut dkernel),
        dbias: Some(&mut dbias),
        sums: None,
    };
    plan.grads(Input::Plain(x), kernel, OutputGrad::Plain(dy), wanted)
        .unwrap();
    (dx, dkernel, dbias)
}

/// Compares forward and all gradients with the reference on every level.
fn check(shape: Conv2dShape, images: usize, seed: u64) {
    let plan = Conv2d::new(shape).unwrap();
    let x = values(images * plan.input_len(), seed);
    let kernel = values(plan.kernel_len(), seed + 1);
    let bias = values(shape.out_channels, seed + 2);
    let dy = values(images * plan.output_len(), seed + 3);

    let mut want_y = vec![Sum::default(); dy.len()];
    let mut want_dx = vec![Sum::default(); x.len()];
    let mut want_dkernel = vec![Sum::default(); kernel.len()];
    products(&plan, images, |i, k, o| {
        let [x, w, g] = [x[i], kernel[k], dy[o]].map(f64::from);
        want_y[o].add(x * w);
        want_dx[i].add(w * g);
        want_dkernel[k].add(x * g);
    });
    let mut want_dbias = vec![Sum::default(); bias.len()];
    for (index, dy) in dy.iter().enumerate() {
        want_dbias[index % bias.len()].add(f64::from(*dy));
    }
    let plain = want_y.clone();
    for (index, sum) in want_y.iter_mut().enumerate() {
        sum.add(f64::from(bias[index % bias.len()]));
    }

    // Where Winograd's method may be used, errors are relative to the largest result.
    let winograd = matches!(shape.kernel, (2, 2) | (3, 3))
        && (shape.stride, shape.dilation, shape.groups) == ((1, 1), (1, 1), 1);
    let assert_sums = if winograd && shape.in_channels.max(shape.out_channels) >= 8 {
        assert_near
    } else {
        assert_sums
    };
    for level in levels() {
        let plan = plan.clone().with_level(level);
        let what = |name| format!("{name} on {level:?} of {shape:?}");
        let mut y = vec![f32::NAN; dy.len()];
        plan.forward(&x, &kernel, None, Activation::Linear, &mut y)
            .unwrap();
        assert_sums(&what("y without bias"), &y, &plain);
        plan.forward(&x, &kernel, Some(&bias), Activation::Linear, &mut y)
            .unwrap();
        assert_sums(&what("y"), &y, &want_y);
        let mut rectified = vec![f32::NAN; dy.len()];
        plan.forward(&x, &kernel, Some(&bias), Activation::Relu, &mut rectified)
            .unwrap();
        let want: Vec<f32> = y.iter().map(|y| y.max(0.0)).collect();
        assert_eq!(rectified, want, "{}", what("relu"));

        let (dx, dkernel, dbias) = grads(&plan, &x, &kernel, &dy);
        assert_sums(&what("dx"), &dx, &want_dx);
        assert_sums(&what("dkernel"), &dkernel, &want_dkernel);
        assert_sums(&what("dbias"), &dbias, &want_dbias);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn any_shape_matches_float64(shape in conv_shapes(), images in 0..4usize, seed in 0..1000u64) {
        check(shape, images, seed);
    }

    #[test]
    fn any_small_square_matches_float64(
        size in 2..4usize,
        input in (1..15usize, 1..15usize),
        channels in (prop_oneof![8..72usize, Just(32), Just(64)], prop_oneof![8..72usize, Just(32), Just(64)]),
        pad in prop::array::uniform4(0..3usize),
        images in 0..4usize,
        seed in 0..1000u64,
    ) {
        let [top, bottom, left, right] = pad;
        let padding = Padding2d { top, bottom, left, right };
        let shape = Conv2dShape { input, padding, ..shape(1, channels, size, 0) };
        if Conv2d::new(shape).is_ok() {
            check(shape, images, seed);
        }
    }

    #[test]
    fn any_depthwise_three_by_three_matches_float64(
        input in (1..40usize, 1..40usize),
        stride in (1..4usize, 1..4usize),
        dilation in 1..3usize,
        channels in prop_oneof![Just(16usize), Just(32), Just(33), Just(48)],
        pad in prop::array::uniform4(0..3usize),
        images in 0..3usize,
        seed in 0..1000u64,
    ) {
        let [top, bottom, left, right] = pad;
        let padding = Padding2d { top, bottom, left, right };
        let dilation = (1, dilation);
        let shape = Conv2dShape {
            input, padding, stride, dilation, groups: channels, ..shape(1, (channels, channels), 3, 0)
        };
        if Conv2d::new(shape).is_ok() {
            check(shape, images, seed);
        }
    }

    #[test]
    fn any_depthwise_of_few_channels_matches_float64(
        input in (1..40usize, 1..40usize),
        kernel in (1..5usize, 1..5usize),
        stride in (1..4usize, 1..4usize),
        dilation in (1..3usize, 1..3usize),
        channels in 1..18usize,
        pad in prop::array::uniform4(0..4usize),
        images in 0..4usize,
        seed in 0..1000u64,
    ) {
        let [top, bottom, left, right] = pad;
        let padding = Padding2d { top, bottom, left, right };
        let shape = Conv2dShape {
            input, kernel, padding, stride, dilation, groups: channels, ..shape(1, (channels, channels), 1, 0)
        };
        if Conv2d::new(shape).is_ok() {
            check(shape, images, seed);
        }
    }

    #[test]
    fn plans_never_panic(
        sizes in prop::array::uniform10(prop_oneof![0..4usize, Just(usize::MAX), Just(1 << 40)]),
        pad in prop::array::uniform4(prop_oneof![0..3usize, Just(usize::MAX)]),
    ) {
        let [a, b, c, d, e, f, g, h, i, j] = sizes;
        let padding = Padding2d { top: pad[0], bottom: pad[1], left: pad[2], right: pad[3] };
        let plan = Conv2d::new(Conv2dShape {
            input: (a, b), in_channels: c, out_channels: d, kernel: (e, f), stride: (g, h), dilation: (i, j), padding,
            groups: 1,
        });
        if let Ok(plan) = plan && plan.input_len() < 1000 && plan.output_len() < 1000 && plan.kernel_len() < 1000 {
            check(*plan.shape(), 1, 1);
        }
    }
}

#[test]
fn the_networks_shapes_match_float64() {
    check(shape(28, (1, 32), 3, 0), 2, 1);
    check(shape(26, (32, 64), 3, 0), 2, 2);
    check(shape(14, (32, 32), 2, 1), 2, 7);
    check(shape(8, (128, 128), 3, 1), 1, 3);
    check(shape(9, (70, 50), 1, 0), 3, 4);
    check(
        Conv2dShape {
            stride: (2, 2),
            ..shape(15, (3, 32), 3, 1)
        },
        2,
        5,
    );
    check(
        Conv2dShape {
            groups: 40,
            ..shape(12, (40, 40), 3, 1)
        },
        2,
        6,
    );
}

#[test]
fn an_image_gets_the_same_bits_in_any_batch_and_on_any_threads() {
    for shape in [
        shape(14, (5, 70), 3, 1),
        shape(9, (20, 70), 3, 1),
        shape(9, (33, 70), 2, 1),
        Conv2dShape {
            groups: 24,
            ..shape(14, (24, 24), 3, 1)
        },
        Conv2dShape {
            groups: 32,
            ..shape(14, (32, 32), 3, 1)
        },
        Conv2dShape {
            groups: 3,
            stride: (2, 2),
            ..shape(95, (3, 3), 3, 1)
        },
    ] {
        let plan = Conv2d::new(shape).unwrap();
        let kernel = values(plan.kernel_len(), 1);
        let bias = values(shape.out_channels, 2);
        let x = values(64 * plan.input_len(), 3);
        let dy = values(64 * plan.output_len(), 4);
        let one = |image: usize| {
            let mut y = vec![0.0; plan.output_len()];
            let x = &x[image * plan.input_len()..][..plan.input_len()];
            plan.forward(x, &kernel, Some(&bias), Activation::Relu, &mut y)
                .unwrap();
            let dy = &dy[image * plan.output_len()..][..plan.output_len()];
            (y, grads(&plan, x, &kernel, dy).0)
        };
        let alone: (Vec<_>, Vec<_>) = on_threads(1, || (0..64).map(one).unzip());
        let (want_y, want_dx) = (alone.0.concat(), alone.1.concat());
        for threads in [1, 2, 4] {
            for images in [1, 2, 3, 7, 16, 33, 64] {
                let (inputs, outputs) = (images * plan.input_len(), images * plan.output_len());
                let mut y = vec![0.0; outputs];
                let dx = on_threads(threads, || {
                    plan.forward(&x[..inputs], &kernel, Some(&bias), Activation::Relu, &mut y)
                        .unwrap();
                    grads(&plan, &x[..inputs], &kernel, &dy[..outputs]).0
                });
                assert_same_bits("y", &y, &want_y[..outputs]);
                assert_same_bits("dx", &dx, &want_dx[..inputs]);
            }
        }
    }
}

#[test]
fn the_weights_gradients_have_the_same_bits_on_any_threads() {
    for shape in [
        shape(14, (5, 70), 3, 1),
        shape(28, (1, 32), 3, 0),
        shape(6, (384, 384), 3, 1),
    ] {
        let plan = Conv2d::new(shape).unwrap();
        let (x, dy) = (
            values(9 * plan.input_len(), 1),
            values(9 * plan.output_len(), 2),
        );
        let kernel = values(plan.kernel_len(), 3);
        let on = |threads| on_threads(threads, || grads(&plan, &x, &kernel, &dy));
        let want = on(1);
        for threads in [2, 3, 4] {
            let (_, dkernel, dbias) = on(threads);
            assert_same_bits("dkernel", &dkernel, &want.1);
            assert_same_bits("dbias", &dbias, &want.2);
        }
    }
}

#[test]
fn nan_and_infinity_go_through() {
    let plan = Conv2d::new(shape(5, (1, 20), 3, 1)).unwrap();
    let kernel = vec![1.0; plan.kernel_len()];
    for level in levels() {
        let plan = plan.clone().with_level(level);
        for (value, spread) in [(f32::NAN, f32::NAN), (f32::INFINITY, f32::INFINITY)] {
            let mut x = vec![0.0; 25];
            x[0] = value;
            let mut y = vec![0.0; plan.output_len()];
            plan.forward(&x, &kernel, None, Activation::Relu, &mut y)
                .unwrap();
            for (index, y) in y.iter().enumerate() {
                let touched = [0, 1, 5, 6].contains(&(index / 20));
                let want = if touched { spread } else { 0.0 };
                assert!(
                    *y == want || (y.is_nan() && want.is_nan()),
                    "pixel {}: {y}",
                    index / 20
                );
            }
        }
    }
}

/// Winograd's method would spread what isn't finite over a tile, and overflow where the sums themselves don't.
#[test]
fn what_is_not_finite_stays_where_it_belongs() {
    let shape = shape(11, (40, 70), 3, 1);
    let plan = Conv2d::new(shape).unwrap();
    let (images, kernel) = (3, values(plan.kernel_len(), 1));
    let clean = values(images * plan.input_len(), 2);
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2e38] {
        let mut x = clean.clone();
        let (image, row, column) = (1, 6, 3);
        x[((image * 11 + row) * 11 + column) * 40 + 7] = value;
        let mut want = vec![0.0f64; images * plan.output_len()];
        products(&plan, images, |i, k, o| {
            want[o] += f64::from(x[i]) * f64::from(kernel[k])
        });
        for level in levels() {
            let plan = plan.clone().with_level(level);
            let on = |threads| {
                let mut y = vec![0.0; want.len()];
                let work = || {
                    plan.forward(&x, &kernel, None, Activation::Linear, &mut y)
                        .unwrap()
                };
                on_threads(threads, work);
                y
            };
            let y = on(1);
            assert_same_bits("y on four threads", &on(4), &y);
            for (index, (got, want)) in y.iter().zip(&want).enumerate() {
                let near = (f64::from(*got) - want).abs() <= 1e-4 * want.abs().max(1.0);
                let same = f64::from(*got) == *want || (got.is_nan() && want.is_nan());
                assert!(
                    near || same,
                    "{value} on {level:?}: {got} at {index}, not {want}"
                );
            }
            // The other images don't notice.
            let alone = |image: usize| {
                let mut y = vec![0.0; plan.output_len()];
                let x = &x[image * plan.input_len()..][..plan.input_len()];
                plan.forward(x, &kernel, None, Activation::Linear, &mut y)
                    .unwrap();
                y
            };
            for image in 0..images {
                assert_same_bits(
                    "an image",
                    &y[image * plan.output_len()..][..plan.output_len()],
                    &alone(image),
                );
            }
        }
    }
}

#[test]
fn refusals_say_what_is_wrong() {
    let code = |shape| Conv2d::new(shape).unwrap_err().code();
    let good = shape(5, (4, 6), 3, 0);
    assert_eq!(
        code(Conv2dShape {
            input: (0, 5),
            ..good
        }),
        "size_zero"
    );
    assert_eq!(
        code(Conv2dShape {
            stride: (1, 0),
            ..good
        }),
        "size_zero"
    );
    assert_eq!(
        code(Conv2dShape { groups: 4, ..good }),
        "groups_indivisible"
    );
    assert_eq!(
        code(Conv2dShape {
            kernel: (3, 6),
            ..good
        }),
        "window_exceeds_image"
    );
    assert_eq!(code(shape(5, (4, 6), 3, 3)), "padding_exceeds_window");
    assert_eq!(
        code(Conv2dShape {
            in_channels: 1 << 40,
            ..good
        }),
        "size_too_large"
    );
    assert_eq!(
        code(Conv2dShape {
            in_channels: 1 << 62,
            ..good
        }),
        "size_too_large"
    );

    let plan = Conv2d::new(good).unwrap();
    let (kernel, mut y) = (vec![0.0; plan.kernel_len()], vec![0.0; plan.output_len()]);
    let error = plan
        .forward(&[0.0; 99], &kernel, None, Activation::Linear, &mut y)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the input holds 99 values where its shape needs 100"
    );
    let error = plan
        .forward(
            &[0.0; 100],
            &kernel,
            Some(&[0.0; 5]),
            Activation::Linear,
            &mut y,
        )
        .unwrap_err();
    assert_eq!(error.code(), "length_mismatch");
    assert!(
        plan.forward(&[0.0; 200], &kernel, None, Activation::Linear, &mut y)
            .is_err()
    );
    let wanted = Conv2dGrads {
        dkernel: Some(&mut [0.0; 3]),
        ..Conv2dGrads::default()
    };
    let error = plan
        .grads(
            Input::Plain(&[0.0; 100]),
            &kernel,
            OutputGrad::Plain(&y),
            wanted,
        )
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the kernel's gradient holds 3 values where its shape needs 216"
    );
}
