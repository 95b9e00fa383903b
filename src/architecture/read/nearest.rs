//! The known name that a mistyped one is nearest to.

/// The candidate fewest edits away from `name`, if that is near enough to be what was meant.
pub(super) fn nearest(name: &str, candidates: &[&'static str]) -> Option<&'static str> {
    // A long name is no slip of the finger, and comparing it would take its time.
    if name.len() > 64 {
        return None;
    }
    let name = name.to_lowercase();
    candidates
        .iter()
        .map(|&candidate| (edits(&name, &candidate.to_lowercase()), candidate))
        .min_by_key(|&(distance, _)| distance)
        .filter(|&(distance, candidate)| distance <= candidate.len().div_ceil(3))
        .map(|(_, candidate)| candidate)
}

/// The Levenshtein distance: how many characters to insert, remove or replace.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, &b) in row.iter_mut().skip(1).zip(&to) {
            let above = *cell;
            left = (diagonal + usize::from(a != b))
                .min(above + 1)
                .min(left + 1);
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{edits, nearest};

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("filters", "filters"), 0);
        assert_eq!(edits("fliters", "filters"), 2);
    }

    #[test]
    fn only_a_near_name_is_offered() {
        let known = ["filters", "kernel_size", "strides"];
        assert_eq!(nearest("filter", &known), Some("filters"));
        assert_eq!(nearest("kernelSize", &known), Some("kernel_size"));
        assert_eq!(nearest("temperature", &known), None);
        assert_eq!(nearest(&"filters".repeat(1000), &known), None);
    }
}
