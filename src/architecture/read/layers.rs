//! The layers of a document: from class and options to a checked [`Layer`].

use serde_json::{Value, json};

use super::super::{
    Augmentation, Dense, Fault, Initializer, Interpolation, Layer, Resizing, Shape, Sides,
};
use super::convolutions::{
    conv2d, depthwise_conv2d, kernel_initializer, pooling2d, separable_conv2d,
};
use super::fields::{Fields, invalid, missing, natural, pair, shorten};
use super::nearest::nearest;
use super::normalizations::{batch_normalization, last_axis, layer_normalization, normalization};
use super::objects::{ReluOptions, leaky_slope};

/// Reads the options of the layer of class `class_name` that takes in `input`.
pub(super) fn read(class_name: &str, fields: &mut Fields, input: &Shape) -> Result<Layer, Fault> {
    Ok(match class_name {
        "Dense" => dense(fields)?,
        "Conv2D" => conv2d(fields, input)?,
        "DepthwiseConv2D" => depthwise_conv2d(fields)?,
        "SeparableConv2D" => separable_conv2d(fields)?,
        "MaxPooling2D" => Layer::MaxPooling2D(pooling2d(fields)?),
        "AveragePooling2D" => Layer::AveragePooling2D(pooling2d(fields)?),
        "GlobalMaxPooling2D" => Layer::GlobalMaxPooling2D {
            keepdims: keepdims(fields)?,
        },
        "GlobalAveragePooling2D" => Layer::GlobalAveragePooling2D {
            keepdims: keepdims(fields)?,
        },
        "Flatten" => {
            fields.data_format()?;
            Layer::Flatten
        }
        "Reshape" => reshape(fields)?,
        "Permute" => permute(fields, input)?,
        "ZeroPadding2D" => Layer::ZeroPadding2D(sides(fields, "padding", 1)?),
        "Cropping2D" => Layer::Cropping2D(sides(fields, "cropping", 0)?),
        "UpSampling2D" => {
            fields.data_format()?;
            Layer::UpSampling2D {
                size: fields.pair("size", Some([2, 2]))?,
                interpolation: interpolation(fields, Interpolation::Nearest)?,
            }
        }
        "Activation" => Layer::Activation(fields.required_activation()?),
        "ReLU" => {
            let options = ReluOptions::take(fields)?;
            Layer::ReLU {
                max_value: options.max_value,
                negative_slope: options.negative_slope,
                threshold: options.threshold,
            }
        }
        "LeakyReLU" => Layer::LeakyReLU {
            negative_slope: leaky_slope(fields)?,
        },
        "ELU" => Layer::ELU {
            alpha: fields.number("alpha", 1.0)?,
        },
        "Softmax" => {
            last_axis(fields, input)?;
            Layer::Softmax
        }
        "Dropout" => {
            fields.absent("noise_shape")?;
            Layer::Dropout {
                rate: rate(fields)?,
                seed: fields.seed()?,
            }
        }
        "SpatialDropout2D" => {
            fields.data_format()?;
            fields.absent("noise_shape")?;
            Layer::SpatialDropout2D {
                rate: rate(fields)?,
                seed: fields.seed()?,
            }
        }
        "GaussianNoise" => {
            let allowed = "a number of 0 or more";
            let stddev = fields.optional_number("stddev", allowed, |x| x >= 0.0)?;
            Layer::GaussianNoise {
                stddev: stddev.ok_or_else(|| missing("stddev", allowed))?,
                seed: fields.seed()?,
            }
        }
        "BatchNormalization" => batch_normalization(fields, input)?,
        "LayerNormalization" => layer_normalization(fields, input)?,
        "Normalization" => normalization(fields, input)?,
        "Rescaling" => Layer::Rescaling {
            scale: fields
                .numbers("scale")?
                .ok_or_else(|| missing("scale", "a number, e.g. 0.00392156862745098 for 1/255"))?,
            offset: fields.numbers("offset")?.unwrap_or_else(|| vec![0.0]),
        },
        "Resizing" => resizing(fields)?,
        "CenterCrop" => {
            fields.data_format()?;
            Layer::CenterCrop {
                height: fields.count("height", None)?,
                width: fields.count("width", None)?,
            }
        }
        "InputLayer" => {
            return Err(Fault::UnsupportedOption {
                field: "class_name",
                found: "\"InputLayer\"".into(),
                allowed: "an InputLayer as the first layer only".into(),
            });
        }
        _ => match AUGMENTATIONS.iter().find(|(name, _)| *name == class_name) {
            Some((class_name, options)) => augmentation(fields, class_name, options)?,
            None => return Err(unknown(class_name)),
        },
    })
}

/// What is wrong with a class that is none of [`Layer::CLASS_NAMES`].
pub(super) fn unknown(class_name: &str) -> Fault {
    match class_name {
        "Sequential" | "Functional" | "Model" => Fault::UnsupportedOption {
            field: "class_name",
            found: format!("\"{class_name}\", a model inside a model"),
            allowed: "a layer; list the inner model's layers in its place".into(),
        },
        _ => Fault::UnknownLayer {
            found: shorten(class_name.to_owned()),
            nearest: nearest(class_name, &Layer::CLASS_NAMES),
        },
    }
}

/// The random image layers and the options that Keras 3 has for each.
const AUGMENTATIONS: [(&str, &[&str]); 6] = [
    ("RandomFlip", &["mode"]),
    (
        "RandomRotation",
        &["factor", "fill_mode", "fill_value", "interpolation"],
    ),
    (
        "RandomZoom",
        &[
            "height_factor",
            "width_factor",
            "fill_mode",
            "fill_value",
            "interpolation",
        ],
    ),
    (
        "RandomTranslation",
        &[
            "height_factor",
            "width_factor",
            "fill_mode",
            "fill_value",
            "interpolation",
        ],
    ),
    ("RandomContrast", &["factor", "value_range"]),
    ("RandomBrightness", &["factor", "value_range"]),
];

fn augmentation(
    fields: &mut Fields,
    class_name: &'static str,
    options: &[&'static str],
) -> Result<Layer, Fault> {
    fields.data_format()?;
    // Keras 2's choice of random generator.
    fields.ignore("rng_type");
    let seed = fields.seed()?;
    let mut config = serde_json::Map::new();
    for &option in options {
        if let Some(value) = fields.take(option) {
            config.insert(option.into(), value);
        }
    }
    // Some versions of Keras 3 write these on all random layers, used or not.
    for unused in ["value_range", "auto_vectorize"] {
        if !options.contains(&unused) {
            fields.ignore(unused);
        }
    }
    config.insert("seed".into(), json!(seed));
    Ok(Layer::Augmentation(Augmentation { class_name, config }))
}

fn dense(fields: &mut Fields) -> Result<Layer, Fault> {
    fields.absent("lora_rank")?;
    fields.ignore("lora_alpha");
    fields.absent("quantization_config")?;
    let dense = Dense {
        units: fields.count("units", None)?,
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
    Ok(Layer::Dense(dense))
}

fn keepdims(fields: &mut Fields) -> Result<bool, Fault> {
    fields.data_format()?;
    fields.flag("keepdims", false)
}

fn reshape(fields: &mut Fields) -> Result<Layer, Fault> {
    let field = "target_shape";
    let allowed = "a list of 1 to 3 sizes, at most one of which is -1";
    let value = fields.take(field).ok_or_else(|| missing(field, allowed))?;
    let wrong = || invalid(field, &value, allowed);
    let list = value.as_array().ok_or_else(wrong)?;
    let target_shape: Vec<Option<usize>> = list
        .iter()
        .map(|size| match size.as_i64() {
            Some(-1) => Some(None),
            _ => natural(size).filter(|&n| n > 0).map(Some),
        })
        .collect::<Option<_>>()
        .ok_or_else(wrong)?;
    let inferred = target_shape.iter().filter(|size| size.is_none()).count();
    if !(1..=3).contains(&target_shape.len()) || inferred > 1 {
        return Err(wrong());
    }
    Ok(Layer::Reshape { target_shape })
}

fn permute(fields: &mut Fields, input: &Shape) -> Result<Layer, Fault> {
    let field = "dims";
    let rank = input.rank();
    let allowed = format!("each of the numbers 1 to {rank} once");
    let value = fields
        .take(field)
        .ok_or_else(|| missing(field, allowed.clone()))?;
    let dims: Option<Vec<usize>> = value
        .as_array()
        .filter(|list| list.len() == rank)
        .and_then(|list| list.iter().map(natural).collect());
    match dims {
        Some(dims) if (1..=rank).all(|axis| dims.contains(&axis)) => Ok(Layer::Permute { dims }),
        _ => Err(invalid(field, &value, allowed)),
    }
}

/// One number for all sides, `[rows, columns]`, or `[[top, bottom], [left, right]]`.
fn sides(fields: &mut Fields, field: &'static str, default: usize) -> Result<Sides, Fault> {
    fields.data_format()?;
    let value = fields.take(field).unwrap_or_else(|| default.into());
    let sides = match &value {
        Value::Array(list) => match list.as_slice() {
            [rows, columns] => pair(rows, natural).zip(pair(columns, natural)),
            _ => None,
        },
        single => pair(single, natural).map(|both| (both, both)),
    };
    match sides {
        Some(([top, bottom], [left, right])) => Ok(Sides {
            top,
            bottom,
            left,
            right,
        }),
        None => Err(invalid(
            field,
            &value,
            "an integer of 0 or more, [rows, columns], or [[top, bottom], [left, right]]",
        )),
    }
}

fn interpolation(fields: &mut Fields, default: Interpolation) -> Result<Interpolation, Fault> {
    let words = [
        ("nearest", Interpolation::Nearest),
        ("bilinear", Interpolation::Bilinear),
        ("bicubic", Interpolation::Bicubic),
    ];
    fields.choice("interpolation", &words, default)
}

fn rate(fields: &mut Fields) -> Result<f64, Fault> {
    let allowed = "a number from 0 to 1";
    let rate = fields.optional_number("rate", allowed, |rate| (0.0..=1.0).contains(&rate))?;
    rate.ok_or_else(|| missing("rate", allowed))
}

fn resizing(fields: &mut Fields) -> Result<Layer, Fault> {
    fields.data_format()?;
    fields.only("pad_to_aspect_ratio", &[false.into()])?;
    fields.only("antialias", &[false.into()])?;
    // What padding is filled with, and there is none.
    fields.ignore("fill_mode");
    fields.ignore("fill_value");
    Ok(Layer::Resizing(Resizing {
        height: fields.count("height", None)?,
        width: fields.count("width", None)?,
        interpolation: interpolation(fields, Interpolation::Bilinear)?,
        crop_to_aspect_ratio: fields.flag("crop_to_aspect_ratio", false)?,
    }))
}
