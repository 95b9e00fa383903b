//! The layers with a window: convolutions and pooling.

use serde_json::json;

use super::super::{
    Conv2D, DepthwiseConv2D, Fault, Initializer, Layer, Padding, Pooling2D, SeparableConv2D, Shape,
    Window,
};
use super::fields::{Fields, invalid};

const PADDINGS: [(&str, Padding); 2] = [("valid", Padding::Valid), ("same", Padding::Same)];

pub(super) fn conv2d(fields: &mut Fields, input: &Shape) -> Result<Layer, Fault> {
    fields.absent("lora_rank")?;
    fields.ignore("lora_alpha");
    fields.absent("quantization_config")?;
    let conv = Conv2D {
        filters: fields.count("filters", None)?,
        window: window(fields)?,
        groups: fields.count("groups", Some(1))?,
        activation: fields.activation()?,
        use_bias: fields.flag("use_bias", true)?,
        kernel_initializer: kernel_initializer(fields, "kernel_initializer")?,
        bias_initializer: fields.initializer("bias_initializer", Initializer::Zeros)?,
        kernel_regularizer: fields.regularizer("kernel_regularizer")?,
        bias_regularizer: fields.regularizer("bias_regularizer")?,
    };
    fields.absent("activity_regularizer")?;
    fields.absent("kernel_constraint")?;
    fields.absent("bias_constraint")?;
    let channels = input.channels().unwrap_or(1);
    if !conv.filters.is_multiple_of(conv.groups) || !channels.is_multiple_of(conv.groups) {
        return Err(invalid(
            "groups",
            &json!(conv.groups),
            format!(
                "a common divisor of the {channels} input channels and the {} filters",
                conv.filters
            ),
        ));
    }
    Ok(Layer::Conv2D(conv))
}

pub(super) fn depthwise_conv2d(fields: &mut Fields) -> Result<Layer, Fault> {
    let conv = DepthwiseConv2D {
        window: window(fields)?,
        depth_multiplier: fields.count("depth_multiplier", Some(1))?,
        activation: fields.activation()?,
        use_bias: fields.flag("use_bias", true)?,
        depthwise_initializer: kernel_initializer(fields, "depthwise_initializer")?,
        bias_initializer: fields.initializer("bias_initializer", Initializer::Zeros)?,
        depthwise_regularizer: fields.regularizer("depthwise_regularizer")?,
        bias_regularizer: fields.regularizer("bias_regularizer")?,
    };
    fields.absent("activity_regularizer")?;
    fields.absent("depthwise_constraint")?;
    fields.absent("bias_constraint")?;
    Ok(Layer::DepthwiseConv2D(conv))
}

pub(super) fn separable_conv2d(fields: &mut Fields) -> Result<Layer, Fault> {
    let conv = SeparableConv2D {
        filters: fields.count("filters", None)?,
        window: window(fields)?,
        depth_multiplier: fields.count("depth_multiplier", Some(1))?,
        activation: fields.activation()?,
        use_bias: fields.flag("use_bias", true)?,
        depthwise_initializer: kernel_initializer(fields, "depthwise_initializer")?,
        pointwise_initializer: kernel_initializer(fields, "pointwise_initializer")?,
        bias_initializer: fields.initializer("bias_initializer", Initializer::Zeros)?,
        depthwise_regularizer: fields.regularizer("depthwise_regularizer")?,
        pointwise_regularizer: fields.regularizer("pointwise_regularizer")?,
        bias_regularizer: fields.regularizer("bias_regularizer")?,
    };
    fields.absent("activity_regularizer")?;
    fields.absent("depthwise_constraint")?;
    fields.absent("pointwise_constraint")?;
    fields.absent("bias_constraint")?;
    Ok(Layer::SeparableConv2D(conv))
}

pub(super) fn kernel_initializer(
    fields: &mut Fields,
    field: &'static str,
) -> Result<Initializer, Fault> {
    fields.initializer(field, Initializer::glorot_uniform())
}

fn window(fields: &mut Fields) -> Result<Window, Fault> {
    fields.data_format()?;
    let window = Window {
        kernel_size: fields.pair("kernel_size", None)?,
        strides: fields.pair("strides", Some([1, 1]))?,
        padding: fields.choice("padding", &PADDINGS, Padding::Valid)?,
        dilation_rate: fields.pair("dilation_rate", Some([1, 1]))?,
    };
    if window.strides != [1, 1] && window.dilation_rate != [1, 1] {
        return Err(invalid(
            "dilation_rate",
            &json!(window.dilation_rate),
            "1 where \"strides\" are above 1, as in Keras",
        ));
    }
    Ok(window)
}

pub(super) fn pooling2d(fields: &mut Fields) -> Result<Pooling2D, Fault> {
    fields.data_format()?;
    let pool_size = fields.pair("pool_size", Some([2, 2]))?;
    Ok(Pooling2D {
        pool_size,
        strides: fields.pair("strides", Some(pool_size))?,
        padding: fields.choice("padding", &PADDINGS, Padding::Valid)?,
    })
}
