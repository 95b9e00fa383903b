//! An evaluator: counts scores against the truth, batch by batch.

use std::time::Instant;

use jiff::{Timestamp, Unit};

use super::{
    Average, Calibration, CalibrationBin, ClassReport, DatasetPart, Evaluation, EvaluationError,
};

/// The most classes that an evaluation takes: the confusion matrix holds the square of it (128 MiB).
pub const MAX_CLASSES: usize = 4096;

/// As in Guo et al. (2017).
const CALIBRATION_BINS: usize = 15;

/// The k of top-k accuracy.
const TOP: usize = 5;

/// Counts scores against the truth in memory that depends on the number of classes alone, not of images.
#[derive(Debug)]
pub struct Evaluator {
    labels: Vec<String>,
    started: Instant,
    images: u64,
    loss_sum: f64,
    correct: u64,
    in_top: u64,
    non_finite: u64,
    /// Images per true class, those without a prediction included.
    support: Vec<u64>,
    /// Row-major, a row per true class.
    confusion: Vec<u64>,
    bins: [Bin; CALIBRATION_BINS],
}

#[derive(Debug, Clone, Copy, Default)]
struct Bin {
    count: u64,
    correct: u64,
    confidence_sum: f64,
}

impl Evaluator {
    /// An evaluator for a model with these class labels. The clock of `duration_seconds` starts here.
    ///
    /// # Errors
    ///
    /// [`EvaluationError::ClassCount`] unless there are 1 to [`MAX_CLASSES`] labels.
    pub fn new(labels: Vec<String>) -> Result<Self, EvaluationError> {
        let classes = labels.len();
        if !(1..=MAX_CLASSES).contains(&classes) {
            return Err(EvaluationError::ClassCount { found: classes });
        }
        Ok(Self {
            labels,
            started: Instant::now(),
            images: 0,
            loss_sum: 0.0,
            correct: 0,
            in_top: 0,
            non_finite: 0,
            support: vec![0; classes],
            confusion: vec![0; classes * classes],
            bins: [Bin::default(); CALIBRATION_BINS],
        })
    }

    /// Counts a batch of N images.
    ///
    /// `scores` is the model's output, `[N, classes]` row by row; a model with two classes may give `[N, 1]`, the
    /// probability of the second class, which is predicted above 0.5. `truth` is the N true classes, from 0.
    /// `loss_sum` is the sum of the N images' losses, i.e. the batch's mean loss times N.
    ///
    /// Scores are ranked as they are; only the calibration reads them as probabilities, and there takes a score
    /// outside 0..1 for the nearer end. NaN and infinite scores: see [`Evaluation::non_finite`].
    ///
    /// # Errors
    ///
    /// [`EvaluationError::ScoreCount`] and [`EvaluationError::TruthOutOfRange`]; nothing of the batch is then counted.
    pub fn add(
        &mut self,
        scores: &[f32],
        truth: &[u32],
        loss_sum: f64,
    ) -> Result<(), EvaluationError> {
        let classes = self.labels.len();
        let binary = classes == 2 && scores.len() == truth.len();
        if !binary && truth.len().checked_mul(classes) != Some(scores.len()) {
            return Err(EvaluationError::ScoreCount {
                scores: scores.len(),
                images: truth.len(),
                classes,
            });
        }
        if let Some(&found) = truth.iter().find(|&&class| class as usize >= classes) {
            return Err(EvaluationError::TruthOutOfRange { found, classes });
        }

        self.images += truth.len() as u64;
        self.loss_sum += loss_sum;
        if binary {
            for (&positive, &class) in scores.iter().zip(truth) {
                self.count(&[1.0 - positive, positive], class as usize);
            }
        } else {
            for (scores, &class) in scores.chunks_exact(classes).zip(truth) {
                self.count(scores, class as usize);
            }
        }
        Ok(())
    }

    /// Counts one image: one score per class, and a true class that is one of them.
    fn count(&mut self, scores: &[f32], truth: usize) {
        self.support[truth] += 1;
        if scores.iter().any(|score| !score.is_finite()) {
            self.non_finite += 1;
            return;
        }
        let predicted = argmax(scores);
        let right = u64::from(predicted == truth);
        self.correct += right;
        self.in_top += u64::from(rank(scores, truth) < TOP);
        self.confusion[truth * self.labels.len() + predicted] += 1;

        let confidence = f64::from(scores[predicted]).clamp(0.0, 1.0);
        let bin = &mut self.bins[bin_of(confidence)];
        bin.count += 1;
        bin.correct += right;
        bin.confidence_sum += confidence;
    }

    /// How many images have been counted.
    pub fn images(&self) -> u64 {
        self.images
    }

    /// Mean loss so far, NaN before the first image: what a progress bar shows.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.images as f64
    }

    /// Accuracy so far, 0 before the first image: what a progress bar shows.
    pub fn accuracy(&self) -> f64 {
        ratio(self.correct, self.images)
    }

    /// The report on everything counted. `dataset` says what it was counted on.
    ///
    /// # Errors
    ///
    /// [`EvaluationError::NoImages`].
    pub fn finish(self, dataset: Option<DatasetPart>) -> Result<Evaluation, EvaluationError> {
        if self.images == 0 {
            return Err(EvaluationError::NoImages);
        }
        let classes = self.classes();
        let average = |weight: &dyn Fn(&ClassReport) -> f64| {
            let total: f64 = classes.iter().map(weight).sum();
            let mean = |value: fn(&ClassReport) -> f64| {
                classes
                    .iter()
                    .map(|class| weight(class) * value(class))
                    .sum::<f64>()
                    / total
            };
            Average {
                precision: mean(|class| class.precision),
                recall: mean(|class| class.recall),
                f1: mean(|class| class.f1),
            }
        };
        let now = Timestamp::now();
        Ok(Evaluation {
            images: self.images,
            loss: Some(self.loss()).filter(|loss| loss.is_finite()),
            accuracy: self.accuracy(),
            top_5_accuracy: ratio(self.in_top, self.images),
            non_finite: self.non_finite,
            macro_average: average(&|_| 1.0),
            weighted_average: average(&|class| class.support as f64),
            confusion_matrix: self
                .confusion
                .chunks_exact(classes.len())
                .map(<[u64]>::to_vec)
                .collect(),
            calibration: calibration(&self.bins),
            classes,
            dataset,
            evaluated_at: now.round(Unit::Second).unwrap_or(now),
            duration_seconds: self.started.elapsed().as_secs_f64(),
        })
    }

    fn classes(&self) -> Vec<ClassReport> {
        let classes = self.labels.len();
        let mut predicted = vec![0; classes];
        for row in self.confusion.chunks_exact(classes) {
            for (column, count) in predicted.iter_mut().zip(row) {
                *column += count;
            }
        }
        let counts = self.support.iter().zip(&predicted).enumerate();
        self.labels
            .iter()
            .zip(counts)
            .map(|(label, (class, (&support, &predicted)))| {
                let correct = self.confusion[class * classes + class];
                ClassReport {
                    label: label.clone(),
                    precision: ratio(correct, predicted),
                    recall: ratio(correct, support),
                    f1: ratio(2 * correct, predicted + support),
                    support,
                }
            })
            .collect()
    }
}

/// The class with the highest score, the first of them among equals, as `argmax`.
fn argmax(scores: &[f32]) -> usize {
    let mut best = 0;
    for (class, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = class;
        }
    }
    best
}

/// How many classes come before `class` when they are sorted by falling score, equal scores by class.
fn rank(scores: &[f32], class: usize) -> usize {
    let own = scores[class];
    scores
        .iter()
        .enumerate()
        .filter(|&(other, &score)| score > own || (score == own && other < class))
        .count()
}

/// The bin `(m/15, (m+1)/15]` that holds a confidence in 0..1.
fn bin_of(confidence: f64) -> usize {
    let above = (confidence * CALIBRATION_BINS as f64).ceil() as usize;
    above.saturating_sub(1).min(CALIBRATION_BINS - 1)
}

fn calibration(bins: &[Bin; CALIBRATION_BINS]) -> Calibration {
    let total: u64 = bins.iter().map(|bin| bin.count).sum();
    let (mut expected, mut maximum) = (0.0, 0.0_f64);
    let bins = bins
        .iter()
        .enumerate()
        .map(|(index, bin)| {
            let edge = |index: usize| index as f64 / CALIBRATION_BINS as f64;
            let mut report = CalibrationBin {
                lower: edge(index),
                upper: edge(index + 1),
                count: bin.count,
                confidence: None,
                accuracy: None,
            };
            if bin.count > 0 {
                let confidence = bin.confidence_sum / bin.count as f64;
                let accuracy = ratio(bin.correct, bin.count);
                let gap = (accuracy - confidence).abs();
                expected += gap * ratio(bin.count, total);
                maximum = maximum.max(gap);
                report.confidence = Some(confidence);
                report.accuracy = Some(accuracy);
            }
            report
        })
        .collect();
    Calibration {
        expected_calibration_error: expected,
        maximum_calibration_error: maximum,
        bins,
    }
}

/// `part / whole`, and 0 for 0 / 0 as scikit-learn's `zero_division=0`.
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
