//! The shape that each layer gives out, as Keras infers it, within bounds.

use super::{Fault, Layer, MAX_ELEMENTS, Padding, Shape, Sides, Window};

/// The output shape of a layer that takes in `input`.
pub(super) fn output_shape(layer: &Layer, input: &Shape) -> Result<Shape, Fault> {
    let shape = match layer {
        Layer::Dense(dense) => with_channels(input, dense.units),
        Layer::Conv2D(conv) => convolved(input, &conv.window, |_| Some(conv.filters))?,
        Layer::DepthwiseConv2D(conv) => convolved(input, &conv.window, |channels| {
            channels.checked_mul(conv.depth_multiplier)
        })?,
        Layer::SeparableConv2D(conv) => {
            let between = |channels: usize| channels.checked_mul(conv.depth_multiplier);
            elements(&convolved(input, &conv.window, between)?)?;
            convolved(input, &conv.window, |_| Some(conv.filters))?
        }
        Layer::MaxPooling2D(pooling) | Layer::AveragePooling2D(pooling) => {
            let window = Window {
                kernel_size: pooling.pool_size,
                strides: pooling.strides,
                padding: pooling.padding,
                dilation_rate: [1, 1],
            };
            convolved(input, &window, Some)?
        }
        Layer::GlobalMaxPooling2D { keepdims } | Layer::GlobalAveragePooling2D { keepdims } => {
            let [_, _, channels] = image(input)?;
            if *keepdims {
                Shape::new([1, 1, channels])
            } else {
                Shape::new([channels])
            }
        }
        Layer::Flatten => Shape::new([elements(input)?]),
        Layer::Reshape { target_shape } => reshaped(input, target_shape)?,
        Layer::Permute { dims } => Shape::new(
            dims.iter()
                .filter_map(|&axis| input.dims().get(axis.wrapping_sub(1)).copied())
                .collect::<Vec<_>>(),
        ),
        Layer::ZeroPadding2D(sides) => padded(input, sides)?,
        Layer::Cropping2D(sides) => cropped(input, sides)?,
        Layer::UpSampling2D { size, .. } => {
            let [height, width, channels] = image(input)?;
            sized(
                height.checked_mul(size[0]),
                width.checked_mul(size[1]),
                channels,
            )?
        }
        Layer::Resizing(resizing) => {
            let [_, _, channels] = image(input)?;
            Shape::new([resizing.height, resizing.width, channels])
        }
        Layer::CenterCrop { height, width } => {
            let [_, _, channels] = image(input)?;
            Shape::new([*height, *width, channels])
        }
        Layer::SpatialDropout2D { .. } | Layer::Augmentation(_) => {
            image(input)?;
            input.clone()
        }
        Layer::Rescaling { scale, offset } => {
            per_channel("scale", scale, input)?;
            per_channel("offset", offset, input)?;
            input.clone()
        }
        Layer::Normalization(norm) => {
            if let Some(statistics) = &norm.statistics {
                per_channel("mean", &statistics.mean, input)?;
                per_channel("variance", &statistics.variance, input)?;
            }
            input.clone()
        }
        Layer::Input
        | Layer::Activation(_)
        | Layer::ReLU { .. }
        | Layer::LeakyReLU { .. }
        | Layer::ELU { .. }
        | Layer::Softmax
        | Layer::Dropout { .. }
        | Layer::GaussianNoise { .. }
        | Layer::BatchNormalization(_)
        | Layer::LayerNormalization(_) => input.clone(),
    };
    elements(&shape)?;
    Ok(shape)
}

/// How many numbers one example has, at most [`MAX_ELEMENTS`].
pub(super) fn elements(shape: &Shape) -> Result<usize, Fault> {
    shape
        .elements()
        .filter(|&elements| elements <= MAX_ELEMENTS)
        .ok_or_else(|| Fault::TooLarge {
            found: shape.to_string(),
        })
}

fn image(input: &Shape) -> Result<[usize; 3], Fault> {
    input.as_image().ok_or_else(|| Fault::Input {
        found: input.clone(),
        allowed: "this layer takes images, (None, height, width, channels)".into(),
    })
}

fn with_channels(input: &Shape, channels: usize) -> Shape {
    let mut dims = input.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = channels;
    }
    Shape::new(dims)
}

fn sized(height: Option<usize>, width: Option<usize>, channels: usize) -> Result<Shape, Fault> {
    match (height, width) {
        (Some(height), Some(width)) => Ok(Shape::new([height, width, channels])),
        _ => Err(Fault::TooLarge {
            found: format!("(None, ?, ?, {channels})"),
        }),
    }
}

/// The output of a window that slides over an image.
fn convolved(
    input: &Shape,
    window: &Window,
    channels: impl Fn(usize) -> Option<usize>,
) -> Result<Shape, Fault> {
    let [height, width, in_channels] = image(input)?;
    let mut size = [height, width];
    let mut padded = [height, width];
    for axis in 0..2 {
        let stride = window.strides[axis];
        let gaps = (window.kernel_size[axis] - 1).saturating_mul(window.dilation_rate[axis]);
        let reach = gaps.saturating_add(1);
        size[axis] = match window.padding {
            Padding::Same => size[axis].div_ceil(stride),
            Padding::Valid if reach > size[axis] => {
                return Err(Fault::Input {
                    found: input.clone(),
                    allowed: format!(
                        "a window that reaches over {reach} {} needs as many, or \"padding\": \"same\"",
                        ["rows", "columns"][axis]
                    ),
                });
            }
            Padding::Valid => (size[axis] - reach) / stride + 1,
        };
        let covered = (size[axis] - 1)
            .saturating_mul(stride)
            .saturating_add(reach);
        padded[axis] = padded[axis].max(covered);
    }
    elements(&Shape::new([padded[0], padded[1], in_channels]))?;
    match channels(in_channels) {
        Some(channels) => Ok(Shape::new([size[0], size[1], channels])),
        None => Err(Fault::TooLarge {
            found: format!("(None, {}, {}, ?)", size[0], size[1]),
        }),
    }
}

fn reshaped(input: &Shape, target: &[Option<usize>]) -> Result<Shape, Fault> {
    let total = elements(input)?;
    let known = target
        .iter()
        .flatten()
        .try_fold(1usize, |n, &size| n.checked_mul(size));
    let fault = || Fault::Input {
        found: input.clone(),
        allowed: format!(
            "its {total} numbers can't be arranged as \"target_shape\": [{}]",
            target
                .iter()
                .map(|size| size.map_or_else(|| "-1".into(), |size| size.to_string()))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    };
    let known = known
        .filter(|&known| total.is_multiple_of(known))
        .ok_or_else(fault)?;
    let inferred = total / known;
    if inferred != 1 && target.iter().all(Option::is_some) {
        return Err(fault());
    }
    Ok(Shape::new(
        target
            .iter()
            .map(|size| size.unwrap_or(inferred))
            .collect::<Vec<_>>(),
    ))
}

fn padded(input: &Shape, sides: &Sides) -> Result<Shape, Fault> {
    let [height, width, channels] = image(input)?;
    let add =
        |size: usize, before: usize, after: usize| size.checked_add(before)?.checked_add(after);
    sized(
        add(height, sides.top, sides.bottom),
        add(width, sides.left, sides.right),
        channels,
    )
}

fn cropped(input: &Shape, sides: &Sides) -> Result<Shape, Fault> {
    let [height, width, channels] = image(input)?;
    let remove = |size: usize, before: usize, after: usize| {
        size.checked_sub(before)?
            .checked_sub(after)
            .filter(|&left| left > 0)
    };
    match (
        remove(height, sides.top, sides.bottom),
        remove(width, sides.left, sides.right),
    ) {
        (Some(height), Some(width)) => Ok(Shape::new([height, width, channels])),
        _ => Err(Fault::Input {
            found: input.clone(),
            allowed: format!(
                "\"cropping\": [[{}, {}], [{}, {}]] leaves nothing of it",
                sides.top, sides.bottom, sides.left, sides.right
            ),
        }),
    }
}

/// Refuses a list of another length than the input has channels.
fn per_channel(field: &'static str, numbers: &[f64], input: &Shape) -> Result<(), Fault> {
    let channels = input.channels().unwrap_or(1);
    if numbers.len() == 1 || numbers.len() == channels {
        return Ok(());
    }
    Err(Fault::Field {
        field,
        found: format!("a list of {} numbers", numbers.len()),
        allowed: format!("one number, or {channels}, one for each channel"),
    })
}
