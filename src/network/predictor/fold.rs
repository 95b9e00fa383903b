//! Folding: two operations that follow each other become one, where the result is the same.

use kernels::Activation;

use super::lower::{Affine, Conv2d, Dense, Operation};
use crate::architecture::Layer;

/// The operations with all folded that can be. The numbers differ from the unfolded ones by rounding alone.
pub(super) fn folded(operations: Vec<Operation>) -> Vec<Operation> {
    let mut kept: Vec<Operation> = Vec::with_capacity(operations.len());
    for operation in operations {
        let mut operation = operation;
        // What two have become may fold into the one before them.
        while let Some(before) = kept.pop() {
            match fold(before, operation) {
                Folded::One(one) => operation = one,
                Folded::Both(before, after) => {
                    kept.push(before);
                    operation = after;
                    break;
                }
            }
        }
        kept.push(operation);
    }
    kept
}

/// One operation that does what two did, or both as they were.
enum Folded {
    One(Operation),
    Both(Operation, Operation),
}

fn fold(first: Operation, second: Operation) -> Folded {
    use Folded::{Both, One};
    use Operation as Op;

    match (first, second) {
        (Op::Conv2d(mut conv), Op::Affine(affine)) if conv.activation == Activation::Linear => {
            scale_outputs(&mut conv.kernel, &mut conv.bias, &affine);
            conv.activation = affine.activation;
            One(Op::Conv2d(conv))
        }
        (Op::Dense(mut dense), Op::Affine(affine))
            if dense.activation == Activation::Linear && affine.channels.len() == dense.outputs =>
        {
            scale_outputs(&mut dense.kernel, &mut dense.bias, &affine);
            dense.activation = affine.activation;
            One(Op::Dense(dense))
        }
        (Op::Affine(first), Op::Affine(second))
            if first.activation == Activation::Linear
                && first.channels.len() == second.channels.len() =>
        {
            let pairs = first.channels.iter().zip(&second.channels);
            let channels = pairs.map(|((a, b), (c, d))| (a * c, b * c + d));
            One(Op::Affine(Affine {
                channels: channels.collect(),
                ..second
            }))
        }
        (Op::Affine(affine), Op::Conv2d(mut conv))
            if affine.activation == Activation::Linear && reaches_no_padding(&affine, &conv) =>
        {
            scale_conv_inputs(&mut conv, &affine);
            One(Op::Conv2d(conv))
        }
        (Op::Affine(affine), Op::Dense(mut dense))
            if affine.activation == Activation::Linear
                && dense.inputs.is_multiple_of(affine.channels.len()) =>
        {
            scale_dense_inputs(&mut dense, &affine);
            One(Op::Dense(dense))
        }
        (Op::Conv2d(conv), Op::Activation(activation)) if conv.activation == Activation::Linear => {
            One(Op::Conv2d(Conv2d { activation, ..conv }))
        }
        (Op::Dense(dense), Op::Activation(activation))
            if dense.activation == Activation::Linear =>
        {
            One(Op::Dense(Dense {
                activation,
                ..dense
            }))
        }
        (Op::Affine(affine), Op::Activation(activation))
            if affine.activation == Activation::Linear =>
        {
            One(Op::Affine(Affine {
                activation,
                ..affine
            }))
        }
        (Op::Layer(layer), Op::Conv2d(mut conv)) => match layer.node.layer {
            Layer::ZeroPadding2D(sides) if widen(&mut conv, sides) => One(Op::Conv2d(conv)),
            _ => Both(Op::Layer(layer), Op::Conv2d(conv)),
        },
        (first, second) => Both(first, second),
    }
}

/// Puts `affine`, which follows, into weights whose last axis is the outputs.
fn scale_outputs(kernel: &mut [f32], bias: &mut [f32], affine: &Affine) {
    for row in kernel.chunks_exact_mut(affine.channels.len()) {
        for (weight, (scale, _)) in row.iter_mut().zip(&affine.channels) {
            *weight = (f64::from(*weight) * scale) as f32;
        }
    }
    for (bias, (scale, shift)) in bias.iter_mut().zip(&affine.channels) {
        *bias = (f64::from(*bias) * scale + shift) as f32;
    }
}

/// Padding is zero after the affine operation, not before it: with a shift the two don't commute.
fn reaches_no_padding(affine: &Affine, conv: &Conv2d) -> bool {
    conv.shape.padding == kernels::Padding2d::default()
        || affine.channels.iter().all(|&(_, shift)| shift == 0.0)
}

/// Puts `affine`, which precedes, into a convolution.
fn scale_conv_inputs(conv: &mut Conv2d, affine: &Affine) {
    let outputs = conv.shape.out_channels;
    let (inputs, own) = (
        conv.shape.in_channels / conv.shape.groups,
        outputs / conv.shape.groups,
    );
    let mut added = vec![0.0f64; outputs];
    for (row, weights) in conv.kernel.chunks_exact_mut(outputs).enumerate() {
        for (output, weight) in weights.iter_mut().enumerate() {
            let channel = output / own * inputs + row % inputs;
            let (scale, shift) = affine.channels[channel];
            added[output] += f64::from(*weight) * shift;
            *weight = (f64::from(*weight) * scale) as f32;
        }
    }
    add(&mut conv.bias, &added);
}

/// Puts `affine`, which precedes, into a dense layer, which may follow a `Flatten`.
fn scale_dense_inputs(dense: &mut Dense, affine: &Affine) {
    let mut added = vec![0.0f64; dense.outputs];
    let channels = affine.channels.iter().cycle();
    let rows = dense.kernel.chunks_exact_mut(dense.outputs);
    for (weights, (scale, shift)) in rows.zip(channels) {
        for (weight, added) in weights.iter_mut().zip(&mut added) {
            *added += f64::from(*weight) * shift;
            *weight = (f64::from(*weight) * scale) as f32;
        }
    }
    add(&mut dense.bias, &added);
}

fn add(bias: &mut [f32], added: &[f64]) {
    for (bias, added) in bias.iter_mut().zip(added) {
        *bias = (f64::from(*bias) + added) as f32;
    }
}

/// Makes zeros around the image part of a convolution; not where they pass what its window spans.
fn widen(conv: &mut Conv2d, sides: crate::architecture::Sides) -> bool {
    let shape = &mut conv.shape;
    let span = |size: usize, dilation: usize| (size - 1) * dilation + 1;
    let (tall, wide) = (
        span(shape.kernel.0, shape.dilation.0),
        span(shape.kernel.1, shape.dilation.1),
    );
    let padding = kernels::Padding2d {
        top: shape.padding.top + sides.top,
        bottom: shape.padding.bottom + sides.bottom,
        left: shape.padding.left + sides.left,
        right: shape.padding.right + sides.right,
    };
    let fits = padding.top.max(padding.bottom) < tall && padding.left.max(padding.right) < wide;
    if fits {
        shape.input.0 -= sides.top + sides.bottom;
        shape.input.1 -= sides.left + sides.right;
        shape.padding = padding;
    }
    fits
}
