//! The layers that normalize, and the axes they do it along.

use serde_json::{Value, json};

use super::super::{
    BatchNormalization, Fault, Initializer, Layer, LayerNormalization, Normalization, Shape,
    Statistics,
};
use super::fields::{Fields, invalid, missing, quote};

/// An axis of Keras, which counts the batch axis and also counts from the end; 0 is the first after
/// the batch axis.
fn axis(value: &Value, rank: usize) -> Option<usize> {
    let axis = value.as_i64()?;
    let rank = i64::try_from(rank).ok()?;
    let axis = if axis < 0 {
        axis.checked_add(rank)?
    } else {
        axis - 1
    };
    usize::try_from(axis).ok().filter(|_| axis < rank)
}

/// Takes "axis" where only the last one is computed.
pub(super) fn last_axis(fields: &mut Fields, input: &Shape) -> Result<(), Fault> {
    let field = "axis";
    let Some(value) = fields.take(field) else {
        return Ok(());
    };
    let single = match &value {
        Value::Array(list) => match list.as_slice() {
            [single] => single,
            _ => &value,
        },
        single => single,
    };
    if axis(single, input.rank()).is_some_and(|axis| axis + 1 == input.rank()) {
        return Ok(());
    }
    Err(Fault::UnsupportedOption {
        field,
        found: quote(&value),
        allowed: format!("the last axis, -1 or {}", input.rank()),
    })
}

pub(super) fn batch_normalization(fields: &mut Fields, input: &Shape) -> Result<Layer, Fault> {
    last_axis(fields, input)?;
    fields.only("renorm", &[false.into()])?;
    fields.ignore("renorm_clipping");
    fields.ignore("renorm_momentum");
    fields.only("synchronized", &[false.into()])?;
    fields.absent("virtual_batch_size")?;
    fields.absent("adjustment")?;
    // How the statistics were computed, not what they are.
    fields.ignore("fused");
    // Keras 1: 0 is normalization per feature.
    fields.only("mode", &[0.into()])?;
    let norm = BatchNormalization {
        momentum: fields.number_where("momentum", 0.99, "a number from 0 to 1", |momentum| {
            (0.0..=1.0).contains(&momentum)
        })?,
        epsilon: epsilon(fields)?,
        center: fields.flag("center", true)?,
        scale: fields.flag("scale", true)?,
        beta_initializer: fields.initializer("beta_initializer", Initializer::Zeros)?,
        gamma_initializer: fields.initializer("gamma_initializer", Initializer::Ones)?,
        moving_mean_initializer: fields
            .initializer("moving_mean_initializer", Initializer::Zeros)?,
        moving_variance_initializer: fields
            .initializer("moving_variance_initializer", Initializer::Ones)?,
        beta_regularizer: fields.regularizer("beta_regularizer")?,
        gamma_regularizer: fields.regularizer("gamma_regularizer")?,
    };
    fields.absent("beta_constraint")?;
    fields.absent("gamma_constraint")?;
    Ok(Layer::BatchNormalization(norm))
}

fn epsilon(fields: &mut Fields) -> Result<f64, Fault> {
    fields.number_where("epsilon", 0.001, "a number of 0 or more", |x| x >= 0.0)
}

pub(super) fn layer_normalization(fields: &mut Fields, input: &Shape) -> Result<Layer, Fault> {
    fields.only("rms_scaling", &[false.into()])?;
    let rank = input.rank();
    let value = fields.take("axis").unwrap_or_else(|| (-1).into());
    let axes: Option<Vec<usize>> = match &value {
        Value::Array(list) if !list.is_empty() && list.len() <= rank => {
            list.iter().map(|value| axis(value, rank)).collect()
        }
        single => axis(single, rank).map(|axis| vec![axis]),
    };
    let axes = axes
        .filter(|axes| axes.is_sorted_by(|a, b| a < b))
        .ok_or_else(|| {
            let allowed =
                format!("an axis from 1 to {rank}, -1 for the last, or an ascending list");
            invalid("axis", &value, allowed)
        })?;
    let norm = LayerNormalization {
        axes,
        epsilon: epsilon(fields)?,
        center: fields.flag("center", true)?,
        scale: fields.flag("scale", true)?,
        beta_initializer: fields.initializer("beta_initializer", Initializer::Zeros)?,
        gamma_initializer: fields.initializer("gamma_initializer", Initializer::Ones)?,
        beta_regularizer: fields.regularizer("beta_regularizer")?,
        gamma_regularizer: fields.regularizer("gamma_regularizer")?,
    };
    fields.absent("beta_constraint")?;
    fields.absent("gamma_constraint")?;
    Ok(Layer::LayerNormalization(norm))
}

pub(super) fn normalization(fields: &mut Fields, input: &Shape) -> Result<Layer, Fault> {
    last_axis(fields, input)?;
    let statistics = match (fields.numbers("mean")?, fields.numbers("variance")?) {
        (None, None) => None,
        (Some(mean), Some(variance)) => Some(Statistics { mean, variance }),
        (mean, _) => {
            let field = if mean.is_none() { "mean" } else { "variance" };
            return Err(missing(
                field,
                "numbers for both \"mean\" and \"variance\", or null for both",
            ));
        }
    };
    if let Some(statistics) = &statistics
        && statistics.variance.iter().any(|&variance| variance < 0.0)
    {
        return Err(invalid(
            "variance",
            &json!(statistics.variance),
            "numbers of 0 or more",
        ));
    }
    Ok(Layer::Normalization(Normalization {
        statistics,
        invert: fields.flag("invert", false)?,
    }))
}
