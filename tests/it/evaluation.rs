//! Evaluation: the figures agree with scikit-learn's, broken scores are counted, reports survive their JSON.

mod pictures;

use std::path::Path;

use irori::evaluation::{
    DatasetPart, Epoch, Evaluation, EvaluationError, Evaluator, History, MAX_CLASSES, table,
};
use proptest::prelude::*;
use serde::Deserialize;

const TOLERANCE: f64 = 1e-6;

/// What `tests/sklearn/evaluation.py` writes.
#[derive(Deserialize)]
struct Fixture {
    classes: usize,
    scores: Vec<Vec<f32>>,
    truth: Vec<u32>,
    non_finite: Vec<usize>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    accuracy: f64,
    top_5_accuracy: f64,
    log_loss_sum: f64,
    precision: Vec<f64>,
    recall: Vec<f64>,
    f1: Vec<f64>,
    support: Vec<u64>,
    macro_average: Means,
    weighted_average: Means,
    confusion_matrix: Vec<Vec<u64>>,
    expected_calibration_error: f64,
    maximum_calibration_error: f64,
    bin_counts: Vec<u64>,
}

#[derive(Deserialize)]
struct Means {
    precision: f64,
    recall: f64,
    f1: f64,
}

fn fixture(name: &str) -> Fixture {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/evaluation");
    let text = std::fs::read(folder.join(name).with_extension("json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn labels(classes: usize) -> Vec<String> {
    (0..classes).map(|class| format!("class {class}")).collect()
}

/// Evaluates all the scores at once.
fn evaluate(classes: usize, scores: &[f32], truth: &[u32]) -> Evaluation {
    let mut evaluator = Evaluator::new(labels(classes)).unwrap();
    evaluator
        .add(scores, truth, truth.len() as f64 * 0.5)
        .unwrap();
    evaluator.finish(None).unwrap()
}

/// An evaluation with these labels, of one image per class, each of them right.
fn perfect(labels: Vec<String>) -> Evaluation {
    let classes = labels.len();
    let mut evaluator = Evaluator::new(labels).unwrap();
    for class in 0..classes {
        let mut scores = vec![0.0; classes];
        scores[class] = 1.0;
        evaluator.add(&scores, &[class as u32], 0.0).unwrap();
    }
    let dataset = DatasetPart {
        name: "<digits> & \"more\"".into(),
        digest: "sha256:00".into(),
        part: "test".into(),
    };
    evaluator.finish(Some(dataset)).unwrap()
}

#[track_caller]
fn close(found: f64, expected: f64, what: &str) {
    assert!(
        (found - expected).abs() <= TOLERANCE,
        "{what}: {found} is not {expected}"
    );
}

#[track_caller]
fn agrees_with_scikit_learn(name: &str) {
    let Fixture {
        classes,
        mut scores,
        truth,
        non_finite,
        expected,
    } = fixture(name);
    for (index, &image) in non_finite.iter().enumerate() {
        scores[image][0] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][index % 3];
    }
    let mut evaluator = Evaluator::new(labels(classes)).unwrap();
    for (scores, truth) in scores.chunks(32).zip(truth.chunks(32)) {
        let loss = |(scores, &class): (&Vec<f32>, &u32)| match scores[..] {
            _ if scores.iter().any(|score| !score.is_finite()) => 0.0,
            [positive] => -f64::from(if class == 1 { positive } else { 1.0 - positive }).ln(),
            _ => -f64::from(scores[class as usize]).ln(),
        };
        let loss_sum = scores.iter().zip(truth).map(loss).sum();
        evaluator.add(&scores.concat(), truth, loss_sum).unwrap();
    }
    let found = evaluator.finish(None).unwrap();

    assert_eq!(found.images, truth.len() as u64);
    assert_eq!(found.non_finite, non_finite.len() as u64);
    assert_eq!(found.confusion_matrix, expected.confusion_matrix);
    close(found.accuracy, expected.accuracy, "accuracy");
    close(
        found.top_5_accuracy,
        expected.top_5_accuracy,
        "top-5 accuracy",
    );
    close(
        found.loss.unwrap(),
        expected.log_loss_sum / found.images as f64,
        "loss",
    );
    assert_eq!(found.classes.len(), classes);
    for (class, report) in found.classes.iter().enumerate() {
        close(report.precision, expected.precision[class], "precision");
        close(report.recall, expected.recall[class], "recall");
        close(report.f1, expected.f1[class], "f1");
        assert_eq!(report.support, expected.support[class]);
    }
    for (found, expected) in [
        (found.macro_average, expected.macro_average),
        (found.weighted_average, expected.weighted_average),
    ] {
        close(found.precision, expected.precision, "mean precision");
        close(found.recall, expected.recall, "mean recall");
        close(found.f1, expected.f1, "mean f1");
    }
    let calibration = found.calibration;
    close(
        calibration.expected_calibration_error,
        expected.expected_calibration_error,
        "ECE",
    );
    close(
        calibration.maximum_calibration_error,
        expected.maximum_calibration_error,
        "MCE",
    );
    let counts: Vec<_> = calibration.bins.iter().map(|bin| bin.count).collect();
    assert_eq!(counts, expected.bin_counts);
}

#[test]
fn ten_classes_agree_with_scikit_learn() {
    agrees_with_scikit_learn("ten_classes");
}

#[test]
fn classes_without_images_agree_with_scikit_learn() {
    agrees_with_scikit_learn("absent_classes");
}

#[test]
fn fewer_than_five_classes_agree_with_scikit_learn() {
    agrees_with_scikit_learn("three_classes");
}

#[test]
fn non_finite_scores_are_predictions_of_no_class() {
    agrees_with_scikit_learn("non_finite_scores");
}

#[test]
fn one_sigmoid_score_agrees_with_scikit_learn() {
    agrees_with_scikit_learn("one_sigmoid");
}

#[test]
fn the_first_of_equal_scores_is_predicted() {
    let report = evaluate(3, &[0.4, 0.4, 0.2, 0.0, 0.5, 0.5], &[0, 2]);
    assert_eq!(report.confusion_matrix, [[1, 0, 0], [0, 0, 0], [0, 1, 0]]);
}

#[test]
fn the_first_of_equal_scores_ranks_first_in_the_top_5() {
    let alike = [0.125; 8];
    assert_eq!(evaluate(8, &alike, &[4]).top_5_accuracy, 1.0);
    assert_eq!(evaluate(8, &alike, &[5]).top_5_accuracy, 0.0);
}

#[test]
fn one_sigmoid_score_predicts_the_second_class_above_a_half() {
    let report = evaluate(2, &[0.5, 0.500_001, 0.499_999], &[0, 1, 0]);
    assert_eq!(report.confusion_matrix, [[2, 0], [0, 1]]);
}

#[test]
fn a_confidence_is_in_the_bin_that_holds_it() {
    let report = evaluate(2, &[0.6, 0.4, 1.0, 0.0], &[0, 0]);
    let filled = |upper: f64| {
        let bin = report
            .calibration
            .bins
            .iter()
            .find(|bin| bin.upper == upper)
            .unwrap();
        (bin.count, bin.accuracy)
    };
    assert_eq!(report.calibration.bins.len(), 15);
    // 0.6 is a little more than 9/15 in f32.
    assert_eq!(filled(10.0 / 15.0), (1, Some(1.0)));
    assert_eq!(filled(1.0), (1, Some(1.0)));
    assert_eq!(filled(9.0 / 15.0), (0, None));
}

#[test]
fn scores_outside_0_to_1_are_ranked_and_clamped() {
    let report = evaluate(2, &[7.0, -3.0, -2.0, -1.0], &[0, 1]);
    assert_eq!(report.accuracy, 1.0);
    let first = report.calibration.bins.first().unwrap();
    let last = report.calibration.bins.last().unwrap();
    assert_eq!((first.count, first.confidence), (1, Some(0.0)));
    assert_eq!((last.count, last.confidence), (1, Some(1.0)));
}

#[test]
fn the_running_figures_are_those_of_the_report() {
    let mut evaluator = Evaluator::new(labels(2)).unwrap();
    assert!(evaluator.loss().is_nan());
    assert_eq!((evaluator.images(), evaluator.accuracy()), (0, 0.0));
    evaluator.add(&[0.9, 0.1, 0.9, 0.1], &[0, 1], 3.0).unwrap();
    assert_eq!(
        (evaluator.images(), evaluator.accuracy(), evaluator.loss()),
        (2, 0.5, 1.5)
    );
    evaluator.add(&[0.1, 0.9], &[1], 0.0).unwrap();
    let report = evaluator.finish(None).unwrap();
    assert_eq!(
        (report.images, report.accuracy, report.loss),
        (3, 2.0 / 3.0, Some(1.0))
    );
}

#[test]
fn a_loss_that_is_not_finite_is_null_and_said() {
    let mut evaluator = Evaluator::new(labels(2)).unwrap();
    evaluator
        .add(&[f32::NAN, f32::NAN], &[0], f64::NAN)
        .unwrap();
    let report = evaluator.finish(None).unwrap();
    assert_eq!(
        (report.loss, report.accuracy, report.non_finite),
        (None, 0.0, 1)
    );
    assert_eq!(report.classes[0].support, 1);
    let text = table(&report);
    assert!(text.contains("loss not finite"), "{text}");
    assert!(
        text.contains("1 of 1 images had a NaN or infinite score"),
        "{text}"
    );
}

#[test]
fn refusals_say_what_was_found_and_count_nothing() {
    let mut evaluator = Evaluator::new(labels(3)).unwrap();
    let error = evaluator.add(&[0.1; 7], &[0, 1], 0.0).unwrap_err();
    assert_eq!(
        error,
        EvaluationError::ScoreCount {
            scores: 7,
            images: 2,
            classes: 3
        }
    );
    assert_eq!(error.code(), "score_count");
    // A lone sigmoid score stands for two classes, not for three.
    let error = evaluator.add(&[0.1; 2], &[0, 1], 0.0).unwrap_err();
    assert_eq!(error.code(), "score_count");
    let error = evaluator.add(&[0.1; 6], &[0, 3], 0.0).unwrap_err();
    assert_eq!(
        error,
        EvaluationError::TruthOutOfRange {
            found: 3,
            classes: 3
        }
    );
    assert_eq!(error.code(), "truth_out_of_range");
    assert_eq!(evaluator.images(), 0);
    let error = evaluator.finish(None).unwrap_err();
    assert_eq!(error.code(), "no_images");
    for count in [0, MAX_CLASSES + 1] {
        let error = Evaluator::new(labels(count)).unwrap_err();
        assert_eq!(error, EvaluationError::ClassCount { found: count });
        assert_eq!(error.code(), "class_count");
    }
}

#[test]
fn the_report_survives_its_json() {
    let report = perfect(labels(3));
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Evaluation>(&json).unwrap(), report);

    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["accuracy"], 1.0);
    assert_eq!(value["macro_average"]["f1"], 1.0);
    assert_eq!(value["classes"][1]["label"], "class 1");
    assert_eq!(value["dataset"]["part"], "test");
    let time = value["evaluated_at"].as_str().unwrap();
    assert!(
        time.len() == "2026-01-01T00:00:00Z".len() && time.ends_with('Z'),
        "{time}"
    );
}

#[test]
fn the_table_has_a_row_per_class_and_the_means() {
    let text = table(&perfect(vec!["cat".into(), "dog\u{1b}[31m\u{202e}".into()]));
    let row = |name: &str| -> Vec<&str> {
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with(name))
            .unwrap();
        line.split_whitespace().collect()
    };
    assert_eq!(row("cat"), ["cat", "1.0000", "1.0000", "1.0000", "1"]);
    assert_eq!(row("accuracy"), ["accuracy", "1.0000", "2"]);
    assert_eq!(
        row("macro"),
        ["macro", "avg", "1.0000", "1.0000", "1.0000", "2"]
    );
    assert_eq!(
        row("weighted"),
        ["weighted", "avg", "1.0000", "1.0000", "1.0000", "2"]
    );
    assert!(text.contains("expected calibration error 0.0000"), "{text}");
    // A label cannot steer the terminal.
    assert!(
        !text.contains('\u{1b}') && !text.contains('\u{202e}'),
        "{text}"
    );
}

fn epoch(number: u32, loss: f64) -> Epoch {
    Epoch {
        epoch: number,
        loss,
        accuracy: 0.5,
        val_loss: Some(loss + 0.1),
        val_accuracy: Some(0.4),
        learning_rate: 1e-3,
        seconds: 2.0,
        images_per_second: 100.0,
    }
}

fn history(epochs: impl IntoIterator<Item = Epoch>) -> History {
    let mut history = History::default();
    for epoch in epochs {
        history.push(epoch).unwrap();
    }
    history
}

#[test]
fn the_history_is_written_in_keras_words() {
    let mut last = epoch(2, 0.5);
    (last.val_loss, last.val_accuracy) = (None, None);
    let history = history([epoch(1, 1.0), last]);
    let json = serde_json::to_string(&history).unwrap();
    assert_eq!(
        json,
        r#"{"epochs":[{"epoch":1,"loss":1.0,"accuracy":0.5,"val_loss":1.1,"val_accuracy":0.4,"#
            .to_owned()
            + r#""learning_rate":0.001,"seconds":2.0,"images_per_second":100.0},"#
            + r#"{"epoch":2,"loss":0.5,"accuracy":0.5,"learning_rate":0.001,"seconds":2.0,"images_per_second":100.0}]}"#
    );
    assert_eq!(serde_json::from_str::<History>(&json).unwrap(), history);
}

#[test]
fn an_epoch_that_diverged_is_refused() {
    let mut history = History::default();
    let mut diverged = epoch(3, 1.0);
    diverged.val_loss = Some(f64::NAN);
    let error = history.push(diverged).unwrap_err();
    assert_eq!(error.code(), "non_finite_metric");
    assert!(
        error.to_string().starts_with("val_loss of epoch 3 is NaN"),
        "{error}"
    );
    assert!(history.push(epoch(1, f64::INFINITY)).is_err());
    assert!(history.epochs().is_empty());
}

proptest! {
    #[test]
    fn any_scores_make_a_consistent_report(
        (classes, scores, truth) in (1_usize..8, 1_usize..20).prop_flat_map(|(classes, images)| (
            Just(classes),
            proptest::collection::vec(proptest::num::f32::ANY, classes * images),
            proptest::collection::vec(0..classes as u32, images),
        ))
    ) {
        let report = evaluate(classes, &scores, &truth);
        let counted: u64 = report.confusion_matrix.iter().flatten().sum();
        prop_assert_eq!(counted + report.non_finite, report.images);
        prop_assert_eq!(report.classes.iter().map(|class| class.support).sum::<u64>(), report.images);
        prop_assert_eq!(report.calibration.bins.iter().map(|bin| bin.count).sum::<u64>(), counted);
        prop_assert!(report.accuracy <= report.top_5_accuracy);
        let calibration = &report.calibration;
        prop_assert!(calibration.expected_calibration_error <= calibration.maximum_calibration_error + 1e-12);
        for class in &report.classes {
            for ratio in [class.precision, class.recall, class.f1] {
                prop_assert!((0.0..=1.0).contains(&ratio));
            }
        }
        // Whatever the scores were, the report is JSON that reads back.
        let json = serde_json::to_string(&report).unwrap();
        prop_assert_eq!(serde_json::from_str::<Evaluation>(&json).unwrap(), report);
    }

    #[test]
    fn batches_do_not_change_the_report(
        scores in proptest::collection::vec(0.0_f32..1.0, 3 * 12),
        truth in proptest::collection::vec(0_u32..3, 12),
        batch in 1_usize..12,
    ) {
        let mut evaluator = Evaluator::new(labels(3)).unwrap();
        for (scores, truth) in scores.chunks(3 * batch).zip(truth.chunks(batch)) {
            evaluator.add(scores, truth, truth.len() as f64 * 0.5).unwrap();
        }
        let mut batched = evaluator.finish(None).unwrap();
        let whole = evaluate(3, &scores, &truth);
        (batched.evaluated_at, batched.duration_seconds) = (whole.evaluated_at, whole.duration_seconds);
        prop_assert_eq!(batched, whole);
    }
}
