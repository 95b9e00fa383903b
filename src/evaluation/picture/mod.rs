//! The reports as SVG pictures. Plotters writes them; text stays text, so no font is needed here.

mod confusion;
mod history;

pub use confusion::{MAX_DRAWN_CLASSES, confusion_svg};
pub use history::history_svg;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::EvaluationError;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const FONT: &str = "Inter, Helvetica, Arial, sans-serif";
const INK: RGBColor = RGBColor(0x1f, 0x29, 0x37);
const FAINT: RGBColor = RGBColor(0x6b, 0x72, 0x80);
const RULE: RGBColor = RGBColor(0xd1, 0xd5, 0xdb);

/// The height of a text's characters in pixels, and the colour it has.
///
/// Plotters divides a font's size by 1.24 on its way into SVG.
fn font(pixels: f64, color: RGBColor) -> TextStyle<'static> {
    (FONT, pixels * 1.24).into_font().color(&color)
}

fn anchored(style: TextStyle<'static>, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    style.pos(Pos::new(horizontal, vertical))
}

/// About how wide a text is in a sans-serif font of this height, in pixels.
fn width(text: &str, pixels: f64) -> f64 {
    let ems = |character: char| if character < '\u{1100}' { 0.58 } else { 1.0 };
    text.chars().map(ems).sum::<f64>() * pixels
}

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for EvaluationError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self::Drawing(error.to_string())
    }
}
