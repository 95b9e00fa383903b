//! Old names: the layer classes and options that Keras has renamed since its version 1.

use serde_json::{Map, Value};

/// The class that Keras 3 has for one of Keras 1, of Keras 2, or for a short name.
pub(super) fn class_name(name: &str) -> &str {
    match name {
        "Convolution2D" | "AtrousConvolution2D" | "AtrousConv2D" => "Conv2D",
        "DepthwiseConvolution2D" => "DepthwiseConv2D",
        "SeparableConvolution2D" => "SeparableConv2D",
        "MaxPool2D" => "MaxPooling2D",
        "AvgPool2D" => "AveragePooling2D",
        "GlobalMaxPool2D" => "GlobalMaxPooling2D",
        "GlobalAvgPool2D" => "GlobalAveragePooling2D",
        "BatchNormalizationV1" | "BatchNormalizationV2" => "BatchNormalization",
        name => name,
    }
}

/// Old and new names of options, where they mean the same in every layer that has the old one.
const RENAMED: [(&str, &str); 14] = [
    ("init", "kernel_initializer"),
    ("W_regularizer", "kernel_regularizer"),
    ("b_regularizer", "bias_regularizer"),
    ("W_constraint", "kernel_constraint"),
    ("b_constraint", "bias_constraint"),
    ("bias", "use_bias"),
    ("border_mode", "padding"),
    ("subsample", "strides"),
    ("dim_ordering", "data_format"),
    ("nb_filter", "filters"),
    ("atrous_rate", "dilation_rate"),
    ("gamma_init", "gamma_initializer"),
    ("beta_init", "beta_initializer"),
    ("sigma", "stddev"),
];

/// Options that Keras 1 and 2 wrote and that changed nothing there.
const DROPPED: [(&str, &[&str]); 3] = [
    (
        "SeparableConv2D",
        &[
            "kernel_initializer",
            "kernel_regularizer",
            "kernel_constraint",
            "groups",
            "init",
        ],
    ),
    ("DepthwiseConv2D", &["filters", "groups"]),
    ("Dense", &["input_dtype"]),
];

/// Renames the options of a layer of class `class_name` to those of Keras 3.
///
/// Where a document has both names, the new one counts and the old one is left to be refused.
pub(super) fn rename(class_name: &str, config: &mut Map<String, Value>) {
    for (class, options) in DROPPED {
        if class == class_name {
            for option in options {
                config.swap_remove(*option);
            }
        }
    }
    for (old, new) in RENAMED {
        move_option(config, old, new);
    }
    match class_name {
        "Dense" => move_option(config, "output_dim", "units"),
        "Dropout" | "SpatialDropout2D" => move_option(config, "p", "rate"),
        "LeakyReLU" => move_option(config, "alpha", "negative_slope"),
        "DepthwiseConv2D" => {
            move_option(config, "kernel_initializer", "depthwise_initializer");
            move_option(config, "kernel_regularizer", "depthwise_regularizer");
            move_option(config, "kernel_constraint", "depthwise_constraint");
        }
        "Conv2D" | "SeparableConv2D" => {
            if let (Some(rows), Some(columns)) = (config.get("nb_row"), config.get("nb_col"))
                && !config.contains_key("kernel_size")
            {
                let size = Value::from(vec![rows.clone(), columns.clone()]);
                config.insert("kernel_size".into(), size);
                config.swap_remove("nb_row");
                config.swap_remove("nb_col");
            }
        }
        _ => {}
    }
    if let Some(Value::String(format)) = config.get_mut("data_format") {
        match format.as_str() {
            "tf" => *format = "channels_last".into(),
            "th" => *format = "channels_first".into(),
            _ => {}
        }
    }
}

fn move_option(config: &mut Map<String, Value>, old: &str, new: &str) {
    if !config.contains_key(new)
        && let Some(value) = config.swap_remove(old)
    {
        config.insert(new.into(), value);
    }
}
