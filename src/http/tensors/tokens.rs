//! `NaN`, `Infinity` and `-Infinity`, which JSON has no word for, as Python and JavaScript write them.

use std::borrow::Cow;
use std::fmt::Write as _;

const TOKENS: [(&str, f64); 3] = [
    ("NaN", f64::NAN),
    ("Infinity", f64::INFINITY),
    ("-Infinity", f64::NEG_INFINITY),
];

/// The same document with these tokens as strings, so that any JSON parser reads it; what stands in
/// strings already is left alone. Copies only where there is such a token.
pub(in crate::http) fn quoted(json: &[u8]) -> Cow<'_, [u8]> {
    if !json.contains(&b'N') && !json.contains(&b'I') {
        return Cow::Borrowed(json);
    }
    let mut quoted = Vec::new();
    // What is before this place is in `quoted`.
    let mut copied = 0;
    let mut place = 0;
    let mut is_string = false;
    while let Some(rest) = json.get(place..)
        && let Some(&byte) = rest.first()
    {
        let token = match byte {
            b'"' => {
                is_string = !is_string;
                None
            }
            b'\\' if is_string => {
                // The escaped byte ends no string.
                place += 1;
                None
            }
            b'N' | b'I' | b'-' if !is_string => TOKENS
                .iter()
                .find(|(token, _)| rest.starts_with(token.as_bytes())),
            _ => None,
        };
        match token {
            Some((token, _)) => {
                quoted.extend_from_slice(json.get(copied..place).unwrap_or_default());
                quoted.push(b'"');
                quoted.extend_from_slice(token.as_bytes());
                quoted.push(b'"');
                place += token.len();
                copied = place;
            }
            None => place += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    quoted.extend_from_slice(json.get(copied..).unwrap_or_default());
    Cow::Owned(quoted)
}

/// The number that a token stands for.
pub(super) fn number(token: &str) -> Option<f64> {
    let mut tokens = TOKENS.iter();
    tokens
        .find(|(known, _)| *known == token)
        .map(|(_, number)| *number)
}

/// Writes a list of what `write` writes of each item.
pub(in crate::http) fn write_list<T>(
    items: impl IntoIterator<Item = T>,
    json: &mut String,
    write: impl Fn(T, &mut String),
) {
    json.push('[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        write(item, json);
    }
    json.push(']');
}

/// Writes a list of numbers, each with all the digits that f32 has.
pub(in crate::http) fn write(numbers: &[f32], json: &mut String) {
    write_list(numbers, json, |&number, json| write_number(number, json));
}

/// Writes one number.
pub(in crate::http) fn write_number(number: f32, json: &mut String) {
    if number.is_nan() {
        json.push_str("NaN");
    } else if number.is_infinite() {
        json.push_str(if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        });
    } else {
        // As Rust writes floats for debugging is as JSON has them: `1.0`, `2.3e-7`. Writing to a
        // string can't fail.
        let _ = write!(json, "{number:?}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn tokens_are_quoted_outside_of_strings_only() {
        let json = br#"{"NaN":[NaN,-Infinity, Infinity,-1],"a\"NaN":"Infinity\\","b":NaN}"#;
        let found = quoted(json);
        let expected =
            r#"{"NaN":["NaN","-Infinity", "Infinity",-1],"a\"NaN":"Infinity\\","b":"NaN"}"#;
        assert_eq!(std::str::from_utf8(&found).unwrap(), expected);
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<f32>().prop_map(Value::from),
            r#"[NaInfinity"\\\\-]{0,12}"#.prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec(("[NaI\"]{0,4}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn strict_json_is_left_as_it_is(document in documents()) {
            let json = document.to_string();
            prop_assert_eq!(&*quoted(json.as_bytes()), json.as_bytes());
        }

        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            quoted(&bytes);
        }

        #[test]
        fn what_is_written_reads_back_to_the_same_bits(numbers in proptest::collection::vec(any::<f32>(), 0..8)) {
            let mut json = String::new();
            write(&numbers, &mut json);
            let values: Vec<Value> = serde_json::from_slice(&quoted(json.as_bytes())).unwrap();
            for (value, expected) in values.iter().zip(&numbers) {
                let found = match value {
                    Value::String(token) => number(token).unwrap() as f32,
                    value => value.as_f64().unwrap() as f32,
                };
                prop_assert!(found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan());
            }
        }
    }
}
