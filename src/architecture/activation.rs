//! An activation: the function on a layer's output, by Keras' name.

/// An activation function of Keras 3 (`keras.activations`).
///
/// All are elementwise but `Softmax`, `LogSoftmax` and `Sparsemax`, which look along the last axis.
/// Those with a parameter are the activation layers that Keras also takes as the `activation` of
/// another layer; by name alone the parameter has the default of the function.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// The identity.
    #[default]
    Linear,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x` above zero, `negative_slope · x` below.
    LeakyRelu {
        /// 0.2 for the function, 0.3 for the layer.
        negative_slope: f64,
    },
    /// `x` above zero, `alpha · (eˣ - 1)` below.
    Elu {
        /// 1 unless said otherwise.
        alpha: f64,
    },
    /// Scaled exponential linear unit (Klambauer et al., 2017).
    Selu,
    /// `max(x, 0) + min(0, eˣ - 1)`: Keras' `celu` with its alpha of 1.
    Celu,
    /// `x · Φ(x)`, with the exact error function.
    Gelu,
    /// `log(1 + eˣ)`.
    Softplus,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid,
    /// `log(sigmoid(x))`.
    LogSigmoid,
    /// `relu6(x + 3) / 6`, as in Keras 3 (Keras 2 had `0.2 x + 0.5`).
    HardSigmoid,
    /// 0 up to -1, `(x + 1) / 2` up to 1, then 1.
    SparseSigmoid,
    /// `x · sigmoid(x)`, also called swish.
    Silu,
    /// `x · hard_sigmoid(x)`, also called hard swish.
    HardSilu,
    /// `x · tanh(softplus(x))`.
    Mish,
    /// The hyperbolic tangent.
    Tanh,
    /// `min(max(x, -1), 1)`.
    HardTanh,
    /// `x - tanh(x)`.
    TanhShrink,
    /// `x` moved 0.5 towards zero, and zero within 0.5 of it.
    SoftShrink,
    /// `x`, and zero within 0.5 of it.
    HardShrink,
    /// `eˣ`.
    Exponential,
    /// `(x + √(x² + 4)) / 2`.
    Squareplus,
    /// 0 up to -1, `(x + 1)² / 4` up to 1, then `x`.
    SparsePlus,
    /// `eˣ` over its sum along the last axis.
    Softmax,
    /// The logarithm of `Softmax`.
    LogSoftmax,
    /// A projection onto the simplex along the last axis, with Keras' own threshold, which is not
    /// quite that of Martins and Astudillo (2016).
    Sparsemax,
}

/// The name of each activation that has no parameter of its own; the first name is written.
const NAMES: [(&str, Activation); 30] = [
    ("linear", Activation::Linear),
    ("relu", Activation::Relu),
    ("relu6", Activation::Relu6),
    (
        "leaky_relu",
        Activation::LeakyRelu {
            negative_slope: 0.2,
        },
    ),
    ("elu", Activation::Elu { alpha: 1.0 }),
    ("selu", Activation::Selu),
    ("celu", Activation::Celu),
    ("gelu", Activation::Gelu),
    ("softplus", Activation::Softplus),
    ("softsign", Activation::Softsign),
    ("sigmoid", Activation::Sigmoid),
    ("log_sigmoid", Activation::LogSigmoid),
    ("hard_sigmoid", Activation::HardSigmoid),
    ("sparse_sigmoid", Activation::SparseSigmoid),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("hard_silu", Activation::HardSilu),
    ("hard_swish", Activation::HardSilu),
    ("mish", Activation::Mish),
    ("tanh", Activation::Tanh),
    ("hard_tanh", Activation::HardTanh),
    ("tanh_shrink", Activation::TanhShrink),
    ("soft_shrink", Activation::SoftShrink),
    ("hard_shrink", Activation::HardShrink),
    ("exponential", Activation::Exponential),
    ("squareplus", Activation::Squareplus),
    ("sparse_plus", Activation::SparsePlus),
    ("softmax", Activation::Softmax),
    ("log_softmax", Activation::LogSoftmax),
    ("sparsemax", Activation::Sparsemax),
];

impl Activation {
    /// The activation that Keras 3 knows by this name.
    pub fn named(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, activation)| *activation)
    }

    /// Keras' name, if the name alone says it all.
    pub fn name(&self) -> Option<&'static str> {
        NAMES
            .iter()
            .find(|(_, activation)| activation == self)
            .map(|(name, _)| *name)
    }

    /// All names that [`named`](Self::named) understands.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }
}
