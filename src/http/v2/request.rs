//! An inference request: JSON, with the tensor in it or as bytes behind it.

use axum::body::Bytes;
use axum::http::HeaderMap;
use serde::Deserialize;
use utoipa::ToSchema;

use super::HEADER_LENGTH;
use crate::http::extract::parse_json;
use crate::http::problem::Problem;
use crate::http::tensors::{Datatype, Few, Nested, tokens};
use crate::serving::{Input, Servable, ServingError};

/// What is to be inferred, and how to answer.
#[derive(Debug)]
pub(super) struct InferRequest {
    /// What the client calls the request.
    pub(super) id: Option<String>,
    /// The batch: at least one, at most as many as are allowed.
    pub(super) inputs: Vec<Input>,
    /// Whether the output is to come as bytes behind the JSON.
    pub(super) is_binary: bool,
    /// How many classes to name instead of the scores.
    pub(super) classes: Option<usize>,
}

/// The JSON of an inference request. What it doesn't know it leaves unread.
#[derive(Deserialize, ToSchema)]
#[schema(as = InferRequest)]
pub(super) struct Document {
    /// Echoed in the answer.
    id: Option<String>,
    /// What holds for all outputs.
    parameters: Option<RequestParameters>,
    /// The model's one input.
    #[schema(value_type = Vec<Tensor>, min_items = 1, max_items = 1)]
    inputs: Few<Tensor, 1>,
    /// The model's one output, and how it is wanted.
    #[schema(value_type = Option<Vec<RequestedOutput>>, max_items = 1)]
    outputs: Option<Few<RequestedOutput, 1>>,
}

/// What holds for all outputs.
#[derive(Deserialize, Default, ToSchema)]
#[serde(default)]
pub(super) struct RequestParameters {
    /// Whether outputs come as bytes behind the JSON, where they don't say it themselves.
    binary_data_output: bool,
}

/// An input.
#[derive(Deserialize, ToSchema)]
#[schema(as = InferInput)]
pub(super) struct Tensor {
    /// The name of the model's input.
    name: String,
    /// `[N, height, width, channels]`, or `[N]` for image files.
    #[schema(value_type = Vec<u64>)]
    shape: Few<u64, 8>,
    /// What its elements are.
    datatype: Datatype,
    /// Where its bytes are.
    parameters: Option<TensorParameters>,
    /// Its elements, flat or nested, row by row; of `BYTES`, image files in base64. Absent where they stand behind the JSON.
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    data: Option<Nested>,
}

/// Where an input's bytes are.
#[derive(Deserialize, Default, ToSchema)]
#[serde(default)]
pub(super) struct TensorParameters {
    /// How many bytes behind the JSON are this tensor's.
    binary_data_size: Option<u64>,
    /// Not offered.
    #[schema(ignore)]
    shared_memory_region: Option<String>,
}

/// An output that is wanted.
#[derive(Deserialize, ToSchema)]
pub(super) struct RequestedOutput {
    /// The name of the model's output.
    name: String,
    /// In which form.
    parameters: Option<OutputParameters>,
}

/// The form of an output.
#[derive(Deserialize, Default, ToSchema)]
#[serde(default)]
pub(super) struct OutputParameters {
    /// Whether it comes as bytes behind the JSON.
    binary_data: Option<bool>,
    /// How many classes to name, the most probable first, instead of the scores.
    #[schema(minimum = 1)]
    classification: Option<usize>,
    /// Not offered.
    #[schema(ignore)]
    shared_memory_region: Option<String>,
}

/// Reads the body of a request for at most `most` images.
pub(super) fn read(
    headers: &HeaderMap,
    body: &Bytes,
    servable: &Servable,
    most: usize,
) -> Result<InferRequest, Problem> {
    let length = match headers.get(HEADER_LENGTH) {
        None => body.len(),
        Some(length) => header_length(length.as_bytes(), body.len())?,
    };
    if length == 0 && headers.contains_key(HEADER_LENGTH) {
        return raw(body, servable);
    }
    let (json, _) = body.split_at_checked(length).unwrap_or((body, &[]));
    let json = tokens::quoted(json);
    let Document {
        id,
        parameters,
        inputs,
        outputs,
    } = parse_json(&json)?;
    let [input] = <[Tensor; 1]>::try_from(inputs.0).map_err(|_| {
        invalid(format!(
            "there is no input; the model takes \"{}\"",
            servable.input_name()
        ))
    })?;
    let inputs = read_input(input, &body.slice(length..), servable, most)?;
    let output = outputs.unwrap_or_default().0.into_iter().next();
    let form = match output {
        None => OutputParameters::default(),
        Some(output) if output.name == servable.output_name() => {
            output.parameters.unwrap_or_default()
        }
        Some(output) => {
            return Err(invalid(format!(
                "there is no output \"{}\"; the model gives \"{}\"",
                output.name,
                servable.output_name()
            )));
        }
    };
    if form.shared_memory_region.is_some() {
        return Err(no_shared_memory());
    }
    if form.classification == Some(0) {
        return Err(invalid("classification is 0; allowed: at least 1".into()));
    }
    let for_all = parameters.unwrap_or_default().binary_data_output;
    Ok(InferRequest {
        id,
        inputs,
        is_binary: form.binary_data.unwrap_or(for_all),
        classes: form.classification,
    })
}

/// How many bytes of a body are JSON.
fn header_length(length: &[u8], body: usize) -> Result<usize, Problem> {
    let stated = std::str::from_utf8(length)
        .ok()
        .and_then(|text| text.trim().parse::<usize>().ok());
    match stated {
        Some(length) if length <= body => Ok(length),
        _ => Err(Problem::new(
            "invalid_request",
            format!(
                "{HEADER_LENGTH} is {}; allowed: 0 to {body}, the length of the body",
                String::from_utf8_lossy(length)
            ),
        )),
    }
}

/// A body that is nothing but the tensor, a batch of one.
fn raw(body: &Bytes, servable: &Servable) -> Result<InferRequest, Problem> {
    let values = servable.input().values().unwrap_or(0);
    let expected = values.saturating_mul(size_of::<f32>());
    if body.len() != expected {
        return Err(invalid(format!(
            "the body has {} bytes; without a JSON header it is one FP32 tensor of {expected} bytes",
            body.len()
        )));
    }
    Ok(InferRequest {
        id: None,
        inputs: vec![Input::Pixels(Datatype::Fp32.values(body))],
        is_binary: true,
        classes: None,
    })
}

fn read_input(
    tensor: Tensor,
    behind: &Bytes,
    servable: &Servable,
    most: usize,
) -> Result<Vec<Input>, Problem> {
    let name = servable.input_name();
    if tensor.name != name {
        return Err(invalid(format!(
            "there is no input \"{}\"; the model takes \"{name}\"",
            tensor.name
        )));
    }
    let count = batch(&tensor, servable, most)?;
    let parameters = tensor.parameters.unwrap_or_default();
    if parameters.shared_memory_region.is_some() {
        return Err(no_shared_memory());
    }
    let elements = match (tensor.data, parameters.binary_data_size) {
        (Some(_), Some(_)) => {
            return Err(invalid(format!(
                "input \"{name}\" has both \"data\" and \"binary_data_size\"; send one of them"
            )));
        }
        (None, None) => {
            return Err(invalid(format!(
                "input \"{name}\" has neither \"data\" nor \"binary_data_size\""
            )));
        }
        (Some(data), None) if behind.is_empty() => Elements::Json(Box::new(data)),
        (None, Some(size)) if size == behind.len() as u64 => Elements::Bytes(behind),
        (_, size) => {
            return Err(invalid(format!(
                "{} bytes are behind the JSON; the input \"{name}\" says {}",
                behind.len(),
                size.unwrap_or(0)
            )));
        }
    };
    let of_input = |reason: String| invalid(format!("input \"{name}\" has {reason}"));
    match tensor.datatype.size() {
        Some(size) => pixels(elements, tensor.datatype, size, count, servable).map_err(of_input),
        None => files(elements, count).map_err(of_input),
    }
}

/// The elements of a tensor, wherever they stand.
enum Elements<'a> {
    Json(Box<Nested>),
    Bytes(&'a Bytes),
}

/// How many images a tensor has, by its shape.
fn batch(tensor: &Tensor, servable: &Servable, most: usize) -> Result<usize, Problem> {
    let input = servable.input();
    let expected = [input.height, input.width, input.channels].map(|extent| extent as u64);
    let is_file = tensor.datatype == Datatype::Bytes;
    let count = match tensor.shape.0.as_slice() {
        &[count] | &[count, 1] if is_file => count,
        &[count, ref image @ ..] if !is_file && image == expected => count,
        shape => {
            let [height, width, channels] = expected;
            return Err(invalid(format!(
                "input \"{}\" has the shape {shape:?}; expected [N, {height}, {width}, {channels}], or [N] of BYTES with \
                 an image file each",
                tensor.name
            )));
        }
    };
    match usize::try_from(count) {
        Ok(0) => Err(ServingError::NoImage.into()),
        Ok(count) if count <= most => Ok(count),
        found => Err(ServingError::TooManyImages {
            found: found.unwrap_or(usize::MAX),
            allowed: most,
        }
        .into()),
    }
}

fn pixels(
    elements: Elements,
    datatype: Datatype,
    size: usize,
    count: usize,
    servable: &Servable,
) -> Result<Vec<Input>, String> {
    let input = servable.input();
    let each = input.values().unwrap_or(0);
    let expected = count.saturating_mul(each);
    let values = match elements {
        Elements::Bytes(bytes) => {
            let size = expected.saturating_mul(size);
            if bytes.len() != size {
                let found = bytes.len();
                return Err(format!("{found} bytes; its shape and datatype need {size}"));
            }
            datatype.values(bytes)
        }
        Elements::Json(data) => {
            let shape = data.shape();
            let full = [count, input.height, input.width, input.channels];
            if shape != full && shape != [expected] {
                return Err(format!(
                    "data of the shape {shape:?}; expected {full:?}, or a flat list of {expected}"
                ));
            }
            data.into_values(datatype)?
        }
    };
    let images = values.chunks_exact(each.max(1));
    Ok(images.map(|image| Input::Pixels(image.to_vec())).collect())
}

fn files(elements: Elements, count: usize) -> Result<Vec<Input>, String> {
    let files = match elements {
        Elements::Bytes(bytes) => split(bytes, count).ok_or_else(|| {
            format!(
                "bytes that are not {count} elements, each a length of 4 bytes and as many bytes"
            )
        })?,
        Elements::Json(data) => data.into_files()?,
    };
    if files.len() != count {
        return Err(format!("{} elements; its shape says {count}", files.len()));
    }
    Ok(files.into_iter().map(Input::Encoded).collect())
}

/// Takes exactly `count` elements from `bytes`, each with its length before it.
pub(super) fn split(bytes: &Bytes, count: usize) -> Option<Vec<Bytes>> {
    let mut elements = Vec::new();
    let mut place = 0usize;
    for _ in 0..count {
        let (length, _) = bytes.get(place..)?.split_first_chunk::<4>()?;
        let start = place.checked_add(4)?;
        let end = start.checked_add(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        if end > bytes.len() {
            return None;
        }
        elements.push(bytes.slice(start..end));
        place = end;
    }
    (place == bytes.len()).then_some(elements)
}

fn invalid(detail: String) -> Problem {
    Problem::new("invalid_tensor", detail)
}

fn no_shared_memory() -> Problem {
    Problem::new(
        "not_implemented",
        "shared memory is not offered; send the tensor in the request",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn elements_come_back_as_they_were_written(
            elements in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..6),
            cut in any::<proptest::sample::Index>(),
        ) {
            let mut bytes = Vec::new();
            for element in &elements {
                bytes.extend((element.len() as u32).to_le_bytes());
                bytes.extend(element);
            }
            let bytes = Bytes::from(bytes);
            prop_assert_eq!(split(&bytes, elements.len()).unwrap(), elements.clone());
            prop_assert_eq!(split(&bytes, elements.len() + 1), None);
            if !bytes.is_empty() {
                let cut = bytes.slice(..cut.index(bytes.len()));
                prop_assert_eq!(split(&cut, elements.len()), None);
            }
        }

        #[test]
        fn no_bytes_are_read_twice_or_beyond_their_end(
            bytes in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..64),
            count in 0usize..10,
        ) {
            let bytes = Bytes::from(bytes);
            if let Some(elements) = split(&bytes, count) {
                let read: usize = elements.iter().map(|element| element.len() + 4).sum();
                prop_assert_eq!((elements.len(), read), (count, bytes.len()));
            }
        }

        #[test]
        fn a_header_is_a_number_within_the_body(text in "[0-9x. -]{0,22}", body in 0usize..1000) {
            match header_length(text.as_bytes(), body) {
                Ok(length) => prop_assert!(length <= body && text.trim().parse() == Ok(length)),
                Err(_) => prop_assert!(text.trim().parse::<usize>().map_or(true, |length| length > body)),
            }
        }
    }
}
