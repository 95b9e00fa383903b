//! How fast each kernel is: `cargo bench -p irori-kernels`, or `-- 'conv2d/.*/32$'` for some.
//!
//! Work is counted in floating-point operations, a multiplication and an addition each, so Criterion's `Gelem/s` are
//! GFLOP/s. For convolutions these are the operations of the direct method, whatever method is used.
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use kernels::{
    Activation, AveragePool2d, BatchNorm, Conv2d, Conv2dGrads, Conv2dShape, Dense, Input, Level,
    MaxPool2d, OutputGrad, Padding2d, Pool2dShape, PreparedConv2d, ScaleShift, column_sums,
    softmax, softmax_grad,
};

const BATCHES: [usize; 4] = [1, 8, 32, 128];

/// A square, stride 1.
fn shape(
    size: usize,
    in_channels: usize,
    out_channels: usize,
    kernel: usize,
    padding: usize,
) -> Conv2dShape {
    Conv2dShape {
        input: (size, size),
        in_channels,
        out_channels,
        kernel: (kernel, kernel),
        stride: (1, 1),
        dilation: (1, 1),
        padding: Padding2d {
            top: padding,
            bottom: padding,
            left: padding,
            right: padding,
        },
        groups: 1,
    }
}

/// Values between -1 and 1 that aren't all alike.
fn values(len: usize) -> Vec<f32> {
    (0..len)
        .map(|index| (index.wrapping_mul(2_654_435_761) % 2001) as f32 / 1000.0 - 1.0)
        .collect()
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800));
    group
}

fn conv2d(criterion: &mut Criterion) {
    let shapes = [
        ("3x3 1-32 on 28", shape(28, 1, 32, 3, 0)),
        ("3x3 32-64 on 26", shape(26, 32, 64, 3, 0)),
        ("3x3 3-32 on 32", shape(32, 3, 32, 3, 1)),
        ("3x3 64-64 on 16", shape(16, 64, 64, 3, 1)),
        ("3x3 128-128 on 8", shape(8, 128, 128, 3, 1)),
        ("1x1 64-128 on 24", shape(24, 64, 128, 1, 0)),
        ("5x5 32-64 on 14", shape(14, 32, 64, 5, 2)),
        (
            "3x3 depthwise 64 on 48",
            Conv2dShape {
                groups: 64,
                ..shape(48, 64, 64, 3, 1)
            },
        ),
    ];
    for (name, shape) in shapes {
        let plan = Conv2d::new(shape).unwrap();
        let mut group = group(criterion, &format!("conv2d {name}"));
        for batch in BATCHES {
            let terms = plan.kernel_len() / shape.out_channels;
            group.throughput(Throughput::Elements(
                (2 * batch * plan.output_len() * terms) as u64,
            ));
            let (x, dy) = (
                values(batch * plan.input_len()),
                values(batch * plan.output_len()),
            );
            let (kernel, bias) = (values(plan.kernel_len()), values(shape.out_channels));
            let prepared =
                PreparedConv2d::new(plan.clone(), &kernel, &bias, Activation::Relu).unwrap();
            let (mut y, mut dx, mut dkernel) = (dy.clone(), x.clone(), kernel.clone());
            let mut dbias = bias.clone();
            group.bench_function(BenchmarkId::new("forward", batch), |bencher| {
                bencher.iter(|| prepared.forward(&x, &mut y).unwrap());
            });
            group.bench_function(BenchmarkId::new("grads", batch), |bencher| {
                bencher.iter(|| {
                    let grads = Conv2dGrads {
                        dx: Some(&mut dx),
                        dkernel: Some(&mut dkernel),
                        dbias: Some(&mut dbias),
                        sums: None,
                    };
                    plan.grads(Input::Plain(&x), &kernel, OutputGrad::Plain(&dy), grads)
                        .unwrap();
                });
            });
        }
    }
}

fn dense(criterion: &mut Criterion) {
    for (inputs, outputs) in [(9216, 128), (128, 10)] {
        let plan = Dense::new(inputs, outputs).unwrap();
        let mut group = group(criterion, &format!("dense {inputs}-{outputs}"));
        for batch in BATCHES {
            group.throughput(Throughput::Elements((2 * batch * inputs * outputs) as u64));
            let (x, kernel, bias) = (
                values(batch * inputs),
                values(inputs * outputs),
                values(outputs),
            );
            let dy = values(batch * outputs);
            let (mut y, mut dx, mut dkernel) = (dy.clone(), x.clone(), kernel.clone());
            group.bench_function(BenchmarkId::new("forward", batch), |bencher| {
                bencher.iter(|| {
                    plan.forward(&x, &kernel, Some(&bias), Activation::Relu, &mut y)
                        .unwrap()
                });
            });
            group.bench_function(BenchmarkId::new("grad_input", batch), |bencher| {
                bencher.iter(|| plan.grad_input(&dy, &kernel, &mut dx).unwrap());
            });
            group.bench_function(BenchmarkId::new("grad_kernel", batch), |bencher| {
                bencher.iter(|| plan.grad_kernel(&x, &dy, &mut dkernel).unwrap());
            });
        }
    }
}

/// The images of the kernels that are bound by memory, whose work is counted in values of the input.
const IMAGES: usize = 32;
const SIZE: usize = 24;
const CHANNELS: usize = 64;

fn bound_by_memory<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = group(criterion, name);
    group.throughput(Throughput::Elements(
        (IMAGES * SIZE * SIZE * CHANNELS) as u64,
    ));
    group
}

fn images() -> Vec<f32> {
    values(IMAGES * SIZE * SIZE * CHANNELS)
}

fn pool(criterion: &mut Criterion) {
    let shape = Pool2dShape {
        input: (SIZE, SIZE),
        channels: CHANNELS,
        window: (2, 2),
        stride: (2, 2),
        padding: Padding2d::default(),
    };
    let (max, average) = (
        MaxPool2d::new(shape).unwrap(),
        AveragePool2d::new(shape).unwrap(),
    );
    let x = images();
    let (mut y, mut dx) = (values(IMAGES * max.output_len()), x.clone());
    let dy = y.clone();
    let mut group = bound_by_memory(criterion, "pool2d 2x2");
    group.bench_function("max forward", |bencher| {
        bencher.iter(|| max.forward(&x, &mut y).unwrap());
    });
    group.bench_function("max grad_input", |bencher| {
        bencher.iter(|| max.grad_input(&x, &dy, &mut dx).unwrap());
    });
    group.bench_function("average forward", |bencher| {
        bencher.iter(|| average.forward(&x, &mut y).unwrap());
    });
    group.bench_function("average grad_input", |bencher| {
        bencher.iter(|| average.grad_input(&dy, &mut dx).unwrap());
    });
}

fn batch_norm(criterion: &mut Criterion) {
    let norm = BatchNorm::new(CHANNELS, 1e-3).unwrap();
    let x = images();
    let (gamma, beta) = (values(CHANNELS), values(CHANNELS));
    let weights = ScaleShift {
        gamma: Some(&gamma),
        beta: Some(&beta),
    };
    let mut moments = vec![0.0; 2 * CHANNELS];
    let (mut y, mut dx) = (x.clone(), x.clone());
    let (mut dgamma, mut dbeta) = (gamma.clone(), beta.clone());
    let mut group = bound_by_memory(criterion, "batch_norm");
    group.bench_function("forward", |bencher| {
        bencher.iter(|| {
            norm.moments(&x, &mut moments).unwrap();
            let by = norm.normalizer(weights, &moments).unwrap();
            by.apply(&x, &mut y).unwrap();
        });
    });
    group.bench_function("grad", |bencher| {
        bencher.iter(|| {
            let by = norm.normalizer(weights, &moments).unwrap();
            let (sums, rows) = (by.sums(&x, &y).unwrap(), x.len() / CHANNELS);
            let back = by.back(&sums, rows, [&mut dgamma, &mut dbeta]).unwrap();
            back.grad_input(&x, &y, &mut dx).unwrap();
        });
    });
    group.bench_function("column_sums", |bencher| {
        bencher.iter(|| column_sums(Level::default(), &x, &mut dbeta).unwrap());
    });
}

fn activation(criterion: &mut Criterion) {
    let level = Level::default();
    let x = images();
    let (y, mut dx) = (x.clone(), x.clone());
    let mut group = bound_by_memory(criterion, "activation");
    for activation in [
        Activation::Relu,
        Activation::Relu6,
        Activation::Elu,
        Activation::Selu,
        Activation::Sigmoid,
        Activation::HardSigmoid,
        Activation::Tanh,
        Activation::Exponential,
        Activation::Softsign,
    ] {
        group.bench_function(
            BenchmarkId::new("apply", format!("{activation:?}")),
            |bencher| {
                bencher.iter_batched_ref(
                    || x.clone(),
                    |y| activation.apply(level, y),
                    BatchSize::LargeInput,
                );
            },
        );
        group.bench_function(
            BenchmarkId::new("grad", format!("{activation:?}")),
            |bencher| {
                bencher.iter(|| activation.grad(level, &y, &x, &mut dx).unwrap());
            },
        );
    }
    group.bench_function("softmax of 64", |bencher| {
        bencher.iter_batched_ref(
            || x.clone(),
            |y| softmax(level, y, CHANNELS).unwrap(),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("softmax_grad of 64", |bencher| {
        bencher.iter(|| softmax_grad(level, &y, &x, CHANNELS, &mut dx).unwrap());
    });
}

criterion_group!(benches, conv2d, dense, pool, batch_norm, activation);
criterion_main!(benches);
