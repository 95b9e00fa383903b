//! Convolutions with what follows them in training, against the same one after the other.
use kernels::{
    Activation, BatchNorm, Conv2d, Conv2dGrads, Conv2dShape, Input, Level, MaxPool2d, Normalizer,
    OutputGrad, Padding2d, Pool2dShape, ScaleShift,
};
use proptest::prelude::*;

use crate::reference::{assert_same_bits, conv_shapes, levels, on_threads, shape, values};

/// The gradients of the input, the kernel and the bias, and the sums of the input's normalisation, one after the other.
fn grads(plan: &Conv2d, x: Input, kernel: &[f32], dy: OutputGrad) -> [Vec<f32>; 4] {
    let (values, sums) = match x {
        Input::Plain(x) => (x, 0),
        Input::Normalized { by, x } => (x, 2 * by.channels()),
    };
    let lengths = [values.len(), kernel.len(), plan.shape().out_channels, sums];
    let mut grads = lengths.map(|len| vec![f32::NAN; len]);
    let [dx, dkernel, dbias, sums] = grads.each_mut().map(|grad| Some(grad.as_mut_slice()));
    let wanted = Conv2dGrads {
        dx,
        dkernel,
        dbias,
        sums,
    };
    plan.grads(x, kernel, dy, wanted).unwrap();
    grads
}

#[track_caller]
fn assert_near(what: &str, left: &[f32], right: &[f32]) {
    let scale = right
        .iter()
        .fold(1.0f32, |most, value| most.max(value.abs()));
    for (index, (left, right)) in left.iter().zip(right).enumerate() {
        let near = (left - right).abs() <= 2e-5 * scale;
        assert!(near, "{what}[{index}]: {left}, not {right}, of {scale}");
    }
}

/// A normalisation of `x` with an activation.
fn normalizer(channels: usize, level: Level, x: &[f32], seed: u64) -> Normalizer {
    let norm = BatchNorm::new(channels, 1e-3).unwrap().with_level(level);
    let norm = norm.with_activation(Activation::Relu).unwrap();
    let mut moments = vec![0.0; 2 * channels];
    norm.moments(x, &mut moments).unwrap();
    let (gamma, beta) = (values(channels, seed), values(channels, seed + 1));
    let weights = ScaleShift {
        gamma: Some(&gamma),
        beta: Some(&beta),
    };
    norm.normalizer(weights, &moments).unwrap()
}

fn check_normalized(shape: Conv2dShape, images: usize, seed: u64) {
    let channels = shape.out_channels;
    for level in levels() {
        let plan = Conv2d::new(shape).unwrap().with_level(level);
        let norm = BatchNorm::new(channels, 1e-3).unwrap().with_level(level);
        let norm = norm.with_activation(Activation::Relu).unwrap();
        let raw = values(images * plan.input_len(), seed);
        let before = normalizer(shape.in_channels, level, &raw, seed + 6);
        let mut x = vec![9.0; raw.len()];
        before.apply(&raw, &mut x).unwrap();
        let (kernel, bias) = (
            values(plan.kernel_len(), seed + 1),
            values(channels, seed + 2),
        );
        let (gamma, beta) = (values(channels, seed + 3), values(channels, seed + 4));
        let weights = ScaleShift {
            gamma: Some(&gamma),
            beta: Some(&beta),
        };
        let mut want = vec![0.0; images * plan.output_len()];
        plan.forward(&x, &kernel, Some(&bias), Activation::Linear, &mut want)
            .unwrap();
        let mut want_moments = vec![0.0; 2 * channels];
        norm.moments(&want, &mut want_moments).unwrap();

        let (mut y, mut moments) = (vec![9.0; want.len()], vec![9.0; 2 * channels]);
        let made = Input::Normalized {
            by: &before,
            x: &raw,
        };
        let from_last = plan.clone().from_last();
        for (plan, input) in [(&plan, Input::Plain(&x)), (&plan, made), (&from_last, made)] {
            plan.forward_moments(input, &kernel, Some(&bias), &norm, &mut y, &mut moments)
                .unwrap();
            assert_same_bits("y", &y, &want);
            assert_near("moments", &moments, &want_moments);
        }

        let dy = values(y.len(), seed + 5);
        let (mut dgamma, mut dbeta) = (vec![0.0; channels], vec![0.0; channels]);
        let by = norm.normalizer(weights, &moments).unwrap();
        let (sums, rows) = (by.sums(&y, &dy).unwrap(), y.len() / channels);
        let back = by.back(&sums, rows, [&mut dgamma, &mut dbeta]).unwrap();
        let mut dz = vec![9.0; y.len()];
        back.grad_input(&y, &dy, &mut dz).unwrap();
        let found = OutputGrad::Normalized {
            back: &back,
            y: &y,
            dy: &dy,
        };
        let want = grads(&plan, Input::Plain(&x), &kernel, OutputGrad::Plain(&dz));
        for (plan, input) in [(&plan, Input::Plain(&x)), (&plan, made), (&from_last, made)] {
            let found = grads(plan, input, &kernel, found);
            for (found, want) in found.iter().zip(&want[..3]) {
                assert_near("a normalised convolution's gradient", found, want);
            }
            if let Input::Normalized { by, x } = input {
                let want = by.sums(x, &found[0]).unwrap();
                assert_near("the sums of the normalisation before", &found[3], &want);
            }
        }
    }
}

fn check_pooled(
    shape: Conv2dShape,
    (window, stride): ((usize, usize), (usize, usize)),
    activation: Activation,
    images: usize,
    seed: u64,
) {
    let channels = shape.out_channels;
    for level in levels() {
        let plan = Conv2d::new(shape).unwrap().with_level(level);
        let pool = MaxPool2d::new(Pool2dShape {
            input: plan.output(),
            channels,
            window,
            stride,
            padding: Padding2d::default(),
        });
        let Ok(pool) = pool else { return };
        assert!(plan.pools(&pool));
        let x = values(images * plan.input_len(), seed);
        let (kernel, bias) = (
            values(plan.kernel_len(), seed + 1),
            values(channels, seed + 2),
        );
        let mut before = vec![0.0; images * plan.output_len()];
        plan.forward(&x, &kernel, Some(&bias), activation, &mut before)
            .unwrap();
        let mut want = vec![0.0; images * pool.output_len()];
        pool.forward(&before, &mut want).unwrap();

        let (mut y, mut places) = (vec![9.0; want.len()], vec![9.0; want.len()]);
        let then = (activation, &pool);
        plan.forward_pooled(&x, &kernel, Some(&bias), then, &mut y, &mut places)
            .unwrap();
        assert_same_bits("y", &y, &want);

        let dy = values(y.len(), seed + 5);
        let (mut dbefore, mut dsums) = (vec![9.0; before.len()], vec![9.0; before.len()]);
        pool.grad_input(&before, &dy, &mut dbefore).unwrap();
        activation
            .grad(level, &before, &dbefore, &mut dsums)
            .unwrap();
        let found = OutputGrad::Pooled {
            activation,
            pool: &pool,
            y: &y,
            places: &places,
            dy: &dy,
        };
        let found = grads(&plan, Input::Plain(&x), &kernel, found);
        let want = grads(&plan, Input::Plain(&x), &kernel, OutputGrad::Plain(&dsums));
        for (found, want) in found.iter().zip(&want) {
            assert_near("a pooled convolution's gradient", found, want);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_shape_is_normalised_as_afterwards(shape in conv_shapes(), images in 1..4usize, seed in 0..1000u64) {
        check_normalized(shape, images, seed);
    }

    #[test]
    fn any_shape_is_pooled_as_afterwards(
        shape in conv_shapes(),
        window in (1..4usize, 1..4usize),
        stride in (1..4usize, 1..4usize),
        activation in prop_oneof![Just(Activation::Relu), Just(Activation::Tanh), Just(Activation::Linear)],
        images in 0..4usize,
        seed in 0..1000u64,
    ) {
        check_pooled(shape, (window, stride), activation, images, seed);
    }
}

#[test]
fn the_networks_shapes_are_pooled_and_normalised_as_afterwards() {
    // By Winograd's method, and in more blocks than images and fewer.
    for (shape, images) in [
        (shape(14, (32, 32), 2, 1), 40),
        (shape(8, (32, 64), 3, 1), 5),
        (shape(9, (3, 32), 2, 0), 37),
    ] {
        check_pooled(shape, ((2, 2), (2, 2)), Activation::Relu, images, 1);
        check_normalized(shape, images, 2);
    }
}

#[test]
fn the_largest_is_found_as_without_a_convolution_between_nan_and_ties() {
    // A convolution that gives its input.
    let plan = Conv2d::new(shape(4, (1, 1), 1, 0)).unwrap();
    let pool = MaxPool2d::new(Pool2dShape {
        input: (4, 4),
        channels: 1,
        window: (2, 2),
        stride: (2, 2),
        padding: Padding2d::default(),
    })
    .unwrap();
    let x = [
        [1.0, 2.0, f32::NAN, 5.0],
        [2.0, 1.0, f32::NAN, 6.0],
        [f32::NEG_INFINITY, f32::NEG_INFINITY, 3.0, 1.0],
        [f32::NEG_INFINITY, f32::NEG_INFINITY, 1.0, f32::INFINITY],
    ]
    .concat();
    let (mut y, mut places) = ([9.0; 4], [9.0; 4]);
    let then = (Activation::Linear, &pool);
    plan.forward_pooled(&x, &[1.0], None, then, &mut y, &mut places)
        .unwrap();
    assert_eq!(places, [1.0, 0.0, 0.0, 3.0]);
    assert!(y[1].is_nan());
    assert_eq!([y[0], y[2], y[3]], [2.0, f32::NEG_INFINITY, f32::INFINITY]);
}

#[test]
fn gradients_have_the_same_bits_on_any_threads() {
    for (shape, images) in [
        (shape(14, (5, 70), 3, 1), 9),
        (shape(14, (32, 32), 2, 1), 50),
    ] {
        let plan = Conv2d::new(shape).unwrap();
        let norm = BatchNorm::new(shape.out_channels, 1e-3).unwrap();
        let x = values(images * plan.input_len(), 1);
        let kernel = values(plan.kernel_len(), 2);
        let dy = values(images * plan.output_len(), 3);
        let on = |threads| {
            on_threads(threads, || {
                let mut y = vec![0.0; dy.len()];
                let mut moments = vec![0.0; 2 * shape.out_channels];
                let by = &normalizer(shape.in_channels, Level::default(), &x, 4);
                let x = Input::Normalized { by, x: &x };
                plan.forward_moments(x, &kernel, None, &norm, &mut y, &mut moments)
                    .unwrap();
                let [mut dgamma, mut dbeta] = [0, 1].map(|_| vec![0.0; shape.out_channels]);
                let by = norm.normalizer(ScaleShift::default(), &moments).unwrap();
                let (sums, rows) = (by.sums(&y, &dy).unwrap(), y.len() / shape.out_channels);
                let back = by.back(&sums, rows, [&mut dgamma, &mut dbeta]).unwrap();
                let dy = OutputGrad::Normalized {
                    back: &back,
                    y: &y,
                    dy: &dy,
                };
                let [dx, dkernel, dbias, sums] = grads(&plan, x, &kernel, dy);
                [moments.clone(), dx, dkernel, dbias, sums].concat()
            })
        };
        let want = on(1);
        for threads in [2, 3, 4] {
            assert_same_bits("moments and gradients", &on(threads), &want);
        }
    }
}

#[test]
fn a_pooling_of_something_else_is_refused() {
    let plan = Conv2d::new(shape(6, (1, 2), 3, 0)).unwrap();
    let pool = MaxPool2d::new(Pool2dShape {
        input: (5, 5),
        channels: 2,
        window: (2, 2),
        stride: (2, 2),
        padding: Padding2d::default(),
    })
    .unwrap();
    let (mut y, mut places) = ([0.0; 8], [0.0; 8]);
    let then = (Activation::Relu, &pool);
    let error = plan
        .forward_pooled(&[0.0; 36], &[0.0; 18], None, then, &mut y, &mut places)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the pooling's input holds 50 values where its shape needs 32"
    );
}
