//! The examples in the contract: what a real server was sent and what it answered, recorded by `tests/contract/record.py`.
//! JSON and text stand in the contract itself; other files are served under `/docs/examples`, to which it refers.

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder};
use utoipa::openapi::{Content, RefOr, Schema};

use super::docs::BinaryBody;
use super::extract::Path;
use super::problem::{Problem, refusals};
use super::v2::HEADER_LENGTH;

/// A body, and what it is an example of.
struct Example {
    /// Its name in the folder `examples`.
    file: &'static str,
    bytes: &'static [u8],
    /// The media types that it is shown for, as the operations name them.
    media_types: &'static [&'static str],
    operations: &'static [&'static str],
}

macro_rules! examples {
    ($($file:literal as $($media_type:literal)|+: $($operation:literal),+;)+) => {
        &[$(Example {
            file: $file,
            bytes: include_bytes!(concat!("examples/", $file)),
            media_types: &[$($media_type),+],
            operations: &[$($operation),+],
        }),+]
    };
}

/// What is sent. The bodies in JSON that have no image in them stand with their handlers.
#[rustfmt::skip]
static SENT: &[Example] = examples! {
    "digit.png" as "image/*" | "application/octet-stream": "predict", "predict_with_model", "predict_with_version";
    "digits.form" as "multipart/form-data": "predict", "predict_with_model", "predict_with_version";
    "send_predict.json" as "application/json": "predict", "predict_with_model", "predict_with_version";
    "send_v1_predict.json" as "application/json": "v1_predict", "v1_predict_with_version", "v1_predict_with_label";
    "send_v1_classify.json" as "application/json": "v1_classify", "v1_classify_with_version", "v1_classify_with_label";
    "send_v2_infer.json" as "application/json": "v2_infer", "v2_infer_with_version";
    "infer.bin" as "application/octet-stream": "v2_infer", "v2_infer_with_version";
    "bits.zip" as "application/zip" | "application/octet-stream": "put_dataset";
    "bits.tar" as "application/x-tar": "put_dataset";
    "bits.tar.gz" as "application/gzip": "put_dataset";
    "bits.keras" as "application/octet-stream": "import_version";
    "bits.form" as "multipart/form-data": "import_version";
};

/// What is answered.
#[rustfmt::skip]
static ANSWERED: &[Example] = examples! {
    "predict.json" as "application/json": "predict", "predict_with_model", "predict_with_version";
    "models.json" as "application/json": "list_models";
    "model.json" as "application/json": "get_model";
    "version.json" as "application/json": "get_version";
    "evaluation.json" as "application/json": "get_evaluation", "get_version_evaluation";
    "confusion.svg" as "image/svg+xml": "get_confusion_svg", "get_version_confusion_svg";
    "history.svg" as "image/svg+xml": "get_history_svg", "get_version_history_svg";
    "metrics.json" as "application/json": "metrics";
    "metrics.txt" as "text/plain; version=0.0.4; charset=utf-8": "metrics";
    "openmetrics.txt" as "application/openmetrics-text; version=1.0.0; charset=utf-8": "metrics";
    "live.json" as "application/json": "live";
    "ready.json" as "application/json": "ready";
    "digit.png" as "application/octet-stream": "example_file";
    "datasets.json" as "application/json": "list_datasets";
    "put_dataset.json" as "application/json": "put_dataset", "get_dataset";
    "train.json" as "application/json": "train";
    "evaluate.json" as "application/json": "evaluate";
    "jobs.json" as "application/json": "list_jobs";
    "job.json" as "application/json": "get_job", "cancel_job";
    "bits.h5" as "application/x-hdf5": "export_version";
    "bits.keras" as "application/zip": "export_version";
    "bits.safetensors" as "application/octet-stream": "export_version";
    "architecture.json" as "application/json": "export_version";
    "import.json" as "application/json": "import_version";
    "promote.json" as "application/json": "promote";
    "rollback.json" as "application/json": "rollback";
    "v2_infer.json" as "application/json": "v2_infer", "v2_infer_with_version";
    "infer_answer.bin" as "application/octet-stream": "v2_infer", "v2_infer_with_version";
    "v2_server.json" as "application/json": "v2_server";
    "v2_live.json" as "application/json": "v2_live";
    "v2_ready.json" as "application/json": "v2_ready";
    "v2_model.json" as "application/json": "v2_model", "v2_version";
    "v2_config.json" as "application/json": "v2_config", "v2_config_of_version";
    "v2_model_ready.json" as "application/json": "v2_model_ready", "v2_version_ready";
    "v2_statistics.json" as "application/json": "v2_statistics", "v2_statistics_of_model", "v2_statistics_of_version";
    "v2_index.json" as "application/json": "v2_index";
    "v1_predict.json" as "application/json": "v1_predict", "v1_predict_with_version", "v1_predict_with_label";
    "v1_classify.json" as "application/json": "v1_classify", "v1_classify_with_version", "v1_classify_with_label";
    "v1_status.json" as "application/json": "v1_status", "v1_status_of_version", "v1_status_of_label";
    "v1_metadata.json" as "application/json": "v1_metadata", "v1_metadata_of_version", "v1_metadata_of_label";
};

/// Headers of answers: the name, the operations that have this example (all where none is named), and the example.
static HEADERS: &[(&str, &[&str], &str)] = &[
    (
        "server-timing",
        &[],
        "decode;dur=0.214, queue;dur=0.031, compute;dur=0.402",
    ),
    ("location", &["put_dataset"], "/admin/datasets/bits"),
    ("location", &["train", "evaluate"], "/admin/jobs/1"),
    ("location", &["import_version"], "/models/bits/versions/2"),
    (
        "content-disposition",
        &[],
        "attachment; filename=\"bits-1.h5\"",
    ),
];

impl Example {
    fn value(&self) -> Option<Value> {
        if self.file.ends_with(".json") {
            serde_json::from_slice(self.bytes).ok()
        } else if self.file.ends_with(".txt") {
            str::from_utf8(self.bytes).ok().map(Value::from)
        } else {
            None
        }
    }

    fn show(&self, content: &mut Content) {
        if let Some(value) = self.value() {
            content.example = Some(value);
            return;
        }
        let address = format!("/docs/examples/{}", self.file);
        let example = ExampleBuilder::new()
            .summary(self.file)
            .external_value(address)
            .build();
        content
            .examples
            .insert(self.file.to_owned(), example.into());
    }

    /// The length of the JSON before bytes.
    fn json_length(&self) -> usize {
        let mut values = serde_json::Deserializer::from_slice(self.bytes).into_iter::<Value>();
        values.next();
        values.byte_offset()
    }
}

fn find<'a>(
    examples: &'a [Example],
    operation: &'a str,
    media_type: &'a str,
) -> Option<&'a Example> {
    examples.iter().find(|example| {
        example.operations.contains(&operation) && example.media_types.contains(&media_type)
    })
}

/// Shows with an operation what it takes and what it answers.
pub(super) fn show(path: &str, operation: &mut Operation) {
    let Some(id) = operation.operation_id.clone() else {
        return;
    };
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter {
            show_parameter(path, &id, parameter);
        }
    }
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        for (media_type, content) in &mut body.content {
            if let (Some(example), RefOr::T(content)) = (find(SENT, &id, media_type), content) {
                example.show(content);
            }
        }
    }
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else {
            continue;
        };
        if !status.starts_with('2') {
            continue;
        }
        for (media_type, content) in &mut response.content {
            if let (Some(example), RefOr::T(content)) = (find(ANSWERED, &id, media_type), content) {
                example.show(content);
            }
        }
        for (name, header) in &mut response.headers {
            let is_it = |(of, operations, _): &&(&str, &[&str], &str)| {
                of == name && (operations.is_empty() || operations.contains(&id.as_str()))
            };
            if let RefOr::T(header) = header {
                header.example = match HEADERS.iter().find(is_it) {
                    Some((_, _, example)) => Some(json!(example)),
                    None if name.eq_ignore_ascii_case(HEADER_LENGTH) => json_length(ANSWERED, &id),
                    None => None,
                };
            }
        }
    }
}

fn show_parameter(path: &str, operation: &str, parameter: &mut Parameter) {
    // What changes models is shown with one of one's own, not with the one that is shipped.
    if path.starts_with("/admin/models/") && parameter.name == "model" {
        *parameter = ParameterBuilder::from(parameter.clone())
            .example(Some(json!("bits")))
            .build();
    }
    // No example of the header itself: that would be sent with a body in JSON too.
    if parameter.name.eq_ignore_ascii_case(HEADER_LENGTH)
        && let Some(RefOr::T(Schema::Object(length))) = &mut parameter.schema
    {
        length.examples.extend(json_length(SENT, operation));
    }
}

fn json_length(examples: &[Example], operation: &str) -> Option<Value> {
    let example = find(examples, operation, "application/octet-stream")?;
    Some(json!(example.json_length()))
}

/// A file of the examples, in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfFile {
    /// Its name.
    #[param(example = "digit.png")]
    file: String,
}

refusals!(Refusals: "invalid_path", "not_found");

/// A file of the examples
///
/// Where an example in this document is no text, it refers to a file here, which can be sent on:
/// `curl -s http://127.0.0.1:8080/docs/examples/digit.png | curl --data-binary @- http://127.0.0.1:8080/predict`.
#[utoipa::path(
    get, path = "/docs/examples/{file}", tag = "contract", operation_id = "example_file",
    params(OfFile),
    responses((status = 200, description = "The file.", body = BinaryBody, content_type = "application/octet-stream"), Refusals),
)]
pub(super) async fn file(Path(OfFile { file }): Path<OfFile>) -> Result<Response, Problem> {
    let mut all = SENT.iter().chain(ANSWERED);
    let Some(example) = all.find(|example| example.file == file) else {
        return Err(Problem::new(
            "not_found",
            "there is no such example; GET /openapi.yaml names them all",
        ));
    };
    let content_type = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((content_type, Bytes::from_static(example.bytes)).into_response())
}
