//! The report as a table for the terminal, in the manner of scikit-learn's `classification_report`.

use std::fmt::Write;

use comfy_table::{CellAlignment, LineStyle, Row, Table, presets};

use super::text::{grouped, shown};
use super::{Average, Evaluation};

/// Characters of a label that the table shows.
const LABEL_LENGTH: usize = 32;

/// Precision, recall, F1 and support per class and their means, then loss, top-5 accuracy and calibration error.
pub fn table(evaluation: &Evaluation) -> String {
    let images = grouped(evaluation.images);
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()));
    table.set_header(["class", "precision", "recall", "f1-score", "support"]);
    for class in &evaluation.classes {
        let figures = [class.precision, class.recall, class.f1];
        table.add_row(row(
            &shown(&class.label, LABEL_LENGTH),
            figures,
            &grouped(class.support),
        ));
    }
    table.add_row(["", "", "", "", ""]);
    table.add_row(["accuracy", "", "", &figure(evaluation.accuracy), &images]);
    let averages = [
        ("macro avg", evaluation.macro_average),
        ("weighted avg", evaluation.weighted_average),
    ];
    for (
        name,
        Average {
            precision,
            recall,
            f1,
        },
    ) in averages
    {
        table.add_row(row(name, [precision, recall, f1], &images));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }

    let loss = evaluation.loss.map_or("not finite".to_owned(), figure);
    let mut text = table.to_string();
    let _ = write!(
        text,
        "\nloss {loss} · top-5 accuracy {} · expected calibration error {}",
        figure(evaluation.top_5_accuracy),
        figure(evaluation.calibration.expected_calibration_error),
    );
    if evaluation.non_finite > 0 {
        let _ = write!(
            text,
            "\n{} of {images} images had a NaN or infinite score and count as wrong",
            grouped(evaluation.non_finite),
        );
    }
    text
}

fn row(name: &str, figures: [f64; 3], support: &str) -> Row {
    let [precision, recall, f1] = figures.map(figure);
    Row::from([name, &precision, &recall, &f1, support])
}

fn figure(value: f64) -> String {
    format!("{value:.4}")
}
