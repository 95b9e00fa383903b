//! The operations on Burn's own tensors, for every device that has no kernels of ours.

use burn::tensor::{
    Tensor, module,
    ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions},
};

use super::{Norm, Padding, Update, Window, scale_and_shift};

fn channels_first(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 3, 1, 2])
}

fn channels_last(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 2, 3, 1])
}

fn pairs(padding: Padding) -> [(usize, usize); 2] {
    [(padding.top, padding.bottom), (padding.left, padding.right)]
}

pub fn conv2d(
    x: Tensor<4>,
    kernel: Tensor<4>,
    bias: Option<Tensor<1>>,
    window: &Window,
    groups: usize,
) -> Tensor<4> {
    let kernel = kernel.permute([3, 2, 0, 1]);
    let options = ConvOptions::new_with_padding(
        window.strides,
        pairs(window.padding),
        window.dilation,
        groups,
    );
    channels_last(module::conv2d(channels_first(x), kernel, bias, options))
}

pub fn max_pool2d(x: Tensor<4>, window: &Window) -> Tensor<4> {
    let options = MaxPoolOptions::new(window.size)
        .with_stride(window.strides)
        .with_padding_pairs(pairs(window.padding));
    channels_last(module::max_pool2d(channels_first(x), options))
}

pub fn average_pool2d(x: Tensor<4>, window: &Window) -> Tensor<4> {
    let options = AvgPoolOptions::new(window.size)
        .with_stride(window.strides)
        .with_padding_pairs(pairs(window.padding))
        .with_count_include_pad(false);
    channels_last(module::avg_pool2d(channels_first(x), options))
}

pub fn dense(x: Tensor<2>, kernel: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    let y = x.matmul(kernel);
    match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    }
}

pub fn batch_norm(x: Tensor<4>, norm: Norm) -> (Tensor<4>, [Tensor<1>; 2]) {
    let Norm {
        gamma,
        beta,
        epsilon,
    } = norm;
    let mean_of = |x: Tensor<4>| x.mean_dim(0).mean_dim(1).mean_dim(2);
    let mean = mean_of(x.clone());
    let centred = x - mean.clone();
    let variance = mean_of(centred.clone() * centred.clone());
    let y = scale_and_shift(
        centred / (variance.clone() + epsilon).sqrt(),
        gamma.map(Tensor::unsqueeze),
        beta.map(Tensor::unsqueeze),
    );
    (
        y,
        [mean, variance].map(|moment| moment.detach().flatten(0, 3)),
    )
}

pub fn update<const D: usize>(
    weight: Tensor<D>,
    gradient: Tensor<D>,
    memory: Vec<Tensor<D>>,
    update: Update,
) -> (Tensor<D>, Vec<Tensor<D>>) {
    let (w, g) = (weight, gradient);
    let blank = g.zeros_like();
    let mut memory = memory.into_iter();
    let mut next = || memory.next().unwrap_or_else(|| blank.clone());
    match update {
        Update::Descent { rate } => (w - g * rate, vec![]),
        Update::Momentum {
            rate,
            momentum,
            nesterov,
        } => {
            let m = next() * momentum - g.clone() * rate;
            let moved = if nesterov {
                w + m.clone() * momentum - g * rate
            } else {
                w + m.clone()
            };
            (moved, vec![m])
        }
        Update::RmsProp {
            rate,
            rho,
            epsilon,
            momentum,
            centered,
        } => {
            let v = next() * rho + g.clone() * g.clone() * (1.0 - rho);
            let mut kept = vec![v.clone()];
            let mut spread = v;
            if centered {
                let average = next() * rho + g.clone() * (1.0 - rho);
                spread = spread - average.clone() * average.clone();
                kept.push(average);
            }
            let mut step = g * rate / (spread + epsilon).sqrt();
            if momentum > 0.0 {
                step = next() * momentum + step;
                kept.push(step.clone());
            }
            (w - step, kept)
        }
        Update::Adagrad { rate, epsilon } => {
            let v = next() + g.clone() * g.clone();
            (w - g * rate / (v.clone() + epsilon).sqrt(), vec![v])
        }
        Update::Adadelta { rate, rho, epsilon } => {
            let v = next() * rho + g.clone() * g.clone() * (1.0 - rho);
            let u = next();
            let step = (u.clone() + epsilon).sqrt() * g / (v.clone() + epsilon).sqrt();
            let u = u * rho + step.clone() * step.clone() * (1.0 - rho);
            (w - step * rate, vec![v, u])
        }
        Update::Adam {
            rate,
            gain_1,
            gain_2,
            epsilon,
            amsgrad,
        } => {
            let m = next();
            let m = m.clone() + (g.clone() - m) * gain_1;
            let v = next();
            let v = v.clone() + (g.clone() * g - v) * gain_2;
            let mut kept = vec![m.clone(), v.clone()];
            let mut largest = v;
            if amsgrad {
                largest = next().max_pair(largest);
                kept.push(largest.clone());
            }
            (w - m * rate / (largest.sqrt() + epsilon), kept)
        }
    }
}
