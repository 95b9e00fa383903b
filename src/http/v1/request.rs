//! The bodies of `:predict` and `:classify`: tensors in nested lists, or image files in base64.

use std::fmt;

use axum::body::Bytes;
use base64::Engine as _;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use utoipa::ToSchema;

use crate::http::images::BASE64;
use crate::http::problem::Problem;
use crate::http::tensors::{Datatype, Nested, tokens};
use crate::serving::{Input, Servable, ServingError};

/// The signature that every model has.
pub(super) const SIGNATURE: &str = "serving_default";

/// What is to be predicted, in one of two forms.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the body, which is read by hand")]
pub(super) struct PredictRequest {
    /// `serving_default`, if anything.
    signature_name: Option<String>,
    /// The images row by row: each a tensor `[height, width, channels]`, or a file as `{"b64": "…"}`, or an object with one
    /// of them under the name of the model's input.
    #[schema(value_type = Option<Vec<serde_json::Value>>, min_items = 1)]
    instances: (),
    /// The same as one tensor `[N, height, width, channels]`, or an object with it under the name of the model's input.
    #[schema(value_type = Option<serde_json::Value>)]
    inputs: (),
}

/// What is to be classified.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the body, which is read by hand")]
pub(super) struct ClassifyRequest {
    /// `serving_default`, if anything.
    signature_name: Option<String>,
    /// The images: each an object with a file as `{"b64": "…"}`, or the list of its values, under `image` or the name of the
    /// model's input.
    #[schema(value_type = Vec<Object>, min_items = 1)]
    examples: (),
}

/// In which form images came, and so in which they are answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Format {
    Rows,
    Columns,
}

/// Reads the body of `:predict` for at most `most` images.
pub(super) fn predict(
    body: &[u8],
    servable: &Servable,
    most: usize,
) -> Result<(Vec<Input>, Format), Problem> {
    let takes = Takes {
        servable,
        most,
        is_example: false,
    };
    let members = takes.read(body)?;
    match (members.instances, members.inputs) {
        (Some(instances), None) => Ok((takes.check(instances)?, Format::Rows)),
        (None, Some(inputs)) => Ok((takes.check(inputs)?, Format::Columns)),
        (Some(_), Some(_)) => Err(invalid(
            "the body has both \"instances\" and \"inputs\"; send one of them",
        )),
        (None, None) => Err(invalid(
            "the body has neither \"instances\" nor \"inputs\"; send one of them",
        )),
    }
}

/// Reads the body of `:classify` for at most `most` images.
pub(super) fn classify(
    body: &[u8],
    servable: &Servable,
    most: usize,
) -> Result<Vec<Input>, Problem> {
    let takes = Takes {
        servable,
        most,
        is_example: true,
    };
    match takes.read(body)?.examples {
        Some(examples) => takes.check(examples),
        None => Err(invalid("the body has no \"examples\"")),
    }
}

fn invalid(detail: impl fmt::Display) -> Problem {
    Problem::new("invalid_request", detail)
}

/// What a request may hold.
#[derive(Clone, Copy)]
struct Takes<'a> {
    servable: &'a Servable,
    most: usize,
    /// Whether these are examples of features: named, and without a shape.
    is_example: bool,
}

/// Images, as many as a request may have, and how many there are.
type Counted = (Vec<Input>, usize);

/// The members of a body that are looked at.
#[derive(Default)]
struct Members {
    instances: Option<Counted>,
    inputs: Option<Counted>,
    examples: Option<Counted>,
}

impl Takes<'_> {
    fn read(self, body: &[u8]) -> Result<Members, Problem> {
        let json = tokens::quoted(body);
        let mut deserializer = serde_json::Deserializer::from_slice(&json);
        let read = Document(self)
            .deserialize(&mut deserializer)
            .and_then(|members| deserializer.end().map(|()| members));
        read.map_err(|error| {
            let code = if error.is_data() {
                "invalid_request"
            } else {
                "invalid_json"
            };
            Problem::new(code, error)
        })
    }

    fn check(self, (images, found): Counted) -> Result<Vec<Input>, Problem> {
        let allowed = self.most;
        match found {
            0 => Err(ServingError::NoImage.into()),
            found if found > allowed => Err(ServingError::TooManyImages { found, allowed }.into()),
            _ => Ok(images),
        }
    }

    /// Reads the member of an object that is the model's input, or the file in `b64` where one may
    /// stand.
    fn input_of<'de, A: MapAccess<'de>, S: DeserializeSeed<'de>>(
        self,
        mut members: A,
        seed: impl Fn() -> S,
        file: Option<fn(Bytes) -> S::Value>,
    ) -> Result<S::Value, A::Error> {
        let expected = self.servable.input_name();
        let mut input = None;
        while let Some(name) = members.next_key::<String>()? {
            let is_input = name == expected || (self.is_example && name == "image");
            let file = file.filter(|_| name == "b64");
            if input.is_some() && (is_input || file.is_some()) {
                return Err(A::Error::custom("an input is there twice"));
            }
            if let Some(file) = file {
                let text: String = members.next_value()?;
                let bytes = BASE64
                    .decode(text)
                    .map_err(|error| A::Error::custom(format!("b64 is not base64: {error}")))?;
                input = Some(file(bytes.into()));
            } else if is_input {
                input = Some(members.next_value_seed(seed())?);
            } else if self.is_example {
                // Examples may have features that a model doesn't look at.
                members.next_value::<IgnoredAny>()?;
            } else {
                return Err(A::Error::custom(format!(
                    "there is no input \"{name}\"; the model takes \"{expected}\""
                )));
            }
        }
        input.ok_or_else(|| A::Error::custom(format!("the input \"{expected}\" is missing")))
    }
}

/// The whole body. Members that nobody looks at are skipped.
struct Document<'a>(Takes<'a>);

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = Members;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Members, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let takes = self.0;
        let mut members = Members::default();
        while let Some(name) = map.next_key::<String>()? {
            let member = match (name.as_str(), takes.is_example) {
                ("signature_name", _) => {
                    check_signature(map.next_value()?)?;
                    continue;
                }
                ("instances", false) => &mut members.instances,
                ("inputs", false) => &mut members.inputs,
                ("examples", true) => &mut members.examples,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *member = Some(map.next_value_seed(Batch(takes))?);
        }
        Ok(members)
    }
}

fn check_signature<E: Error>(name: Option<String>) -> Result<(), E> {
    match name.as_deref() {
        None | Some("" | SIGNATURE) => Ok(()),
        Some(other) => Err(E::custom(format!(
            "there is no signature \"{other}\"; there is: {SIGNATURE}"
        ))),
    }
}

/// The images of a request.
struct Batch<'a>(Takes<'a>);

impl<'de> DeserializeSeed<'de> for Batch<'_> {
    type Value = Counted;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Batch<'_> {
    type Value = Counted;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of images")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let takes = self.0;
        let mut images = Vec::new();
        while images.len() < takes.most
            && let Some(image) = list.next_element_seed(Image(takes))?
        {
            images.push(image);
        }
        let mut found = images.len();
        if found == takes.most {
            while list.next_element::<IgnoredAny>()?.is_some() {
                found = found.saturating_add(1);
            }
        }
        Ok((images, found))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        self.0.input_of(members, || Batch(self.0), None)
    }
}

/// One image: a tensor, or an object.
struct Image<'a>(Takes<'a>);

impl<'de> DeserializeSeed<'de> for Image<'_> {
    type Value = Input;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Input, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Image<'_> {
    type Value = Input;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let input = self.0.servable.input();
        write!(
            f,
            "a tensor [{}, {}, {}], or an image file as {{\"b64\": \"…\"}}",
            input.height, input.width, input.channels
        )
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Input, A::Error> {
        let input = self.0.servable.input();
        let count = input.values().unwrap_or(0);
        let nested = Nested::read_list(list, count)?;
        let shape = nested.shape();
        let full = [input.height, input.width, input.channels];
        // The features of an example have no shape.
        if shape == full || (self.0.is_example && shape == [count]) {
            let values = nested.into_values(Datatype::Fp32);
            values.map(Input::Pixels).map_err(A::Error::custom)
        } else {
            Err(A::Error::custom(format!(
                "a tensor of the shape {shape:?}; expected {full:?}"
            )))
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Input, A::Error> {
        let takes = self.0;
        takes.input_of(members, || Image(takes), Some(Input::Encoded))
    }
}
