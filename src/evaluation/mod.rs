//! An evaluation: what a model's scores are worth against the truth, as figures, as a table and as pictures.
//!
//! [`Evaluator`] takes scores batch by batch and never keeps them; [`Evaluation`] is the report it ends in
//! (`evaluation.json`), [`History`] is the same for the epochs of a training run (`history.json`).

mod error;
mod evaluator;
mod history;
mod picture;
mod report;
mod table;
mod text;

pub use error::EvaluationError;
pub use evaluator::{Evaluator, MAX_CLASSES};
pub use history::{Epoch, History};
pub use picture::{MAX_DRAWN_CLASSES, confusion_svg, history_svg};
pub use report::{Average, Calibration, CalibrationBin, ClassReport, DatasetPart, Evaluation};
pub use table::table;
