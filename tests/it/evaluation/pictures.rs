//! The pictures of an evaluation and of a history: whole, safe documents that show what they should.

use irori::evaluation::{Epoch, History, MAX_DRAWN_CLASSES, confusion_svg, history_svg, table};
use proptest::prelude::*;

use super::{epoch, evaluate, history, labels, perfect};

/// The texts of a picture, in order. Panics on anything but plotters' own tags around them.
#[track_caller]
fn texts(svg: &str) -> Vec<&str> {
    const TAGS: [&str; 8] = [
        "svg", "/svg", "text", "/text", "rect", "line", "polyline", "circle",
    ];
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert!(
        svg.chars()
            .all(|character| character == '\n' || !character.is_control())
    );
    let mut texts = Vec::new();
    for piece in svg.split('<').skip(1) {
        let tag = piece.split([' ', '>']).next().unwrap();
        assert!(TAGS.contains(&tag), "<{tag}> in the picture");
        let (_, text) = piece.split_once('>').unwrap();
        if tag == "text" {
            texts.push(text.trim());
        }
    }
    texts
}

#[test]
fn the_confusion_matrix_shows_counts_labels_and_accuracy() {
    let mut report = evaluate(2, &[0.9, 0.1, 0.8, 0.2, 0.3, 0.7], &[0, 1, 1]);
    report.confusion_matrix[0][0] = 12_345;
    let svg = confusion_svg(&report).unwrap();
    let texts = texts(&svg);
    for text in [
        "Accuracy 66.67 % on 3 images",
        "12,345",
        "class 0",
        "class 1",
        "truth",
    ] {
        assert!(texts.contains(&text), "{text} is not in {texts:?}");
    }
    assert_eq!(texts.iter().filter(|text| **text == "class 1").count(), 2);
}

#[test]
fn labels_in_a_picture_are_escaped_and_shortened() {
    let hostile = "</text><script>alert('1')</script>\u{0}\u{ffff}";
    let report = perfect(vec![hostile.into(), "x".repeat(1000), String::new()]);
    let svg = confusion_svg(&report).unwrap();
    let texts = texts(&svg);
    assert!(
        texts.contains(&"&lt;/text&gt;&lt;script&gt;alert(&apos;1…"),
        "{texts:?}"
    );
    assert!(texts.contains(&format!("{}…", "x".repeat(23)).as_str()));
    assert!(texts.contains(&"&lt;digits&gt; &amp; &quot;more&quot; · test"));
}

#[test]
fn counts_are_left_out_of_small_cells() {
    let count = |classes| {
        let svg = confusion_svg(&perfect(labels(classes))).unwrap();
        texts(&svg).iter().filter(|text| **text == "1").count()
    };
    assert_eq!(count(30), 30);
    assert_eq!(count(100), 0);
}

#[test]
fn a_matrix_that_cannot_be_drawn_is_refused() {
    let report = perfect(labels(MAX_DRAWN_CLASSES));
    assert!(confusion_svg(&report).is_ok());
    let report = perfect(labels(MAX_DRAWN_CLASSES + 1));
    assert_eq!(
        confusion_svg(&report).unwrap_err().code(),
        "too_many_classes_to_draw"
    );

    let mut ragged = perfect(labels(3));
    ragged.confusion_matrix[1].pop();
    assert_eq!(
        confusion_svg(&ragged).unwrap_err().code(),
        "confusion_matrix_shape"
    );
    let mut empty = perfect(labels(1));
    empty.classes.clear();
    empty.confusion_matrix.clear();
    assert_eq!(
        confusion_svg(&empty).unwrap_err().code(),
        "confusion_matrix_shape"
    );
}

#[test]
fn counts_from_a_hostile_file_do_not_overflow() {
    let mut report = perfect(labels(2));
    report.confusion_matrix = vec![vec![u64::MAX; 2]; 2];
    report.images = u64::MAX;
    let svg = confusion_svg(&report).unwrap();
    assert!(texts(&svg)[0].starts_with("Accuracy 100.00 % on 18,446,744,073,709,551,615 images"));
}

#[test]
fn the_curves_have_a_line_per_part_and_whole_epochs() {
    let svg = history_svg(&history((1..=4).map(|n| epoch(n, 1.0 / f64::from(n))))).unwrap();
    let texts = texts(&svg);
    for text in [
        "training",
        "validation",
        "loss",
        "accuracy",
        "epoch",
        "1",
        "2",
        "3",
        "4",
    ] {
        assert!(texts.contains(&text), "{text} is not in {texts:?}");
    }
    let lines = |color: &str| {
        let line = format!("<polyline fill=\"none\" opacity=\"1\" stroke=\"{color}\"");
        svg.matches(&line).count()
    };
    // Two panels, and the legend.
    assert_eq!((lines("#2563EB"), lines("#EA580C")), (3, 3));
}

#[test]
fn a_single_epoch_is_a_point() {
    let mut only = epoch(1, 1.0);
    (only.val_loss, only.val_accuracy) = (None, None);
    let svg = history_svg(&history([only])).unwrap();
    assert_eq!(
        svg.matches("<circle ").count(),
        3,
        "two panels and the legend"
    );
    let texts = texts(&svg);
    assert!(!texts.contains(&"validation"), "{texts:?}");
    assert!(texts.contains(&"1") && !texts.contains(&"2"), "{texts:?}");
}

#[test]
fn a_history_without_epochs_is_refused() {
    assert_eq!(
        history_svg(&History::default()).unwrap_err().code(),
        "no_epochs"
    );
}

proptest! {
    #[test]
    fn any_label_is_drawn_in_a_whole_document(label in "\\PC{0,40}|[\\x00-\\x7f]{0,40}") {
        let report = perfect(vec![label, "other".into()]);
        texts(&confusion_svg(&report).unwrap());
        let obeyed = table(&report).contains('\u{1b}');
        prop_assert!(!obeyed);
    }

    #[test]
    fn any_history_is_drawn(
        epochs in proptest::collection::vec(
            (any::<u32>(), proptest::num::f64::NORMAL | proptest::num::f64::ZERO, 0.0_f64..1.0),
            1..6,
        )
    ) {
        let epochs = epochs.into_iter().map(|(number, loss, accuracy)| Epoch {
            accuracy,
            val_loss: None,
            ..epoch(number, loss)
        });
        let svg = history_svg(&history(epochs)).unwrap();
        texts(&svg);
        prop_assert!(!svg.contains("NaN") && !svg.contains("inf"));
        prop_assert!(svg.len() < 100_000);
    }
}
