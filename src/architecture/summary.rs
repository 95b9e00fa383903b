//! The summary: Keras' table of layers, output shapes and numbers of parameters.

use std::fmt::Write;

use super::{Architecture, Layer, Node, Shape, variables};

/// Widths of the columns' contents, so that the table is 80 columns wide.
const WIDTHS: [usize; 3] = [33, 24, 13];

/// Renders the table and the totals.
pub(super) fn table(architecture: &Architecture) -> String {
    let mut text = format!("Model: \"{}\"\n", architecture.name);
    let rule = |left: &str, fill: &str, middle: &str, right: &str| {
        let columns = WIDTHS.map(|width| fill.repeat(width + 2));
        format!("{left}{}{right}\n", columns.join(middle))
    };
    text += &rule("┏", "━", "┳", "┓");
    text += &row(
        ["Layer (type)", "Output Shape", "Param #"].map(str::to_owned),
        "┃",
    );
    text += &rule("┡", "━", "╇", "┩");
    let mut total = Counts::default();
    for (index, node) in architecture.nodes.iter().skip(1).enumerate() {
        if index > 0 {
            text += &rule("├", "─", "┼", "┤");
        }
        let counts = Counts::of(node, architecture.input_of(node));
        total.trainable += counts.trainable;
        total.fixed += counts.fixed;
        total.counters += counts.counters;
        let cells = [
            format!("{} ({})", node.name, node.layer.class_name()),
            node.output_shape.to_string(),
            thousands(counts.trainable + counts.fixed + counts.counters),
        ];
        text += &row(cells, "│");
    }
    text += &rule("└", "─", "┴", "┘");
    // A weight takes 4 bytes, a counter 8.
    let (trainable, fixed) = (total.trainable, total.fixed + total.counters);
    let fixed_bytes = 4 * total.fixed + 8 * total.counters;
    for (title, count, bytes) in [
        (
            "Total params",
            trainable + fixed,
            4 * trainable + fixed_bytes,
        ),
        ("Trainable params", trainable, 4 * trainable),
        ("Non-trainable params", fixed, fixed_bytes),
    ] {
        let (count, bytes) = (thousands(count), readable_bytes(bytes));
        // Writing to a String can't fail.
        let _ = writeln!(text, " {title}: {count} ({bytes})");
    }
    text
}

/// How many numbers the weights have.
#[derive(Default)]
struct Counts {
    trainable: usize,
    fixed: usize,
    /// The counters that Keras' `Normalization` keeps of what it adapted to, beside its weights.
    counters: usize,
}

impl Counts {
    fn of(node: &Node, input: &Shape) -> Self {
        let mut counts = Self::default();
        for variable in variables::of_node(node, input) {
            let elements: usize = variable.shape.iter().product();
            if variable.trainable {
                counts.trainable += elements;
            } else {
                counts.fixed += elements;
            }
        }
        if matches!(&node.layer, Layer::Normalization(norm) if norm.statistics.is_none()) {
            counts.counters = 1;
        }
        counts
    }
}

/// One row of the table, over several lines where a cell is too long for its column.
fn row(cells: [String; 3], bar: &str) -> String {
    let cells: Vec<Vec<String>> = cells
        .iter()
        .zip(WIDTHS)
        .map(|(cell, width)| wrap(cell, width))
        .collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    let mut text = String::new();
    for line in 0..height {
        text += bar;
        for (column, (lines, width)) in cells.iter().zip(WIDTHS).enumerate() {
            let cell = lines.get(line).map_or("", String::as_str);
            // Numbers stand to the right.
            let _ = if column == 2 {
                write!(text, " {cell:>width$} {bar}")
            } else {
                write!(text, " {cell:<width$} {bar}")
            };
        }
        text.push('\n');
    }
    text
}

/// Breaks a text into lines of at most `width` characters, between words where it can.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length <= width {
            used += 1;
            if let Some(line) = lines.last_mut() {
                line.push(' ');
            }
        } else if used > 0 {
            lines.push(String::new());
            used = 0;
        }
        for c in word.chars() {
            if used == width {
                lines.push(String::new());
                used = 0;
            }
            if let Some(line) = lines.last_mut() {
                line.push(c);
            }
            used += 1;
        }
    }
    lines
}

/// `1234567` as `1,234,567`.
fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes as Keras prints them: two decimals, in B, KB, MB, … of 1024.
fn readable_bytes(bytes: usize) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KB", "MB", "GB", "TB"] {
        if size < 1024.0 {
            return format!("{size:.2} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.2} PB")
}
