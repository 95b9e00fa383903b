//! A layer: one operation of a model, with the options that Keras gives it.
//!
//! Field names and meanings are Keras 3's (`keras.layers`); where a default stands in the Keras
//! documentation, [`super::Architecture::from_value`] has filled it in. Pairs are rows, then columns.

use serde_json::{Map, Value};

use super::{Activation, Initializer, Regularizer};

/// One operation of a model.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// `InputLayer`: the image or vector that comes in, of the node's shape.
    Input,
    /// `Dense`.
    Dense(Dense),
    /// `Conv2D`.
    Conv2D(Conv2D),
    /// `DepthwiseConv2D`.
    DepthwiseConv2D(DepthwiseConv2D),
    /// `SeparableConv2D`.
    SeparableConv2D(SeparableConv2D),
    /// `MaxPooling2D`.
    MaxPooling2D(Pooling2D),
    /// `AveragePooling2D`; with `same`, the padding does not count.
    AveragePooling2D(Pooling2D),
    /// `GlobalMaxPooling2D`.
    GlobalMaxPooling2D {
        /// Whether height and width stay, as 1.
        keepdims: bool,
    },
    /// `GlobalAveragePooling2D`.
    GlobalAveragePooling2D {
        /// Whether height and width stay, as 1.
        keepdims: bool,
    },
    /// `Flatten`, in the channels-last order.
    Flatten,
    /// `Reshape`; the node's output shape says what `None` comes to.
    Reshape {
        /// The extents without the batch axis; at most one is `None`, Keras' -1.
        target_shape: Vec<Option<usize>>,
    },
    /// `Permute`.
    Permute {
        /// Which input axis each output axis is; 1 is the first after the batch axis.
        dims: Vec<usize>,
    },
    /// `ZeroPadding2D`.
    ZeroPadding2D(Sides),
    /// `Cropping2D`.
    Cropping2D(Sides),
    /// `UpSampling2D`.
    UpSampling2D {
        /// How many times as many rows and columns.
        size: [usize; 2],
        /// How a pixel between pixels is made.
        interpolation: Interpolation,
    },
    /// `Activation`.
    Activation(Activation),
    /// `ReLU`.
    ReLU {
        /// Values above it become it.
        max_value: Option<f64>,
        /// The slope below `threshold`: `negative_slope · (x - threshold)`.
        negative_slope: f64,
        /// Values from it up pass.
        threshold: f64,
    },
    /// `LeakyReLU`.
    LeakyReLU {
        /// The slope below zero.
        negative_slope: f64,
    },
    /// `ELU`.
    ELU {
        /// The value that large negative numbers approach, negated.
        alpha: f64,
    },
    /// `Softmax`, over the last axis.
    Softmax,
    /// `Dropout`.
    Dropout {
        /// The share of values set to zero in training, 0 to 1.
        rate: f64,
        /// The layer's own seed, if any.
        seed: Option<u64>,
    },
    /// `SpatialDropout2D`: whole channels are dropped.
    SpatialDropout2D {
        /// The share of channels set to zero in training, 0 to 1.
        rate: f64,
        /// The layer's own seed, if any.
        seed: Option<u64>,
    },
    /// `GaussianNoise`.
    GaussianNoise {
        /// The standard deviation of what is added in training.
        stddev: f64,
        /// The layer's own seed, if any.
        seed: Option<u64>,
    },
    /// `BatchNormalization`, over the last axis.
    BatchNormalization(BatchNormalization),
    /// `LayerNormalization`.
    LayerNormalization(LayerNormalization),
    /// `Normalization`, over the last axis.
    Normalization(Normalization),
    /// `Rescaling`: `x · scale + offset`.
    Rescaling {
        /// One for all channels, or one per channel.
        scale: Vec<f64>,
        /// One for all channels, or one per channel.
        offset: Vec<f64>,
    },
    /// `Resizing`, without antialiasing.
    Resizing(Resizing),
    /// `CenterCrop`; a smaller image is enlarged first.
    CenterCrop {
        /// Rows of the output.
        height: usize,
        /// Columns of the output.
        width: usize,
    },
    /// A random image layer: it changes images in training and passes them on in prediction.
    Augmentation(Augmentation),
}

impl Layer {
    /// The classes that are supported, by Keras' names.
    pub const CLASS_NAMES: [&str; 35] = [
        "InputLayer",
        "Dense",
        "Conv2D",
        "DepthwiseConv2D",
        "SeparableConv2D",
        "MaxPooling2D",
        "AveragePooling2D",
        "GlobalMaxPooling2D",
        "GlobalAveragePooling2D",
        "Flatten",
        "Reshape",
        "Permute",
        "ZeroPadding2D",
        "Cropping2D",
        "UpSampling2D",
        "Activation",
        "ReLU",
        "LeakyReLU",
        "ELU",
        "Softmax",
        "Dropout",
        "SpatialDropout2D",
        "GaussianNoise",
        "BatchNormalization",
        "LayerNormalization",
        "Normalization",
        "Rescaling",
        "Resizing",
        "CenterCrop",
        "RandomFlip",
        "RandomRotation",
        "RandomZoom",
        "RandomTranslation",
        "RandomContrast",
        "RandomBrightness",
    ];

    /// Keras' class.
    pub fn class_name(&self) -> &'static str {
        match self {
            Self::Input => "InputLayer",
            Self::Dense(_) => "Dense",
            Self::Conv2D(_) => "Conv2D",
            Self::DepthwiseConv2D(_) => "DepthwiseConv2D",
            Self::SeparableConv2D(_) => "SeparableConv2D",
            Self::MaxPooling2D(_) => "MaxPooling2D",
            Self::AveragePooling2D(_) => "AveragePooling2D",
            Self::GlobalMaxPooling2D { .. } => "GlobalMaxPooling2D",
            Self::GlobalAveragePooling2D { .. } => "GlobalAveragePooling2D",
            Self::Flatten => "Flatten",
            Self::Reshape { .. } => "Reshape",
            Self::Permute { .. } => "Permute",
            Self::ZeroPadding2D(_) => "ZeroPadding2D",
            Self::Cropping2D(_) => "Cropping2D",
            Self::UpSampling2D { .. } => "UpSampling2D",
            Self::Activation(_) => "Activation",
            Self::ReLU { .. } => "ReLU",
            Self::LeakyReLU { .. } => "LeakyReLU",
            Self::ELU { .. } => "ELU",
            Self::Softmax => "Softmax",
            Self::Dropout { .. } => "Dropout",
            Self::SpatialDropout2D { .. } => "SpatialDropout2D",
            Self::GaussianNoise { .. } => "GaussianNoise",
            Self::BatchNormalization(_) => "BatchNormalization",
            Self::LayerNormalization(_) => "LayerNormalization",
            Self::Normalization(_) => "Normalization",
            Self::Rescaling { .. } => "Rescaling",
            Self::Resizing(_) => "Resizing",
            Self::CenterCrop { .. } => "CenterCrop",
            Self::Augmentation(augmentation) => augmentation.class_name,
        }
    }
}

/// How a window meets the border of its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// `valid`: the window stays inside.
    Valid,
    /// `same`: zeros around the image, so that with strides of 1 the size stays; the odd row or
    /// column goes below or to the right.
    Same,
}

/// How a pixel between pixels is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Interpolation {
    Nearest,
    Bilinear,
    Bicubic,
}

/// Rows and columns on each side of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sides {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the left.
    pub left: usize,
    /// Columns to the right.
    pub right: usize,
}

/// `activation(x · kernel + bias)` along the last axis; kernel `[in, units]`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Dense {
    pub units: usize,
    pub activation: Activation,
    pub use_bias: bool,
    pub kernel_initializer: Initializer,
    pub bias_initializer: Initializer,
    pub kernel_regularizer: Option<Regularizer>,
    pub bias_regularizer: Option<Regularizer>,
}

/// Where the windows of a convolution lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Window {
    pub kernel_size: [usize; 2],
    pub strides: [usize; 2],
    pub padding: Padding,
    pub dilation_rate: [usize; 2],
}

/// A convolution; kernel `[height, width, in / groups, filters]`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Conv2D {
    pub filters: usize,
    pub window: Window,
    pub groups: usize,
    pub activation: Activation,
    pub use_bias: bool,
    pub kernel_initializer: Initializer,
    pub bias_initializer: Initializer,
    pub kernel_regularizer: Option<Regularizer>,
    pub bias_regularizer: Option<Regularizer>,
}

/// A convolution of each channel on its own; kernel `[height, width, in, depth_multiplier]`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct DepthwiseConv2D {
    pub window: Window,
    pub depth_multiplier: usize,
    pub activation: Activation,
    pub use_bias: bool,
    pub depthwise_initializer: Initializer,
    pub bias_initializer: Initializer,
    pub depthwise_regularizer: Option<Regularizer>,
    pub bias_regularizer: Option<Regularizer>,
}

/// A depthwise convolution, then one of size 1 across channels; kernels
/// `[height, width, in, depth_multiplier]` and `[1, 1, in · depth_multiplier, filters]`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct SeparableConv2D {
    pub filters: usize,
    pub window: Window,
    pub depth_multiplier: usize,
    pub activation: Activation,
    pub use_bias: bool,
    pub depthwise_initializer: Initializer,
    pub pointwise_initializer: Initializer,
    pub bias_initializer: Initializer,
    pub depthwise_regularizer: Option<Regularizer>,
    pub pointwise_regularizer: Option<Regularizer>,
    pub bias_regularizer: Option<Regularizer>,
}

/// The largest or the mean value under each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Pooling2D {
    pub pool_size: [usize; 2],
    pub strides: [usize; 2],
    pub padding: Padding,
}

/// `gamma · (x - mean) / √(variance + epsilon) + beta`, with the statistics of the batch in training
/// and the moving ones in prediction, or where the node is not trainable.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct BatchNormalization {
    /// The share of the old moving statistics that stays at each step.
    pub momentum: f64,
    pub epsilon: f64,
    /// Whether there is a `beta`.
    pub center: bool,
    /// Whether there is a `gamma`.
    pub scale: bool,
    pub beta_initializer: Initializer,
    pub gamma_initializer: Initializer,
    pub moving_mean_initializer: Initializer,
    pub moving_variance_initializer: Initializer,
    pub beta_regularizer: Option<Regularizer>,
    pub gamma_regularizer: Option<Regularizer>,
}

/// `gamma · (x - mean) / √(variance + epsilon) + beta`, with the statistics of each example.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct LayerNormalization {
    /// The axes that are normalized together, ascending; 0 is the first after the batch axis.
    pub axes: Vec<usize>,
    pub epsilon: f64,
    /// Whether there is a `beta`.
    pub center: bool,
    /// Whether there is a `gamma`.
    pub scale: bool,
    pub beta_initializer: Initializer,
    pub gamma_initializer: Initializer,
    pub beta_regularizer: Option<Regularizer>,
    pub gamma_regularizer: Option<Regularizer>,
}

/// `(x - mean) / max(√variance, 1e-7)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalization {
    /// Mean and variance, one for all channels or one per channel; without them they are weights.
    pub statistics: Option<Statistics>,
    /// Whether to undo the normalization instead: `mean + x · max(√variance, 1e-7)`.
    pub invert: bool,
}

/// The mean and the variance that [`Normalization`] is given.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Statistics {
    pub mean: Vec<f64>,
    pub variance: Vec<f64>,
}

/// A change of size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Resizing {
    pub height: usize,
    pub width: usize,
    pub interpolation: Interpolation,
    /// Whether to cut the longer side so that nothing is distorted.
    pub crop_to_aspect_ratio: bool,
}

/// A random image layer of Keras, kept as it was described.
#[derive(Clone, Debug, PartialEq)]
pub struct Augmentation {
    /// Keras' class.
    pub class_name: &'static str,
    /// Its options, checked for their names but not for their values.
    pub config: Map<String, Value>,
}
