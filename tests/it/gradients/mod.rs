//! The gradients of the operations that run on our kernels: as Burn's own, and as the slopes of the same operation in
//! float64.

mod view;

use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData, activation, module};
use irori::architecture::Activation;
use irori::network::ops::{self, Norm, Padding, Value, Window};

use view::{View, view};

const TOLERANCE: f64 = 1e-4;
/// The step of a central difference: its error is of this size squared, in float64.
const STEP: f64 = 1e-5;

/// Numbers of about -1 to 1 in no order, none of them twice, that float32 and float64 have both.
fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        f64::from((state >> 40) as f32 / (1u32 << 23) as f32 - 1.0)
    };
    (0..count).map(next).collect()
}

/// A tensor whose gradient is asked for.
fn tensor<const D: usize>(values: &[f64], shape: [usize; D]) -> Tensor<D> {
    let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    let device = Device::flex().autodiff();
    Tensor::from_data(TensorData::new(values, shape), &device).require_grad()
}

fn to_f64<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let values: Vec<f32> = tensor.into_data().try_into_vec().unwrap();
    values.into_iter().map(f64::from).collect()
}

/// The slope of `value` along some of `at`, at most 60 of them, each with its place.
fn slopes(at: &[f64], value: impl Fn(&[f64]) -> f64) -> Vec<(usize, f64)> {
    let places = (0..at.len()).step_by(at.len().div_ceil(60));
    let mut at = at.to_vec();
    let slope = |index: usize| {
        let middle = at[index];
        at[index] = middle + STEP;
        let above = value(&at);
        at[index] = middle - STEP;
        let below = value(&at);
        at[index] = middle;
        (index, (above - below) / (2.0 * STEP))
    };
    places.map(slope).collect()
}

/// Holds a gradient to Burn's, and to some slopes of it.
#[track_caller]
fn agree(found: &[f64], burns: &[f64], slopes: &[(usize, f64)], what: &str) {
    assert_eq!(found.len(), burns.len(), "{what}");
    let largest = burns
        .iter()
        .fold(1.0f64, |most, value| most.max(value.abs()));
    let burns = burns
        .iter()
        .enumerate()
        .map(|(index, &value)| ("Burn", index, value));
    let slopes = slopes
        .iter()
        .map(|&(index, value)| ("float64", index, value));
    for (whose, index, expected) in burns.chain(slopes) {
        let found = found[index];
        assert!(
            (found - expected).abs() <= TOLERANCE * largest,
            "{what}, {index}: {found}, but {whose} has {expected}"
        );
    }
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Linear => x,
        Activation::Relu => x.max(0.0),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
        other => unreachable!("{other:?} is not compared"),
    }
}

fn activate_with_burn(then: Activation, x: Tensor<4>) -> Tensor<4> {
    match then {
        Activation::Linear => x,
        Activation::Relu => activation::relu(x),
        Activation::Sigmoid => activation::sigmoid(x),
        Activation::Tanh => activation::tanh(x),
        other => unreachable!("{other:?} is not compared"),
    }
}

/// The sum of an operation's results with these weights, so that each result has a gradient of its own.
fn weighed(y: &[f64], weights: &[f64]) -> f64 {
    y.iter().zip(weights).map(|(y, weight)| y * weight).sum()
}

/// The gradients by `x`, `kernel` and `bias` of an operation, weighed.
fn weighted_gradients<const X: usize, const K: usize, const Y: usize>(
    [x, kernel, bias, weights]: [&[f64]; 4],
    (x_shape, kernel_shape): ([usize; X], [usize; K]),
    operation: impl Fn(Tensor<X>, Tensor<K>, Tensor<1>) -> Tensor<Y>,
) -> [Vec<f64>; 3] {
    let (x, kernel, bias) = (
        tensor(x, x_shape),
        tensor(kernel, kernel_shape),
        tensor(bias, [bias.len()]),
    );
    let y = operation(x.clone(), kernel.clone(), bias.clone());
    let weights = tensor(weights, y.dims()).detach();
    let gradients = (y * weights).sum().backward();
    [
        to_f64(x.grad(&gradients).unwrap()),
        to_f64(kernel.grad(&gradients).unwrap()),
        to_f64(bias.grad(&gradients).unwrap()),
    ]
}

#[test]
fn convolutions_have_the_gradients_of_burn_and_of_float64() {
    use Activation::{Linear, Relu, Sigmoid, Tanh};
    let cases = [
        (
            view([2, 6, 7, 3], [3, 3], [1, 1], [1, 1], false),
            5,
            1,
            Linear,
        ),
        // The shape of the faster method, wide enough to be worth it.
        (
            view([2, 9, 10, 17], [3, 3], [1, 1], [1, 1], true),
            33,
            1,
            Linear,
        ),
        (
            view([3, 5, 5, 1], [2, 2], [1, 1], [1, 1], true),
            17,
            1,
            Tanh,
        ),
        (
            view([2, 9, 8, 4], [3, 2], [2, 3], [1, 1], true),
            6,
            2,
            Sigmoid,
        ),
        (view([1, 9, 9, 3], [3, 3], [1, 1], [2, 2], true), 4, 1, Tanh),
        (view([2, 7, 6, 5], [3, 3], [2, 2], [1, 1], true), 5, 5, Relu),
        (
            view([2, 5, 4, 3], [3, 3], [1, 1], [1, 1], false),
            6,
            3,
            Sigmoid,
        ),
        (
            view([4, 1, 1, 6], [1, 1], [1, 1], [1, 1], false),
            8,
            1,
            Relu,
        ),
    ];
    for (seed, (view, filters, groups, then)) in (1..).zip(cases) {
        let what = format!("{view:?}, {filters} filters, {groups} groups, {then:?}");
        let [n, .., channels] = view.input;
        let [out_h, out_w] = view.output();
        let [kh, kw] = view.window.size;
        let kernel_shape = [kh, kw, channels / groups, filters];
        let x = numbers(view.input.iter().product(), seed);
        let kernel = numbers(kernel_shape.iter().product(), seed + 100);
        let bias = numbers(filters, seed + 200);
        let weights = numbers(n * out_h * out_w * filters, seed + 300);
        let values = [&x, &kernel, &bias, &weights].map(Vec::as_slice);
        let shapes = (view.input, kernel_shape);

        let found = weighted_gradients(values, shapes, |x, kernel, bias| {
            ops::conv2d(x, kernel, Some(bias), &view.window, groups, then)
        });
        let burns = weighted_gradients(values, shapes, |x, kernel, bias| {
            let Padding {
                top,
                bottom,
                left,
                right,
            } = view.window.padding;
            let options = ConvOptions::new_with_padding(
                view.window.strides,
                [(top, bottom), (left, right)],
                view.window.dilation,
                groups,
            );
            let x = x.permute([0, 3, 1, 2]);
            let y = module::conv2d(x, kernel.permute([3, 2, 0, 1]), Some(bias), options);
            activate_with_burn(then, y.permute([0, 2, 3, 1]))
        });
        let total = |x: &[f64], kernel: &[f64], bias: &[f64]| {
            let y = view.conv2d(x, kernel, bias, groups);
            let y: Vec<f64> = y.into_iter().map(|y| activate(then, y)).collect();
            weighed(&y, &weights)
        };
        let plain = [
            slopes(&x, |x| total(x, &kernel, &bias)),
            slopes(&kernel, |kernel| total(&x, kernel, &bias)),
            slopes(&bias, |bias| total(&x, &kernel, bias)),
        ];
        for (index, of) in ["x", "kernel", "bias"].into_iter().enumerate() {
            agree(
                &found[index],
                &burns[index],
                &plain[index],
                &format!("{what}: {of}"),
            );
        }
    }
}

#[test]
fn dense_layers_have_the_gradients_of_burn_and_of_float64() {
    for (seed, [n, inputs, outputs]) in (1..).zip([[1, 1, 1], [3, 17, 5], [5, 33, 19], [2, 64, 32]])
    {
        let x = numbers(n * inputs, seed);
        let kernel = numbers(inputs * outputs, seed + 100);
        let bias = numbers(outputs, seed + 200);
        let weights = numbers(n * outputs, seed + 300);
        let values = [&x, &kernel, &bias, &weights].map(Vec::as_slice);
        let shapes = ([n, 1, 1, inputs], [inputs, outputs]);
        let found = weighted_gradients(values, shapes, |x, kernel, bias| {
            ops::dense(x, kernel, Some(bias), Activation::Tanh)
        });
        let burns = weighted_gradients(values, shapes, |x, kernel, bias| {
            let y = x.reshape([n, inputs]).matmul(kernel) + bias.unsqueeze();
            y.tanh()
        });
        let total = |x: &[f64], kernel: &[f64], bias: &[f64]| {
            let rows = x.chunks(inputs).flat_map(|x| {
                bias.iter().enumerate().map(move |(column, bias)| {
                    let terms = x
                        .iter()
                        .enumerate()
                        .map(|(row, x)| x * kernel[row * outputs + column]);
                    (bias + terms.sum::<f64>()).tanh()
                })
            });
            weighed(&rows.collect::<Vec<_>>(), &weights)
        };
        let plain = [
            slopes(&x, |x| total(x, &kernel, &bias)),
            slopes(&kernel, |kernel| total(&x, kernel, &bias)),
            slopes(&bias, |bias| total(&x, &kernel, bias)),
        ];
        for (index, of) in ["x", "kernel", "bias"].into_iter().enumerate() {
            agree(
                &found[index],
                &burns[index],
                &plain[index],
                &format!("{inputs}-{outputs}: {of}"),
            );
        }
    }
}

#[test]
fn pools_have_the_gradients_of_burn_and_of_float64() {
    let views = [
        view([2, 6, 8, 3], [2, 2], [2, 2], [1, 1], false),
        view([1, 7, 5, 17], [3, 2], [2, 1], [1, 1], false),
        view([2, 5, 7, 4], [3, 3], [2, 2], [1, 1], true),
        view([3, 1, 1, 5], [1, 1], [1, 1], [1, 1], true),
    ];
    let gradient =
        |view: &View, x: &[f64], weights: &[f64], pool: &dyn Fn(Tensor<4>) -> Tensor<4>| {
            let x = tensor(x, view.input);
            let y = pool(x.clone());
            let weights = tensor(weights, y.dims()).detach();
            to_f64(x.grad(&(y * weights).sum().backward()).unwrap())
        };
    let channels_first = |x: Tensor<4>| x.permute([0, 3, 1, 2]);
    let channels_last = |x: Tensor<4>| x.permute([0, 2, 3, 1]);
    for (seed, view) in (1..).zip(views) {
        let [n, .., channels] = view.input;
        let [out_h, out_w] = view.output();
        let Window {
            size,
            strides,
            padding,
            ..
        } = view.window;
        let pairs = [(padding.top, padding.bottom), (padding.left, padding.right)];
        let x = numbers(view.input.iter().product(), seed);
        let weights = numbers(n * out_h * out_w * channels, seed + 100);

        let found = gradient(&view, &x, &weights, &|x| ops::max_pool2d(x, &view.window));
        let burns = gradient(&view, &x, &weights, &|x| {
            let options = MaxPoolOptions::new(size)
                .with_stride(strides)
                .with_padding_pairs(pairs);
            channels_last(module::max_pool2d(channels_first(x), options))
        });
        let largest = |values: Vec<f64>| values.into_iter().fold(f64::NEG_INFINITY, f64::max);
        let plain = slopes(&x, |x| weighed(&view.pool(x, largest), &weights));
        agree(&found, &burns, &plain, &format!("{view:?}: max"));

        let found = gradient(&view, &x, &weights, &|x| {
            ops::average_pool2d(x, &view.window)
        });
        let burns = gradient(&view, &x, &weights, &|x| {
            let options = AvgPoolOptions::new(size)
                .with_stride(strides)
                .with_padding_pairs(pairs)
                .with_count_include_pad(false);
            channels_last(module::avg_pool2d(channels_first(x), options))
        });
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        let plain = slopes(&x, |x| weighed(&view.pool(x, mean), &weights));
        agree(&found, &burns, &plain, &format!("{view:?}: average"));
    }
}

#[test]
fn batch_normalization_has_the_gradients_of_burn_and_of_float64() {
    let epsilon = 1e-3;
    let norm = |gamma, beta| Norm {
        gamma: Some(gamma),
        beta: Some(beta),
        epsilon,
    };
    for (seed, input) in (1..).zip([[2, 3, 5, 1], [4, 2, 2, 17], [1, 6, 4, 33], [9, 1, 1, 3]]) {
        let channels = input[3];
        let x = numbers(input.iter().product(), seed);
        let (gamma, beta) = (numbers(channels, seed + 100), numbers(channels, seed + 200));
        let weights = numbers(x.len(), seed + 300);
        let values = [&x, &gamma, &beta, &weights].map(Vec::as_slice);
        let shapes = (input, [channels]);
        let found = weighted_gradients(values, shapes, |x, gamma, beta| {
            ops::batch_norm(x, norm(gamma, beta), Activation::Linear).0
        });
        let burns = weighted_gradients(values, shapes, |x, gamma, beta| {
            let mean = |x: Tensor<4>| x.mean_dim(0).mean_dim(1).mean_dim(2);
            let centred = x.clone() - mean(x);
            let variance = mean(centred.clone().square());
            centred / (variance + epsilon).sqrt() * gamma.unsqueeze() + beta.unsqueeze()
        });
        let total = |x: &[f64], gamma: &[f64], beta: &[f64]| {
            let of_channels = |channel: usize| {
                let values = || x.iter().skip(channel).step_by(channels);
                let count = values().count() as f64;
                let mean = values().sum::<f64>() / count;
                let variance = values().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
                let weights = weights.iter().skip(channel).step_by(channels);
                let normalized = values().map(|x| (x - mean) / (variance + epsilon).sqrt());
                let y = normalized.map(|x| gamma[channel] * x + beta[channel]);
                y.zip(weights).map(|(y, weight)| y * weight).sum::<f64>()
            };
            (0..channels).map(of_channels).sum::<f64>()
        };
        let plain = [
            slopes(&x, |x| total(x, &gamma, &beta)),
            slopes(&gamma, |gamma| total(&x, gamma, &beta)),
            slopes(&beta, |beta| total(&x, &gamma, beta)),
        ];
        for (index, of) in ["x", "gamma", "beta"].into_iter().enumerate() {
            let what = format!("{input:?}: {of}");
            agree(&found[index], &burns[index], &plain[index], &what);
        }
    }
}

/// What is one operation has the results and the gradients of its parts, which are compared above.
#[test]
fn convolutions_have_the_same_gradients_with_what_follows_them() {
    let pool = view([1, 6, 6, 1], [2, 2], [2, 2], [1, 1], false).window;
    let cases = [
        (
            view([3, 8, 7, 17], [3, 3], [1, 1], [1, 1], true),
            33,
            1,
            Activation::Relu,
        ),
        (
            view([5, 6, 6, 3], [2, 2], [1, 1], [1, 1], true),
            32,
            1,
            Activation::Tanh,
        ),
        (
            view([2, 7, 7, 6], [3, 3], [2, 2], [1, 1], true),
            6,
            6,
            Activation::Relu6,
        ),
        // An activation that is not part of the operation.
        (
            view([2, 4, 4, 4], [1, 1], [1, 1], [1, 1], true),
            8,
            1,
            Activation::Silu,
        ),
    ];
    for (seed, (view, filters, groups, then)) in (1..).zip(cases) {
        let what = format!("{view:?}, {filters} filters, {groups} groups, {then:?}");
        let [kh, kw] = view.window.size;
        let kernel_shape = [kh, kw, view.input[3] / groups, filters];
        let x = numbers(view.input.iter().product(), seed);
        let kernel = numbers(kernel_shape.iter().product(), seed + 100);
        let bias = numbers(filters, seed + 200);
        let [out_h, out_w] = view.output();
        let weights = numbers(view.input[0] * out_h * out_w * filters, seed + 300);
        let shapes = (view.input, kernel_shape);
        let gamma = numbers(filters, seed + 400);
        let norm = || Norm {
            gamma: Some(tensor(&gamma, [filters])),
            beta: None,
            epsilon: 1e-3,
        };
        let window = &view.window;

        let values = [&x, &kernel, &bias, &weights].map(Vec::as_slice);
        let found = weighted_gradients(values, shapes, |x, kernel, bias| {
            let x = Value::Tensor(x);
            let (y, _) =
                ops::conv2d_normalized(x, kernel, Some(bias), window, groups, norm(), then);
            y.tensor()
        });
        let apart = weighted_gradients(values, shapes, |x, kernel, bias| {
            let y = ops::conv2d(x, kernel, Some(bias), window, groups, Activation::Linear);
            ops::activated(ops::batch_norm(y, norm(), Activation::Linear).0, then)
        });
        for (index, of) in ["x", "kernel", "bias"].into_iter().enumerate() {
            let what = format!("{what}, normalized: {of}");
            agree(&found[index], &apart[index], &[], &what);
        }

        // Behind another one, whose normalization this one makes as it goes, or which is made before.
        let channels = view.input[3];
        let point = numbers(channels * channels, seed + 500);
        let beta = numbers(channels, seed + 600);
        let values = [&x, &kernel, &beta, &weights].map(Vec::as_slice);
        let [found, apart] = [false, true].map(|apart| {
            weighted_gradients(values, shapes, |x, kernel, beta| {
                let before = Norm {
                    gamma: None,
                    beta: Some(beta),
                    epsilon: 1e-3,
                };
                let (x, point) = (Value::Tensor(x), tensor(&point, [1, 1, channels, channels]));
                let relu = Activation::Relu;
                let (x, _) =
                    ops::conv2d_normalized(x, point, None, &Window::POINT, 1, before, relu);
                let x = if apart { Value::Tensor(x.tensor()) } else { x };
                let (y, _) = ops::conv2d_normalized(x, kernel, None, window, groups, norm(), then);
                y.tensor()
            })
        });
        for (index, of) in ["x", "kernel", "beta"].into_iter().enumerate() {
            let what = format!("{what}, after another: {of}");
            agree(&found[index], &apart[index], &[], &what);
        }

        let pooled = view.input[0] * (out_h / 2) * (out_w / 2) * filters;
        let values = [&x[..], &kernel, &bias, &weights[..pooled]];
        let found = weighted_gradients(values, shapes, |x, kernel, bias| {
            ops::conv2d_pooled(x, kernel, Some(bias), window, groups, then, &pool)
        });
        let apart = weighted_gradients(values, shapes, |x, kernel, bias| {
            let y = ops::conv2d(x, kernel, Some(bias), window, groups, then);
            ops::max_pool2d(y, &pool)
        });
        for (index, of) in ["x", "kernel", "bias"].into_iter().enumerate() {
            let what = format!("{what}, pooled: {of}");
            agree(&found[index], &apart[index], &[], &what);
        }
    }
}
