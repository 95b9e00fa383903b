"""Writes tests/fixtures/evaluation/*.json: random scores, and what scikit-learn makes of them.

    pip install scikit-learn==1.9.1
    python tests/sklearn/evaluation.py

The scores are float32; their JSON has all the digits that bring the same float32 back.
"""

import json
import warnings
from pathlib import Path

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "evaluation"
BINS = 15
# A prediction that is no class: scikit-learn then counts the image in its support, and in no column.
NO_CLASS = -1


def scores_and_truth(rng, images, classes, absent=()):
    """Softmax scores that favour the truth; the classes in `absent` have no image and are never predicted."""
    present = [c for c in range(classes) if c not in absent]
    truth = rng.choice(present, size=images)
    logits = rng.normal(size=(images, classes)).astype(np.float32)
    logits[np.arange(images), truth] += 1.5
    logits[:, list(absent)] -= 20
    scores = np.exp(logits)
    return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32), truth


def calibration_error(confidence, right):
    """Guo et al. (2017), equations 2 and 3, with bins open below and closed above."""
    index = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    expected, maximum, counts = 0.0, 0.0, []
    for b in range(BINS):
        inside = index == b
        counts.append(int(inside.sum()))
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            expected += inside.mean() * gap
            maximum = max(maximum, gap)
    return float(expected), float(maximum), counts


def expectation(scores, truth, non_finite=()):
    classes = scores.shape[1]
    labels = np.arange(classes)
    predicted = scores.argmax(axis=1)
    predicted[list(non_finite)] = NO_CLASS
    finite = predicted != NO_CLASS

    def averaged(average):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return precision_recall_fscore_support(
                truth, predicted, labels=labels, average=average, zero_division=0
            )

    precision, recall, f1, support = averaged(None)
    means = {
        average: dict(zip(("precision", "recall", "f1"), map(float, averaged(average)[:3])))
        for average in ("macro", "weighted")
    }
    if classes > 5:
        in_top = top_k_accuracy_score(truth[finite], scores[finite], k=5, labels=labels, normalize=False)
    else:
        in_top = finite.sum()
    wide = scores[finite].astype(np.float64)
    # scikit-learn reads the rows as probabilities that sum to 1 in float64.
    loss = log_loss(truth[finite], wide / wide.sum(axis=1, keepdims=True), labels=labels, normalize=False)
    right = (predicted == truth)[finite]
    ece, mce, counts = calibration_error(wide.max(axis=1), right)
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "top_5_accuracy": float(in_top) / len(truth),
        "log_loss_sum": float(loss),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "f1": f1.tolist(),
        "support": support.tolist(),
        "macro_average": means["macro"],
        "weighted_average": means["weighted"],
        "confusion_matrix": confusion_matrix(truth[finite], predicted[finite], labels=labels).tolist(),
        "expected_calibration_error": ece,
        "maximum_calibration_error": mce,
        "bin_counts": counts,
    }


def write(name, scores, truth, expected, non_finite=()):
    rows = [[float(score) for score in row] for row in scores]
    document = {
        "classes": len(expected["precision"]),
        "scores": rows,
        "truth": truth.tolist(),
        # JSON has no NaN: the test puts one into these rows.
        "non_finite": list(non_finite),
        "expected": expected,
    }
    (FIXTURES / f"{name}.json").write_text(json.dumps(document) + "\n")


def main():
    FIXTURES.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(20)

    scores, truth = scores_and_truth(rng, images=400, classes=10)
    write("ten_classes", scores, truth, expectation(scores, truth))

    scores, truth = scores_and_truth(rng, images=200, classes=7, absent=(2, 6))
    write("absent_classes", scores, truth, expectation(scores, truth))

    scores, truth = scores_and_truth(rng, images=100, classes=3)
    write("three_classes", scores, truth, expectation(scores, truth))

    broken = [3, 50, 51, 119]
    scores, truth = scores_and_truth(rng, images=120, classes=8)
    write("non_finite_scores", scores, truth, expectation(scores, truth, broken), broken)

    scores, truth = scores_and_truth(rng, images=150, classes=2)
    positive = scores[:, 1:]
    write("one_sigmoid", positive, truth, expectation(np.hstack([1 - positive, positive]), truth))


main()
