//! The fields of one JSON object: taken one by one, each checked, and none left over.

use serde_json::{Map, Value};

use super::super::Fault;
use super::nearest::nearest;

/// The largest integer that any field may have; two of them multiply without overflow.
const LARGEST: u64 = 1 << 31;

/// How much of a value an error quotes, in characters.
const QUOTED: usize = 80;

/// What is left of an object, and which fields were asked for so far.
pub(super) struct Fields {
    left: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Fields {
    pub(super) fn new(object: Map<String, Value>) -> Self {
        Self {
            left: object,
            known: Vec::new(),
        }
    }

    /// The value of a field; null is as good as absent.
    pub(super) fn take(&mut self, field: &'static str) -> Option<Value> {
        self.known.push(field);
        self.left
            .swap_remove(field)
            .filter(|value| !value.is_null())
    }

    /// Takes a field that says nothing about what is computed.
    pub(super) fn ignore(&mut self, field: &'static str) {
        self.take(field);
    }

    /// Refuses what nobody asked for.
    pub(super) fn finish(self) -> Result<(), Fault> {
        match self.left.into_iter().next() {
            None => Ok(()),
            Some((found, _)) => Err(Fault::UnknownField {
                nearest: nearest(&found, &self.known),
                found: shorten(found),
                known: self.known,
            }),
        }
    }

    /// A field that must hold one of these values, because nothing else is computed.
    pub(super) fn only(&mut self, field: &'static str, allowed: &[Value]) -> Result<(), Fault> {
        match self.take(field) {
            Some(value) if !allowed.contains(&value) => {
                let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
                Err(Fault::UnsupportedOption {
                    field,
                    found: quote(&value),
                    allowed: if allowed.is_empty() {
                        "null".into()
                    } else {
                        allowed.join(" or ")
                    },
                })
            }
            _ => Ok(()),
        }
    }

    /// A field that must be null or absent, because nothing else is computed.
    pub(super) fn absent(&mut self, field: &'static str) -> Result<(), Fault> {
        self.only(field, &[])
    }

    pub(super) fn flag(&mut self, field: &'static str, default: bool) -> Result<bool, Fault> {
        match self.take(field) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(found) => Err(invalid(field, &found, "true or false")),
        }
    }

    /// An integer of 1 or more.
    pub(super) fn count(
        &mut self,
        field: &'static str,
        default: Option<usize>,
    ) -> Result<usize, Fault> {
        let allowed = "an integer from 1 to 2147483648";
        match (self.take(field), default) {
            (Some(value), _) => positive(&value).ok_or_else(|| invalid(field, &value, allowed)),
            (None, Some(default)) => Ok(default),
            (None, None) => Err(missing(field, allowed)),
        }
    }

    /// Two integers of 1 or more, or one that stands for both.
    pub(super) fn pair(
        &mut self,
        field: &'static str,
        default: Option<[usize; 2]>,
    ) -> Result<[usize; 2], Fault> {
        let allowed = "an integer from 1 to 2147483648, or two of them as [rows, columns]";
        match (self.take(field), default) {
            (Some(value), _) => {
                pair(&value, positive).ok_or_else(|| invalid(field, &value, allowed))
            }
            (None, Some(default)) => Ok(default),
            (None, None) => Err(missing(field, allowed)),
        }
    }

    /// A finite number.
    pub(super) fn number(&mut self, field: &'static str, default: f64) -> Result<f64, Fault> {
        self.number_where(field, default, "a number", |_| true)
    }

    /// A finite number that `fits`; `allowed` says which do.
    pub(super) fn number_where(
        &mut self,
        field: &'static str,
        default: f64,
        allowed: &str,
        fits: impl Fn(f64) -> bool,
    ) -> Result<f64, Fault> {
        let number = self.optional_number(field, allowed, fits)?;
        Ok(number.unwrap_or(default))
    }

    /// A finite number that `fits`, or null.
    pub(super) fn optional_number(
        &mut self,
        field: &'static str,
        allowed: &str,
        fits: impl Fn(f64) -> bool,
    ) -> Result<Option<f64>, Fault> {
        self.take(field)
            .map(|value| {
                finite(&value)
                    .filter(|&number| fits(number))
                    .ok_or_else(|| invalid(field, &value, allowed))
            })
            .transpose()
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        field: &'static str,
        words: &[(&'static str, T)],
        default: T,
    ) -> Result<T, Fault> {
        let Some(value) = self.take(field) else {
            return Ok(default);
        };
        value
            .as_str()
            .and_then(|word| words.iter().find(|(known, _)| *known == word))
            .map(|&(_, choice)| choice)
            .ok_or_else(|| {
                let words: Vec<String> = words
                    .iter()
                    .map(|(word, _)| format!("\"{word}\""))
                    .collect();
                invalid(field, &value, words.join(" or "))
            })
    }

    /// A number, or a list of them; a single one says the same as a list of one.
    pub(super) fn numbers(&mut self, field: &'static str) -> Result<Option<Vec<f64>>, Fault> {
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        // Keras writes an array as {"class_name": "__numpy__" or "__tensor__", "config": {"value": …}}.
        let values = value.pointer("/config/value").unwrap_or(&value);
        match values {
            Value::Array(list) if !list.is_empty() => list.iter().map(finite).collect(),
            single => finite(single).map(|number| vec![number]),
        }
        .map(Some)
        .ok_or_else(|| invalid(field, &value, "a number or a list of numbers"))
    }

    /// The seed of a random layer or initializer, which may be wrapped in a `SeedGenerator`.
    pub(super) fn seed(&mut self) -> Result<Option<u64>, Fault> {
        let Some(value) = self.take("seed") else {
            return Ok(None);
        };
        let seed = value.pointer("/config/seed").unwrap_or(&value);
        match seed.as_u64() {
            Some(seed) => Ok(Some(seed)),
            None if seed.is_null() => Ok(None),
            None => Err(invalid("seed", &value, "null or an integer of 0 or more")),
        }
    }

    /// Refuses channels-first layers.
    pub(super) fn data_format(&mut self) -> Result<(), Fault> {
        let field = "data_format";
        match self.take(field) {
            None => Ok(()),
            Some(Value::String(format)) if format == "channels_last" => Ok(()),
            Some(Value::String(format)) if format == "channels_first" => {
                Err(Fault::ChannelsFirst { field })
            }
            Some(found) => Err(invalid(field, &found, "\"channels_last\"")),
        }
    }
}

/// A value that Keras does not take either.
pub(super) fn invalid(field: &'static str, found: &Value, allowed: impl Into<String>) -> Fault {
    Fault::Field {
        field,
        found: quote(found),
        allowed: allowed.into(),
    }
}

pub(super) fn missing(field: &'static str, allowed: impl Into<String>) -> Fault {
    Fault::MissingField {
        field,
        allowed: allowed.into(),
    }
}

/// A value as an error shows it.
pub(super) fn quote(value: &Value) -> String {
    shorten(value.to_string())
}

/// A text as an error shows it, cut where it is long.
pub(super) fn shorten(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(QUOTED) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// An integer from 1 to [`LARGEST`].
pub(super) fn positive(value: &Value) -> Option<usize> {
    natural(value).filter(|&n| n > 0)
}

/// An integer from 0 to [`LARGEST`].
pub(super) fn natural(value: &Value) -> Option<usize> {
    value
        .as_u64()
        .filter(|&n| n <= LARGEST)
        .and_then(|n| usize::try_from(n).ok())
}

/// A finite number; Keras 2 wrote some as `{"type": "ndarray", "value": 0.3}`.
fn finite(value: &Value) -> Option<f64> {
    let value = value.get("value").unwrap_or(value);
    value.as_f64().filter(|number| number.is_finite())
}

/// A list of two, or one that stands for both.
pub(super) fn pair(value: &Value, item: impl Fn(&Value) -> Option<usize>) -> Option<[usize; 2]> {
    match value {
        Value::Array(list) => match list.as_slice() {
            [rows, columns] => Some([item(rows)?, item(columns)?]),
            _ => None,
        },
        single => item(single).map(|n| [n, n]),
    }
}
