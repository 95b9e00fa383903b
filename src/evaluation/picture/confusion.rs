//! The confusion matrix as a heat map: a row per true class, a column per predicted class.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{Area, FAINT, INK, RULE, anchored, font, width};
use crate::evaluation::text::{grouped, shown};
use crate::evaluation::{Evaluation, EvaluationError};

/// The most classes that a confusion matrix is drawn with.
pub const MAX_DRAWN_CLASSES: usize = 256;

/// Characters of a label that the picture shows.
const LABEL_LENGTH: usize = 24;
/// A cell's side in pixels shrinks with the number of classes, but not so far that its label cannot be read.
const CELL: std::ops::RangeInclusive<i32> = 10..=88;
/// The side of the grid that the cells share while they may shrink.
const GRID: i32 = 720;
/// Below this height of text the counts are left out.
const SMALLEST_COUNT: f64 = 7.0;
/// Steps of the colour legend.
const LEGEND_STEPS: i32 = 100;

/// Draws the confusion matrix as an SVG document.
///
/// A cell's colour is the share of its row (of the images of that class) on a scale that is even to the eye; its
/// text is the count, left out where the cells are too small for it.
///
/// # Errors
///
/// [`EvaluationError::TooManyClassesToDraw`] above [`MAX_DRAWN_CLASSES`], [`EvaluationError::ConfusionMatrixShape`]
/// for a report whose matrix does not fit its classes.
pub fn confusion_svg(evaluation: &Evaluation) -> Result<String, EvaluationError> {
    let classes = evaluation.classes.len();
    let matrix = &evaluation.confusion_matrix;
    if classes > MAX_DRAWN_CLASSES {
        return Err(EvaluationError::TooManyClassesToDraw { found: classes });
    }
    if classes == 0 || matrix.len() != classes || matrix.iter().any(|row| row.len() != classes) {
        return Err(EvaluationError::ConfusionMatrixShape { classes });
    }

    let layout = Layout::of(evaluation);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, layout.size).into_drawing_area();
        area.fill(&WHITE)?;
        title(&area, evaluation)?;
        cells(&area, evaluation, &layout)?;
        labels(&area, &layout)?;
        legend(&area, &layout)?;
        area.present()?;
    }
    Ok(svg)
}

/// Where things are, in pixels.
struct Layout {
    size: (u32, u32),
    labels: Vec<String>,
    /// Whether the labels of the columns fit side by side without being turned.
    upright: bool,
    label_font: f64,
    /// The count's font, where counts are shown.
    count_font: Option<f64>,
    cell: i32,
    left: i32,
    top: i32,
    right: i32,
    bottom: i32,
}

impl Layout {
    fn of(evaluation: &Evaluation) -> Self {
        let labels: Vec<_> = evaluation
            .classes
            .iter()
            .map(|class| shown(&class.label, LABEL_LENGTH))
            .collect();
        let classes = labels.len() as i32;
        let cell = (GRID / classes).clamp(*CELL.start(), *CELL.end());
        let label_font = (f64::from(cell) * 0.9).min(13.0);
        let widest = labels
            .iter()
            .map(|label| width(label, label_font))
            .fold(0.0, f64::max);
        let upright = widest < f64::from(cell - 4);

        let largest = evaluation
            .confusion_matrix
            .iter()
            .flatten()
            .max()
            .copied()
            .unwrap_or(0);
        let fitting = f64::from(cell) * 0.86 / width(&grouped(largest), 1.0);
        let count_font = fitting.min(f64::from(cell) * 0.4).min(15.0);

        let (left, top) = (52 + widest.ceil() as i32, 84);
        let (right, bottom) = (left + cell * classes, top + cell * classes);
        let below = if upright { label_font } else { widest }.ceil() as i32;
        Self {
            size: ((right + 96).max(460) as u32, (bottom + below + 52) as u32),
            labels,
            upright,
            label_font,
            count_font: Some(count_font).filter(|font| *font >= SMALLEST_COUNT),
            cell,
            left,
            top,
            right,
            bottom,
        }
    }

    /// The corner of the cell of a true and a predicted class.
    fn corner(&self, truth: usize, predicted: usize) -> (i32, i32) {
        (
            self.left + self.cell * predicted as i32,
            self.top + self.cell * truth as i32,
        )
    }

    /// The middle of a row or column, from the grid's edge.
    fn middle(&self, class: usize) -> i32 {
        self.cell * class as i32 + self.cell / 2
    }
}

fn title(area: &Area, evaluation: &Evaluation) -> Result<(), EvaluationError> {
    let images = if evaluation.images == 1 {
        "image"
    } else {
        "images"
    };
    let title = format!(
        "Accuracy {:.2} % on {} {images}",
        evaluation.accuracy * 100.0,
        grouped(evaluation.images)
    );
    area.draw_text(&title, &font(20.0, INK), (20, 22))?;
    if let Some(dataset) = &evaluation.dataset {
        let subtitle = format!(
            "{} · {}",
            shown(&dataset.name, 40),
            shown(&dataset.part, 20)
        );
        area.draw_text(&subtitle, &font(13.0, FAINT), (20, 50))?;
    }
    Ok(())
}

fn cells(area: &Area, evaluation: &Evaluation, layout: &Layout) -> Result<(), EvaluationError> {
    // An empty cell has the colour of the ground, so that a large matrix is not a large document.
    let grid = [(layout.left, layout.top), (layout.right, layout.bottom)];
    area.draw(&Rectangle::new(grid, shade(0.0).filled()))?;
    // Lines between the cells, where there is room for them.
    let gap = i32::from(layout.count_font.is_some());
    for (truth, row) in evaluation.confusion_matrix.iter().enumerate() {
        let images: f64 = row.iter().map(|&count| count as f64).sum();
        for (predicted, &count) in row.iter().enumerate() {
            let share = if count == 0 {
                0.0
            } else {
                count as f64 / images
            };
            let (x, y) = layout.corner(truth, predicted);
            let cell = [(x, y), (x + layout.cell - gap, y + layout.cell - gap)];
            if count > 0 {
                area.draw(&Rectangle::new(cell, shade(share).filled()))?;
            }
            if let Some(size) = layout.count_font {
                let color = match count {
                    0 => RULE,
                    _ if share > 0.5 => WHITE,
                    _ => INK,
                };
                let style = anchored(font(size, color), HPos::Center, VPos::Center);
                let middle = (x + layout.cell / 2, y + layout.cell / 2);
                area.draw_text(&grouped(count), &style, middle)?;
            }
        }
    }
    area.draw(&Rectangle::new(grid, RULE))?;
    Ok(())
}

fn labels(area: &Area, layout: &Layout) -> Result<(), EvaluationError> {
    let style = font(layout.label_font, INK);
    let beside = anchored(style.clone(), HPos::Right, VPos::Center);
    let (below, drop) = if layout.upright {
        (anchored(style, HPos::Center, VPos::Top), 6)
    } else {
        let turned = style.transform(FontTransform::Rotate270);
        (anchored(turned, HPos::Right, VPos::Center), 8)
    };
    for (class, label) in layout.labels.iter().enumerate() {
        area.draw_text(
            label,
            &beside,
            (layout.left - 8, layout.top + layout.middle(class)),
        )?;
        area.draw_text(
            label,
            &below,
            (layout.left + layout.middle(class), layout.bottom + drop),
        )?;
    }

    let axis = anchored(font(13.0, FAINT), HPos::Center, VPos::Center);
    let (across, down) = (
        (layout.left + layout.right) / 2,
        (layout.top + layout.bottom) / 2,
    );
    let foot = layout.size.1 as i32 - 20;
    area.draw_text("prediction", &axis, (across, foot))?;
    area.draw_text(
        "truth",
        &axis.transform(FontTransform::Rotate270),
        (20, down),
    )?;
    Ok(())
}

fn legend(area: &Area, layout: &Layout) -> Result<(), EvaluationError> {
    let (left, right) = (layout.right + 24, layout.right + 38);
    let height = (layout.bottom - layout.top).min(240);
    let bottom = layout.top + height;
    let level = |step: i32| bottom - height * step / LEGEND_STEPS;
    for step in 0..LEGEND_STEPS {
        let share = f64::from(step) / f64::from(LEGEND_STEPS - 1);
        let band = [(left, level(step + 1)), (right, level(step))];
        area.draw(&Rectangle::new(band, shade(share).filled()))?;
    }
    area.draw(&Rectangle::new([(left, layout.top), (right, bottom)], RULE))?;
    let style = anchored(font(11.0, FAINT), HPos::Left, VPos::Center);
    for percent in [0, 50, 100] {
        area.draw_text(&format!("{percent} %"), &style, (right + 6, level(percent)))?;
    }
    area.draw_text("of truth", &style, (left, bottom + 18))?;
    Ok(())
}

/// The colour of a share in 0..1: from near white to deep blue, in even steps of lightness.
///
/// Interpolated in Oklab (Björn Ottosson, "A perceptual color space for image processing", 2020), whose distances are
/// those that the eye sees.
fn shade(share: f64) -> RGBColor {
    const LIGHT: [f64; 3] = [0.985, -0.002, -0.006];
    const DEEP: [f64; 3] = [0.36, -0.02, -0.145];
    let [l, a, b] = [0, 1, 2].map(|axis| LIGHT[axis] + (DEEP[axis] - LIGHT[axis]) * share);

    let long = (l + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let medium = (l - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let short = (l - 0.089_484_177_5 * a - 1.291_485_548_0 * b).powi(3);
    let linear = [
        4.076_741_662_1 * long - 3.307_711_591_3 * medium + 0.230_969_929_2 * short,
        -1.268_438_004_6 * long + 2.609_757_401_1 * medium - 0.341_319_396_5 * short,
        -0.004_196_086_3 * long - 0.703_418_614_7 * medium + 1.707_614_701_0 * short,
    ];
    let [red, green, blue] = linear.map(|light| {
        let encoded = if light <= 0.003_130_8 {
            12.92 * light
        } else {
            1.055 * light.powf(1.0 / 2.4) - 0.055
        };
        (encoded.clamp(0.0, 1.0) * 255.0).round() as u8
    });
    RGBColor(red, green, blue)
}
