//! A step: one operation with its kernel's plan, over several images at a time.

use burn::tensor::{Device, Tensor, TensorData};
use kernels::{
    Activation, AveragePool2d, Conv2d, Dense, Level, MaxPool2d, Pool2dShape, PreparedConv2d,
    PreparedDense, softmax,
};

use super::super::blocks::Ending;
use super::super::layers::{self, Weights, batch_of};
use super::super::ops::{Value, Window, checked, conv2d_shape};
use super::lower::{self, LayerOnBurn, Operation};

/// One operation, and what is done to its results where they lie.
pub(super) struct Step {
    work: Work,
    after: Vec<After>,
    /// Values of an image that come in, and that go out.
    pub input: usize,
    pub output: usize,
}

enum Work {
    /// Nothing comes before what is done in place.
    Copy,
    Conv2d(Box<PreparedConv2d>),
    Dense(Box<PreparedDense>),
    MaxPool(MaxPool2d),
    AveragePool(AveragePool2d),
    Layer(Box<LayerOnBurn>),
}

enum After {
    Activation(Activation),
    Softmax { classes: usize },
}

impl Step {
    /// The steps of a chain of operations on images of `input` values.
    pub fn chain(operations: Vec<Operation>, input: usize) -> Vec<Self> {
        let mut steps: Vec<Self> = Vec::with_capacity(operations.len());
        for operation in operations {
            let from = steps.last().map_or(input, |step| step.output);
            match operation {
                Operation::Activation(activation) => {
                    after(&mut steps, from, After::Activation(activation));
                }
                Operation::Softmax { classes } => {
                    after(&mut steps, from, After::Softmax { classes });
                }
                Operation::MaxPool(shape)
                    if steps.last_mut().is_some_and(|step| step.pool(&shape)) => {}
                operation => {
                    let operation = match operation {
                        Operation::Conv2d(conv) => {
                            Operation::Conv2d(Self::surround(&mut steps, conv))
                        }
                        operation => operation,
                    };
                    let from = steps.last().map_or(input, |step| step.output);
                    let (work, output) = Work::new(operation);
                    steps.push(Self {
                        work,
                        after: Vec::new(),
                        input: from,
                        output,
                    });
                }
            }
        }
        if steps.is_empty() {
            steps.push(Self::copy(input));
        }
        steps
    }

    fn copy(values: usize) -> Self {
        Self {
            work: Work::Copy,
            after: Vec::new(),
            input: values,
            output: values,
        }
    }

    /// Makes a pooling part of the step, if it can, and answers whether it has.
    fn pool(&mut self, shape: &Pool2dShape) -> bool {
        self.change(|conv| conv.pool(shape))
    }

    /// The convolution without its padding, if the last step can write that around its output; else as it is.
    fn surround(steps: &mut [Self], mut conv: lower::Conv2d) -> lower::Conv2d {
        if let Some(last) = steps.last_mut() {
            last.change(
                |before| match before.surround(&checked(Conv2d::new(conv.shape))) {
                    Some(shape) => {
                        conv.shape = shape;
                        true
                    }
                    None => false,
                },
            );
        }
        conv
    }

    fn change(&mut self, change: impl FnOnce(&mut PreparedConv2d) -> bool) -> bool {
        let Work::Conv2d(conv) = &mut self.work else {
            return false;
        };
        let changed = self.after.is_empty() && change(conv);
        self.output = conv.output_len();
        changed
    }

    /// Bytes of weights that the step reads.
    pub fn weights(&self) -> usize {
        let numbers = match &self.work {
            Work::Conv2d(conv) => conv.kernel_len(),
            Work::Dense(dense) => dense.kernel_len(),
            _ => 0,
        };
        numbers * size_of::<f32>()
    }

    /// Whether so many images are enough for other threads to be called.
    pub fn splits(&self, count: usize) -> bool {
        match &self.work {
            Work::Conv2d(conv) => conv.splits(count),
            Work::Dense(dense) => dense.splits(count),
            _ => false,
        }
    }

    /// Computes `count` images.
    pub fn run(&self, x: &[f32], count: usize, y: &mut [f32]) {
        match &self.work {
            Work::Copy => y.copy_from_slice(x),
            Work::Conv2d(conv) => checked(conv.forward(x, y)),
            Work::Dense(dense) => checked(dense.forward(x, y)),
            Work::MaxPool(plan) => checked(plan.forward(x, y)),
            Work::AveragePool(plan) => checked(plan.forward(x, y)),
            Work::Layer(layer) => layer.run(x, count, y),
        }
        for after in &self.after {
            match *after {
                After::Activation(activation) => activation.apply(Level::default(), y),
                After::Softmax { classes } => checked(softmax(Level::default(), y, classes)),
            }
        }
    }
}

fn after(steps: &mut Vec<Step>, input: usize, after: After) {
    if steps.is_empty() {
        steps.push(Step::copy(input));
    }
    if let Some(step) = steps.last_mut() {
        step.after.push(after);
    }
}

impl Work {
    /// The plan of an operation that is not done in place, and how many values of an image it gives.
    fn new(operation: Operation) -> (Self, usize) {
        match operation {
            Operation::Conv2d(conv) => Self::conv2d(conv),
            // Every channel has a kernel of its own, of one weight.
            Operation::Affine(affine) => {
                let channels = affine.channels.len();
                Self::conv2d(lower::Conv2d {
                    shape: conv2d_shape(affine.size, channels, channels, &Window::POINT, channels),
                    kernel: affine.channels.iter().map(|pair| pair.0 as f32).collect(),
                    bias: affine.channels.iter().map(|pair| pair.1 as f32).collect(),
                    activation: affine.activation,
                })
            }
            Operation::Dense(dense) => {
                let output = dense.rows * dense.outputs;
                let plan = checked(Dense::new(dense.inputs, dense.outputs));
                let dense = checked(PreparedDense::new(
                    plan,
                    &dense.kernel,
                    &dense.bias,
                    dense.activation,
                ));
                (Self::Dense(Box::new(dense)), output)
            }
            Operation::MaxPool(shape) => {
                let plan = checked(MaxPool2d::new(shape));
                let output = plan.output_len();
                (Self::MaxPool(plan), output)
            }
            Operation::AveragePool(shape) => {
                let plan = checked(AveragePool2d::new(shape));
                let output = plan.output_len();
                (Self::AveragePool(plan), output)
            }
            Operation::Layer(layer) => {
                let output = batch_of(&layer.node.output_shape, 1).iter().product();
                (Self::Layer(layer), output)
            }
            Operation::Activation(_) | Operation::Softmax { .. } => {
                unreachable!("done in place, after the step before it")
            }
        }
    }

    fn conv2d(conv: lower::Conv2d) -> (Self, usize) {
        let plan = checked(Conv2d::new(conv.shape));
        let conv = checked(PreparedConv2d::new(
            plan,
            &conv.kernel,
            &conv.bias,
            conv.activation,
        ));
        let output = conv.output_len();
        (Self::Conv2d(Box::new(conv)), output)
    }
}

impl LayerOnBurn {
    fn run(&self, x: &[f32], count: usize, y: &mut [f32]) {
        let data = TensorData::new(x.to_vec(), batch_of(&self.input, count));
        let value = layers::forward(
            Value::Tensor(Tensor::from_data(data, &Device::flex())),
            &self.node,
            &self.input,
            Ending::of(layers::activation(&self.node.layer)),
            Weights(self.weights.weights.iter()),
            None,
        );
        // Every tensor of a network is f32, which is what the conversion asks for.
        let values: Vec<f32> = value
            .tensor()
            .into_data()
            .try_into_vec()
            .unwrap_or_default();
        y.copy_from_slice(&values);
    }
}
