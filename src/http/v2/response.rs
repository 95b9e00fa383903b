//! The answer to an inference request: JSON, with the output in it or as bytes behind it.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::HEADER_LENGTH;
use super::request::InferRequest;
use crate::http::tensors::tokens;
use crate::serving::{Scored, Servable};

/// The answer to an inference request.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes the answer, which is written by hand")]
pub(super) struct InferResponse {
    /// The model that was asked.
    #[schema(example = "digits")]
    model_name: String,
    /// Its version that answered.
    #[schema(example = "1")]
    model_version: String,
    /// What the client called the request.
    id: Option<String>,
    /// The model's one output.
    #[schema(min_items = 1, max_items = 1)]
    outputs: Vec<InferOutput>,
}

/// An output.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes the answer, which is written by hand")]
pub(super) struct InferOutput {
    /// The name of the model's output.
    #[schema(example = "dense_1")]
    name: String,
    /// `[N, scores]`, or `[N, classes]` where classes were asked for.
    #[schema(example = json!([1, 3]))]
    shape: Vec<u64>,
    /// `FP32`: the network's own scores, as Keras' `predict` gives them. `BYTES`: classes as `probability:index:label`.
    #[schema(example = "BYTES")]
    datatype: String,
    /// How many bytes behind the JSON are this tensor's.
    #[schema(value_type = Option<Object>, example = json!({"binary_data_size": 40}))]
    parameters: Option<serde_json::Value>,
    /// Its elements, row by row; absent where they stand behind the JSON. A score that is no number is written `NaN`.
    #[schema(value_type = Option<Vec<serde_json::Value>>, example = json!(["0.9987:7:7", "0.0009:3:3", "0.0002:2:2"]))]
    data: Option<Vec<f32>>,
}

/// What an output holds.
enum Elements {
    Scores(Vec<f32>),
    Classes(Vec<String>),
}

/// Answers a request with what the network gave for its images.
pub(super) fn respond(servable: &Servable, request: &InferRequest, scored: &[Scored]) -> Response {
    let (elements, each) = match request.classes {
        None => {
            let scores = scored.iter().flat_map(|scored| &scored.scores).copied();
            (Elements::Scores(scores.collect()), servable.outputs())
        }
        Some(classes) => {
            let named = scored
                .iter()
                .flat_map(|scored| named(servable, &scored.scores, classes));
            let each = classes.min(servable.card().labels.len());
            (Elements::Classes(named.collect()), each)
        }
    };
    let datatype = match elements {
        Elements::Scores(_) => "FP32",
        Elements::Classes(_) => "BYTES",
    };
    let mut bytes = Vec::new();
    let mut data = String::new();
    match (&elements, request.is_binary) {
        (Elements::Scores(scores), true) => {
            bytes.extend(scores.iter().flat_map(|score| score.to_le_bytes()));
        }
        (Elements::Scores(scores), false) => tokens::write(scores, &mut data),
        (Elements::Classes(classes), true) => {
            for class in classes {
                let length = u32::try_from(class.len()).unwrap_or(u32::MAX);
                bytes.extend(length.to_le_bytes());
                bytes.extend(class.as_bytes());
            }
        }
        (Elements::Classes(classes), false) => data = json!(classes).to_string(),
    }

    let mut answer = json!({
        "model_name": servable.model(),
        "model_version": servable.version().to_string(),
    });
    if let Some(id) = &request.id {
        answer["id"] = json!(id);
    }
    let mut output = json!({
        "name": servable.output_name(),
        "shape": [scored.len(), each],
        "datatype": datatype,
    });
    if request.is_binary {
        output["parameters"] = json!({"binary_data_size": bytes.len()});
    }
    // The data may hold NaN, which no JSON library writes, so the rest is opened for it.
    let mut json = open(&answer);
    json.push_str(",\"outputs\":[");
    json.push_str(&open(&output));
    if !request.is_binary {
        json.push_str(",\"data\":");
        json.push_str(&data);
    }
    json.push_str("}]}");
    if request.is_binary {
        let length = json.len().to_string();
        let head = [
            (header::CONTENT_TYPE.as_str(), "application/octet-stream"),
            (HEADER_LENGTH, &length),
        ];
        let mut body = json.into_bytes();
        body.append(&mut bytes);
        (head, body).into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/json")], json).into_response()
    }
}

/// The most probable classes as `probability:index:label`.
fn named(servable: &Servable, scores: &[f32], classes: usize) -> Vec<String> {
    let prediction = servable.prediction(scores, classes);
    let top = prediction
        .map(|prediction| prediction.top)
        .unwrap_or_default();
    let named = top.iter().map(|class| {
        let mut text = String::new();
        tokens::write_number(class.probability, &mut text);
        format!("{text}:{}:{}", class.index, class.label)
    });
    named.collect()
}

/// An object as JSON, without its closing brace.
fn open(object: &serde_json::Value) -> String {
    let mut json = object.to_string();
    json.pop();
    json
}
