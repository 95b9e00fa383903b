//! The history of a training run as two panels of curves: loss and accuracy over the epochs.

use std::ops::Range;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{Area, FAINT, INK, RULE, anchored, font, width};
use crate::evaluation::{Epoch, EvaluationError, History};

const SIZE: (u32, u32) = (960, 400);
const HEAD: i32 = 48;
const TRAINING: RGBColor = RGBColor(0x25, 0x63, 0xeb);
const VALIDATION: RGBColor = RGBColor(0xea, 0x58, 0x0c);
/// Up to so many epochs, each is marked by a point.
const MARKED_EPOCHS: usize = 50;
/// Labels along the epochs.
const EPOCH_LABELS: u32 = 10;
/// No curve is drawn beyond this: it keeps the axis arithmetic far from infinity.
const LARGEST: f64 = 1e12;

/// Draws loss and accuracy per epoch, for the training and (where there are any) the validation images, as an SVG
/// document.
///
/// # Errors
///
/// [`EvaluationError::NoEpochs`].
pub fn history_svg(history: &History) -> Result<String, EvaluationError> {
    let epochs = history.epochs();
    if epochs.is_empty() {
        return Err(EvaluationError::NoEpochs);
    }
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let (head, body) = area.split_vertically(HEAD);
        let validated = epochs
            .iter()
            .any(|e| e.val_loss.is_some() || e.val_accuracy.is_some());
        legend(&head, validated)?;
        let (left, right) = body.split_horizontally(SIZE.0 as i32 / 2);
        panel(
            &left,
            "loss",
            epochs,
            |epoch| Some(epoch.loss),
            |epoch| epoch.val_loss,
        )?;
        panel(
            &right,
            "accuracy",
            epochs,
            |epoch| Some(epoch.accuracy),
            |epoch| epoch.val_accuracy,
        )?;
        area.present()?;
    }
    Ok(svg)
}

type Curve = Vec<(u32, f64)>;

fn panel(
    area: &Area,
    title: &str,
    epochs: &[Epoch],
    training: fn(&Epoch) -> Option<f64>,
    validation: fn(&Epoch) -> Option<f64>,
) -> Result<(), EvaluationError> {
    let curve = |value: fn(&Epoch) -> Option<f64>| -> Curve {
        let point = |epoch: &Epoch| Some((epoch.epoch, value(epoch)?.clamp(-LARGEST, LARGEST)));
        epochs.iter().filter_map(point).collect()
    };
    let curves = [(TRAINING, curve(training)), (VALIDATION, curve(validation))];
    let labels = epoch_labels(epochs);
    let across = epoch_range(epochs);
    let values = value_range(
        curves
            .iter()
            .flat_map(|(_, curve)| curve)
            .map(|&(_, value)| value),
    );
    let decimals = decimals(&values);

    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .margin_right(24)
        .caption(title, font(15.0, INK))
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(across.with_key_points(labels), values)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RULE)
        .axis_style(RULE)
        .label_style(font(11.0, FAINT))
        .axis_desc_style(font(12.0, FAINT))
        .x_desc("epoch")
        .y_labels(6)
        .y_label_formatter(&|value| format!("{value:.decimals$}"))
        .draw()?;
    for (color, curve) in curves {
        if epochs.len() <= MARKED_EPOCHS {
            chart.draw_series(
                curve
                    .iter()
                    .map(|&point| Circle::new(point, 3, color.filled())),
            )?;
        }
        chart.draw_series(LineSeries::new(curve, color.stroke_width(2)))?;
    }
    Ok(())
}

fn legend(area: &Area, validated: bool) -> Result<(), EvaluationError> {
    let style = anchored(font(13.0, INK), HPos::Left, VPos::Center);
    let (mut x, y) = (68, 28);
    let entries = [("training", TRAINING), ("validation", VALIDATION)];
    for (name, color) in entries.into_iter().take(1 + usize::from(validated)) {
        area.draw(&PathElement::new(
            [(x, y), (x + 24, y)],
            color.stroke_width(2),
        ))?;
        area.draw(&Circle::new((x + 12, y), 3, color.filled()))?;
        area.draw_text(name, &style, (x + 32, y))?;
        x += 32 + width(name, 13.0).ceil() as i32 + 24;
    }
    Ok(())
}

/// The numbers of the first and the last epoch.
fn ends(epochs: &[Epoch]) -> (u32, u32) {
    let numbers = || epochs.iter().map(|epoch| epoch.epoch);
    (numbers().min().unwrap_or(0), numbers().max().unwrap_or(0))
}

/// First to last epoch; a lone epoch gets room on both sides.
fn epoch_range(epochs: &[Epoch]) -> Range<u32> {
    match ends(epochs) {
        (first, last) if first == last => first.saturating_sub(1)..last.saturating_add(1),
        (first, last) => first..last,
    }
}

/// The epochs that get a label: every 1st, 2nd, 5th, 10th, … so that the labels are few enough to be read.
fn epoch_labels(epochs: &[Epoch]) -> Vec<u32> {
    let (first, last) = ends(epochs);
    let step = (0..10)
        .flat_map(|power| {
            [1, 2, 5].map(|digit: u32| digit.saturating_mul(10_u32.saturating_pow(power)))
        })
        .find(|step| (last - first) / step <= EPOCH_LABELS)
        .unwrap_or(u32::MAX);
    let start = first.div_ceil(step).saturating_mul(step);
    std::iter::successors(Some(start), |label| label.checked_add(step))
        .take_while(|label| *label <= last)
        .collect()
}

/// The values with a little room above and below.
fn value_range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let room = ((high - low) * 0.06).max(high.abs() * 1e-3).max(1e-6);
    low - room..high + room
}

/// Decimal places that tell neighbouring labels apart.
fn decimals(values: &Range<f64>) -> usize {
    let step = (values.end - values.start) / 6.0;
    (-step.log10().floor()).clamp(0.0, 9.0) as usize
}
