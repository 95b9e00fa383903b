//! The operations on Burn's own tensors, for every device that has no kernels of ours.

use burn::tensor::{
    Tensor, module,
    ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions},
};

use super::{Padding, Window};

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
