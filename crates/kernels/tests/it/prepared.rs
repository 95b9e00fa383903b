//! Convolutions prepared with their weights, alone and with what comes after them.
use kernels::{Activation, Conv2d, Conv2dShape, MaxPool2d, Padding2d, Pool2dShape, PreparedConv2d};
use proptest::prelude::*;

use crate::reference::{assert_same_bits, conv_shapes, levels, on_threads, shape, values};

const ACTIVATIONS: [Activation; 3] = [Activation::Linear, Activation::Relu6, Activation::Tanh];

/// What a convolution gives by itself, and the weights to prepare it with.
struct Case {
    plan: Conv2d,
    kernel: Vec<f32>,
    bias: Vec<f32>,
    activation: Activation,
    x: Vec<f32>,
    y: Vec<f32>,
}

impl Case {
    fn new(plan: Conv2d, images: usize, activation: Activation, seed: u64) -> Self {
        let mut x = values(images * plan.input_len(), seed);
        if let Some(value) = x.get_mut(seed as usize % 100) {
            *value = f32::NAN;
        }
        let kernel = values(plan.kernel_len(), seed + 1);
        let bias = values(plan.shape().out_channels, seed + 2);
        let mut y = vec![0.5; images * plan.output_len()];
        plan.forward(&x, &kernel, Some(&bias), activation, &mut y)
            .unwrap();
        Self {
            plan,
            kernel,
            bias,
            activation,
            x,
            y,
        }
    }

    fn prepared(&self) -> PreparedConv2d {
        PreparedConv2d::new(self.plan.clone(), &self.kernel, &self.bias, self.activation).unwrap()
    }

    fn run(&self, prepared: &PreparedConv2d) -> Vec<f32> {
        let images = self.x.len() / prepared.input_len();
        let mut y = vec![0.5; images * prepared.output_len()];
        prepared.forward(&self.x, &mut y).unwrap();
        y
    }
}

/// A depthwise convolution that pads images of this size so, if they are large enough.
fn next(input: (usize, usize), channels: usize, padding: Padding2d) -> Option<Conv2d> {
    let shape = Conv2dShape {
        input,
        padding,
        groups: channels,
        ..shape(1, (channels, channels), 3, 0)
    };
    Conv2d::new(shape).ok()
}

/// `y` with zeros around each image.
fn surrounded(
    y: &[f32],
    (height, width): (usize, usize),
    channels: usize,
    zeros: Padding2d,
) -> Vec<f32> {
    let wide = (zeros.left + width + zeros.right) * channels;
    let mut all = Vec::new();
    for image in y.chunks(height * width * channels) {
        all.extend(vec![0.0; zeros.top * wide]);
        for line in image.chunks(width * channels) {
            all.extend(vec![0.0; zeros.left * channels]);
            all.extend(line);
            all.extend(vec![0.0; zeros.right * channels]);
        }
        all.extend(vec![0.0; zeros.bottom * wide]);
    }
    all
}

/// Whether both are the same numbers, whatever a zero's sign.
fn assert_same_values(what: &str, found: &[f32], wanted: &[f32]) {
    let bits = |values: &[f32]| Vec::from_iter(values.iter().map(|value| value + 0.0));
    assert_same_bits(what, &bits(found), &bits(wanted));
}

fn check(shape: Conv2dShape, images: usize, zeros: Padding2d, seed: u64) {
    let activation = ACTIVATIONS[seed as usize % 3];
    for level in levels() {
        let plan = Conv2d::new(shape).unwrap().with_level(level);
        let output = plan.output();
        let channels = shape.out_channels;
        let case = Case::new(plan, images, activation, seed);
        let what = |name| format!("{name} on {level:?} of {activation:?} {shape:?}");

        let prepared = case.prepared();
        let plain = on_threads(2, || case.run(&prepared));
        assert_same_bits(&what("prepared"), &plain, &case.y);

        let mut around = prepared.clone();
        let padded = next(output, channels, zeros).and_then(|next| around.surround(&next));
        if let Some(padded) = padded {
            let wanted = surrounded(&case.y, output, channels, zeros);
            let found = on_threads(4, || case.run(&around));
            assert_same_bits(&what("surrounded"), &found, &wanted);
            assert_eq!(padded.padding, Padding2d::default());
            assert_eq!(
                Conv2d::new(padded).unwrap().input_len(),
                around.output_len()
            );
        }

        let pool = Pool2dShape {
            input: output,
            channels,
            window: (2, 2),
            stride: (2, 2),
            padding: Padding2d::default(),
        };
        let mut pooled = prepared;
        if pooled.pool(&pool) {
            let pool = MaxPool2d::new(pool).unwrap();
            let mut wanted = vec![0.5; images * pool.output_len()];
            pool.forward(&case.y, &mut wanted).unwrap();
            let found = on_threads(3, || case.run(&pooled));
            assert_same_values(&what("pooled"), &found, &wanted);
            let next = next(pool.output(), channels, zeros);
            if next.and_then(|next| pooled.surround(&next)).is_some() {
                let wanted = surrounded(&wanted, pool.output(), channels, zeros);
                assert_same_values(&what("both"), &case.run(&pooled), &wanted);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn what_comes_after_a_convolution_can_be_part_of_it(
        shape in conv_shapes(),
        images in 0..4usize,
        zeros in prop::array::uniform4(0..3usize),
        seed in 0..1000u64,
    ) {
        let [top, bottom, left, right] = zeros;
        check(shape, images, Padding2d { top, bottom, left, right }, seed);
    }
}

/// A convolution that gives images of their own size.
fn same(size: usize, channels: (usize, usize), kernel: usize) -> Conv2dShape {
    Conv2dShape {
        padding: Padding2d {
            bottom: kernel - 1,
            right: kernel - 1,
            ..Padding2d::default()
        },
        ..shape(size, channels, kernel, 0)
    }
}

#[test]
fn the_usual_layers_are_pooled_and_surrounded() {
    let one = Padding2d {
        top: 1,
        bottom: 1,
        left: 1,
        right: 1,
    };
    for (size, channels, kernel) in [(28, (3, 32), 2), (13, (5, 40), 1), (9, (1, 16), 5)] {
        let shape = same(size, channels, kernel);
        check(shape, 3, one, 1);
        let case = Case::new(Conv2d::new(shape).unwrap(), 1, Activation::Relu, 2);
        let output = case.plan.output();
        let pool = Pool2dShape {
            input: output,
            channels: channels.1,
            window: (2, 2),
            stride: (2, 2),
            padding: Padding2d::default(),
        };
        assert!(case.prepared().pool(&pool), "{shape:?}");
        let after = next(output, channels.1, one).unwrap();
        assert!(case.prepared().surround(&after).is_some(), "{shape:?}");
        let other = next((output.0 + 1, output.1), channels.1, one).unwrap();
        assert!(case.prepared().surround(&other).is_none(), "{shape:?}");
        let wide = Pool2dShape {
            window: (3, 3),
            ..pool
        };
        assert!(!case.prepared().pool(&wide), "{shape:?}");
    }
}

#[test]
fn weights_of_other_lengths_are_refused() {
    let plan = Conv2d::new(same(8, (3, 4), 3)).unwrap();
    let kernel = vec![0.0; plan.kernel_len()];
    let prepare = |kernel: &[f32], bias: &[f32]| {
        PreparedConv2d::new(plan.clone(), kernel, bias, Activation::Relu).map(|_| ())
    };
    assert!(prepare(&kernel, &[0.0; 4]).is_ok());
    let kernel_error = prepare(&kernel[1..], &[0.0; 4]).unwrap_err().to_string();
    assert!(
        kernel_error.contains("107") && kernel_error.contains("108"),
        "{kernel_error}"
    );
    let bias_error = prepare(&kernel, &[0.0; 3]).unwrap_err().to_string();
    assert!(bias_error.contains("bias"), "{bias_error}");
}
