//! A variable: one weight of a layer, as Keras names, shapes and initializes it.

use super::{Initializer, Layer, Node, Regularizer, Shape};

/// One weight tensor of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// `<layer>/<variable>`, e.g. `conv2d/kernel`.
    pub name: String,
    /// The extents in Keras' layout: `[height, width, in, out]` of a convolution, `[in, out]` of a
    /// dense layer.
    pub shape: Vec<usize>,
    /// What the first values are drawn from.
    pub initializer: Initializer,
    /// What its size adds to the loss.
    pub regularizer: Option<Regularizer>,
    /// Whether an optimizer moves it.
    pub trainable: bool,
}

impl Variable {
    /// The name of the layer that the variable belongs to.
    pub fn node_name(&self) -> &str {
        self.name.rsplit_once('/').map_or("", |(node, _)| node)
    }

    /// `(fan_in, fan_out)` by Keras' `compute_fans`.
    pub fn fans(&self) -> (usize, usize) {
        match *self.shape.as_slice() {
            [] => (1, 1),
            [n] => (n, n),
            [ref window @ .., inputs, outputs] => {
                let area: usize = window.iter().product();
                (inputs * area, outputs * area)
            }
        }
    }
}

/// How the weights of one layer are declared; `shape` has been checked for size before.
struct Declaration {
    name: &'static str,
    shape: Vec<usize>,
    initializer: Initializer,
    regularizer: Option<Regularizer>,
    trainable: bool,
}

impl Declaration {
    fn weight(
        name: &'static str,
        shape: impl Into<Vec<usize>>,
        initializer: &Initializer,
        regularizer: Option<Regularizer>,
    ) -> Self {
        Self {
            name,
            shape: shape.into(),
            initializer: initializer.clone(),
            regularizer,
            trainable: true,
        }
    }

    fn bias(outputs: usize, initializer: &Initializer, regularizer: Option<Regularizer>) -> Self {
        Self::weight("bias", [outputs], initializer, regularizer)
    }

    fn statistic(name: &'static str, channels: usize, initializer: &Initializer) -> Self {
        Self {
            trainable: false,
            ..Self::weight(name, [channels], initializer, None)
        }
    }
}

/// The variables of a node whose input has this shape, in the order of Keras' `layer.weights`:
/// those an optimizer moves first.
pub(super) fn of_node(node: &Node, input: &Shape) -> impl Iterator<Item = Variable> {
    declarations(&node.layer, input)
        .into_iter()
        .map(|declaration| Variable {
            name: format!("{}/{}", node.name, declaration.name),
            shape: declaration.shape,
            initializer: declaration.initializer,
            regularizer: declaration.regularizer,
            trainable: declaration.trainable && node.trainable,
        })
}

fn declarations(layer: &Layer, input: &Shape) -> Vec<Declaration> {
    use Declaration as D;
    let channels = input.channels().unwrap_or(1);
    match layer {
        Layer::Dense(dense) => {
            let shape = [channels, dense.units];
            let kernel = &dense.kernel_initializer;
            let mut weights = vec![D::weight("kernel", shape, kernel, dense.kernel_regularizer)];
            if dense.use_bias {
                weights.push(D::bias(
                    dense.units,
                    &dense.bias_initializer,
                    dense.bias_regularizer,
                ));
            }
            weights
        }
        Layer::Conv2D(conv) => {
            let [height, width] = conv.window.kernel_size;
            let shape = [height, width, channels / conv.groups, conv.filters];
            let kernel = &conv.kernel_initializer;
            let mut weights = vec![D::weight("kernel", shape, kernel, conv.kernel_regularizer)];
            if conv.use_bias {
                weights.push(D::bias(
                    conv.filters,
                    &conv.bias_initializer,
                    conv.bias_regularizer,
                ));
            }
            weights
        }
        Layer::DepthwiseConv2D(conv) => {
            let [height, width] = conv.window.kernel_size;
            let shape = [height, width, channels, conv.depth_multiplier];
            let kernel = &conv.depthwise_initializer;
            let mut weights = vec![D::weight(
                "kernel",
                shape,
                kernel,
                conv.depthwise_regularizer,
            )];
            if conv.use_bias {
                let outputs = channels.saturating_mul(conv.depth_multiplier);
                weights.push(D::bias(
                    outputs,
                    &conv.bias_initializer,
                    conv.bias_regularizer,
                ));
            }
            weights
        }
        Layer::SeparableConv2D(conv) => {
            let [height, width] = conv.window.kernel_size;
            let between = channels.saturating_mul(conv.depth_multiplier);
            let mut weights = vec![
                D::weight(
                    "depthwise_kernel",
                    [height, width, channels, conv.depth_multiplier],
                    &conv.depthwise_initializer,
                    conv.depthwise_regularizer,
                ),
                D::weight(
                    "pointwise_kernel",
                    [1, 1, between, conv.filters],
                    &conv.pointwise_initializer,
                    conv.pointwise_regularizer,
                ),
            ];
            if conv.use_bias {
                weights.push(D::bias(
                    conv.filters,
                    &conv.bias_initializer,
                    conv.bias_regularizer,
                ));
            }
            weights
        }
        Layer::BatchNormalization(norm) => {
            let mut weights = Vec::with_capacity(4);
            if norm.scale {
                let initializer = &norm.gamma_initializer;
                weights.push(D::weight(
                    "gamma",
                    [channels],
                    initializer,
                    norm.gamma_regularizer,
                ));
            }
            if norm.center {
                let initializer = &norm.beta_initializer;
                weights.push(D::weight(
                    "beta",
                    [channels],
                    initializer,
                    norm.beta_regularizer,
                ));
            }
            weights.push(D::statistic(
                "moving_mean",
                channels,
                &norm.moving_mean_initializer,
            ));
            weights.push(D::statistic(
                "moving_variance",
                channels,
                &norm.moving_variance_initializer,
            ));
            weights
        }
        Layer::LayerNormalization(norm) => {
            let shape: Vec<usize> = norm
                .axes
                .iter()
                .filter_map(|&axis| input.dims().get(axis).copied())
                .collect();
            let mut weights = Vec::with_capacity(2);
            if norm.scale {
                let initializer = &norm.gamma_initializer;
                weights.push(D::weight(
                    "gamma",
                    shape.clone(),
                    initializer,
                    norm.gamma_regularizer,
                ));
            }
            if norm.center {
                let initializer = &norm.beta_initializer;
                weights.push(D::weight("beta", shape, initializer, norm.beta_regularizer));
            }
            weights
        }
        Layer::Normalization(norm) if norm.statistics.is_none() => vec![
            D::statistic("mean", channels, &Initializer::Zeros),
            D::statistic("variance", channels, &Initializer::Ones),
        ],
        _ => Vec::new(),
    }
}
