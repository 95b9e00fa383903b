//! A prediction: the labels of an image, most probable first.

use serde::Serialize;
use utoipa::ToSchema;

/// A label with the probability that the model gives it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Candidate {
    /// The class's name.
    #[schema(example = "7")]
    pub label: String,
    /// The class's place in the model's labels.
    #[schema(example = 7)]
    pub index: usize,
    /// In 0..=1, with all the digits that f32 has.
    #[schema(example = 0.9987)]
    pub probability: f32,
}

/// What a model says of one image.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Prediction {
    /// The file name that came with the image, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The most probable label.
    #[serde(flatten)]
    pub best: Candidate,
    /// The most probable labels, as many as `top_k` asked for.
    pub top: Vec<Candidate>,
}

impl Prediction {
    /// Ranks `probabilities`, one per label. Ties keep the order of the labels; a score that is not
    /// a number comes last. `None` only where there are no labels.
    pub fn rank(labels: &[String], probabilities: &[f32], top_k: usize) -> Option<Self> {
        let mut order: Vec<usize> = (0..labels.len().min(probabilities.len())).collect();
        let key = |index: usize| {
            let probability = probabilities[index];
            if probability.is_nan() {
                f32::NEG_INFINITY
            } else {
                probability
            }
        };
        order.sort_by(|&a, &b| key(b).total_cmp(&key(a)).then(a.cmp(&b)));
        let top: Vec<Candidate> = order
            .into_iter()
            .take(top_k.max(1))
            .map(|index| Candidate {
                label: labels[index].clone(),
                index,
                probability: probabilities[index],
            })
            .collect();
        Some(Self {
            image: None,
            best: top.first()?.clone(),
            top,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<String> {
        ["cat", "dog", "owl"].map(String::from).to_vec()
    }

    #[test]
    fn the_most_probable_comes_first_and_ties_keep_their_order() {
        let prediction = Prediction::rank(&labels(), &[0.25, 0.5, 0.25], 3).unwrap();
        assert_eq!(prediction.best.label, "dog");
        let order: Vec<usize> = prediction.top.iter().map(|c| c.index).collect();
        assert_eq!(order, [1, 0, 2]);
    }

    #[test]
    fn top_k_is_at_least_one_and_at_most_all() {
        assert_eq!(
            Prediction::rank(&labels(), &[0.1, 0.2, 0.7], 0)
                .unwrap()
                .top
                .len(),
            1
        );
        assert_eq!(
            Prediction::rank(&labels(), &[0.1, 0.2, 0.7], 99)
                .unwrap()
                .top
                .len(),
            3
        );
        assert_eq!(Prediction::rank(&[], &[], 1), None);
    }

    #[test]
    fn not_a_number_is_never_the_answer() {
        let prediction = Prediction::rank(&labels(), &[f32::NAN, 0.1, 0.2], 3).unwrap();
        assert_eq!(prediction.best.label, "owl");
        assert_eq!(prediction.top[2].label, "cat");
    }
}
