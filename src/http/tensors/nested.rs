//! A tensor in JSON: numbers in lists in lists, read flat and row-major together with their shape; or
//! image files in base64 in place of the numbers.

use std::fmt;

use axum::body::Bytes;
use base64::Engine as _;
use serde::de::{DeserializeSeed, Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Datatype, tokens};
use crate::http::images::BASE64;

/// Axes that a tensor may have.
const MAX_AXES: usize = 8;
/// Files that a tensor may have: far more than a request may.
const MAX_FILES: usize = 1 << 16;

/// What has been read of a tensor.
#[derive(Debug)]
pub(in crate::http) struct Nested {
    most: usize,
    values: Vec<f32>,
    files: Vec<Bytes>,
    /// How long the lists at each depth are, known from the first one that ends.
    lengths: [Option<usize>; MAX_AXES],
    /// The depth that elements are at, known from the first one on.
    axes: Option<usize>,
    /// What its numbers are like.
    numbers: Numbers,
}

/// What the numbers of a tensor are like, to tell whether they are of its type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    pub(super) least: f64,
    pub(super) most: f64,
    pub(super) are_whole: bool,
}

impl Nested {
    fn new(most: usize) -> Self {
        Self {
            most,
            values: Vec::new(),
            files: Vec::new(),
            lengths: [None; MAX_AXES],
            axes: None,
            numbers: Numbers {
                least: f64::INFINITY,
                most: f64::NEG_INFINITY,
                are_whole: true,
            },
        }
    }

    /// Reads a tensor from a list that has been opened already; more than `most` values are refused
    /// while they are being read.
    pub(in crate::http) fn read_list<'de, A: SeqAccess<'de>>(
        list: A,
        most: usize,
    ) -> Result<Self, A::Error> {
        let mut nested = Self::new(most);
        let first = Level {
            nested: &mut nested,
            depth: 0,
        };
        first.visit_seq(list)?;
        Ok(nested)
    }

    /// How many elements there are along each axis.
    pub(in crate::http) fn shape(&self) -> Vec<usize> {
        self.lengths
            .into_iter()
            .map_while(|length| length)
            .collect()
    }

    /// The numbers, where all elements are numbers of this type.
    pub(in crate::http) fn into_values(self, datatype: Datatype) -> Result<Vec<f32>, String> {
        if !self.files.is_empty() {
            return Err("strings where numbers are expected".into());
        }
        let Numbers { least, most, .. } = self.numbers;
        if self.values.is_empty() || datatype.holds(self.numbers) {
            Ok(self.values)
        } else {
            Err(format!(
                "the numbers, from {least} to {most}, are not all {}",
                datatype.name()
            ))
        }
    }

    /// The files, where all elements are files.
    pub(in crate::http) fn into_files(self) -> Result<Vec<Bytes>, String> {
        if self.values.is_empty() {
            Ok(self.files)
        } else {
            Err("numbers where image files in base64 are expected".into())
        }
    }
}

/// Reads as many values as there are.
impl<'de> Deserialize<'de> for Nested {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut nested = Self::new(usize::MAX);
        let first = Level {
            nested: &mut nested,
            depth: 0,
        };
        first.deserialize(deserializer)?;
        Ok(nested)
    }
}

/// What stands at one depth of the lists.
struct Level<'a> {
    nested: &'a mut Nested,
    depth: usize,
}

impl Level<'_> {
    /// Notes an element at this depth.
    fn enter<E: Error>(&mut self) -> Result<(), E> {
        let Nested { axes, lengths, .. } = &mut *self.nested;
        let is_list = lengths.get(self.depth).copied().flatten().is_some();
        if is_list || *axes.get_or_insert(self.depth) != self.depth {
            return Err(E::custom("an element beside a list"));
        }
        Ok(())
    }

    fn add<E: Error>(mut self, number: f64) -> Result<(), E> {
        self.enter()?;
        let Nested {
            most,
            values,
            numbers,
            ..
        } = self.nested;
        if values.len() == *most {
            return Err(E::custom(format!("more than {most} values")));
        }
        let value = number as f32;
        if value.is_infinite() && number.is_finite() {
            return Err(E::custom(format!(
                "{number} is beyond what a float of 32 bits holds"
            )));
        }
        numbers.least = numbers.least.min(number);
        numbers.most = numbers.most.max(number);
        numbers.are_whole &= number.fract() == 0.0;
        values.push(value);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, or image files in base64, or lists of them")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { nested, depth } = self;
        if depth == MAX_AXES {
            return Err(A::Error::custom(format!(
                "lists nested deeper than {MAX_AXES}"
            )));
        }
        if nested.axes.is_some_and(|axes| depth >= axes) {
            return Err(A::Error::custom("a list beside an element"));
        }
        let mut found = 0usize;
        loop {
            let element = Level {
                nested: &mut *nested,
                depth: depth + 1,
            };
            match list.next_element_seed(element)? {
                Some(()) => found += 1,
                None => break,
            }
        }
        let length = nested.lengths.get_mut(depth);
        if length.is_some_and(|length| *length.get_or_insert(found) != found) {
            return Err(A::Error::custom(
                "lists of different lengths where a tensor has equal ones",
            ));
        }
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.add(number as f64)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.add(number as f64)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.add(number)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<(), E> {
        self.add(f64::from(u8::from(truth)))
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        if let Some(number) = tokens::number(text) {
            return self.add(number);
        }
        let file = BASE64
            .decode(text)
            .map_err(|_| E::invalid_value(Unexpected::Other("text that is not base64"), &self))?;
        self.enter()?;
        if self.nested.files.len() == MAX_FILES {
            return Err(E::custom(format!("more than {MAX_FILES} files")));
        }
        self.nested.files.push(file.into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(tensor: &Value) -> Result<(Vec<f32>, Vec<usize>), String> {
        let nested = Nested::deserialize(tensor).map_err(|error| error.to_string())?;
        let shape = nested.shape();
        Ok((nested.into_values(Datatype::Fp32)?, shape))
    }

    #[test]
    fn what_is_no_tensor_is_refused() {
        for (tensor, reason) in [
            (json!([[1], [2, 3]]), "different lengths"),
            (json!([[], [1]]), "different lengths"),
            (json!([1, [2]]), "a list beside an element"),
            (json!([[1], 2]), "an element beside a list"),
            (json!([[], 2]), "an element beside a list"),
            (json!([1, null]), "null"),
            (json!([1, "2!"]), "not base64"),
            (json!([1, "AAAA"]), "strings where numbers"),
            (json!([1, {}]), "map"),
            (json!([[[[[[[[[1]]]]]]]]]), "deeper than 8"),
            (json!([1e39]), "beyond"),
        ] {
            let error = read(&tensor).unwrap_err();
            assert!(error.contains(reason), "{tensor}: {error}");
        }
        assert_eq!(read(&json!([])).unwrap(), (vec![], vec![0]));
        assert_eq!(read(&json!([[], []])).unwrap(), (vec![], vec![2, 0]));
        assert_eq!(read(&json!(7)).unwrap(), (vec![7.0], vec![]));
        assert_eq!(read(&json!([true, 0])).unwrap(), (vec![1.0, 0.0], vec![2]));
    }

    fn nest(values: &[f32], shape: &[usize]) -> Value {
        match shape {
            [] => Value::from(values[0]),
            [length, inner @ ..] => {
                let size: usize = inner.iter().product();
                let parts = (0..*length).map(|i| nest(&values[i * size..(i + 1) * size], inner));
                parts.collect()
            }
        }
    }

    proptest! {
        #[test]
        fn any_shape_is_read_flat_in_its_order(shape in proptest::collection::vec(1usize..4, 0..5), seed in any::<u16>()) {
            let count: usize = shape.iter().product();
            let values: Vec<f32> = (0..count).map(|i| (i as f32) + f32::from(seed) / 7.0).collect();
            let (found, extents) = read(&nest(&values, &shape)).unwrap();
            prop_assert_eq!(found, values);
            prop_assert_eq!(extents, shape);
        }
    }
}
