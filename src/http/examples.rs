//! The examples in the contract: answers that a real server gave, recorded by `tests/contract/record.py`.

use serde_json::Value;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{RefOr, Response};

/// An answer, and the operations that it is an example of.
struct Example {
    operations: &'static [&'static str],
    answer: &'static str,
}

macro_rules! examples {
    ($($file:literal: $($operation:literal),+;)+) => {
        &[$(Example {
            operations: &[$($operation),+],
            answer: include_str!(concat!("examples/", $file, ".json")),
        }),+]
    };
}

static EXAMPLES: &[Example] = examples! {
    "predict": "predict", "predict_with_model", "predict_with_version";
    "models": "list_models";
    "model": "get_model";
    "version": "get_version";
    "evaluation": "get_evaluation", "get_version_evaluation";
    "metrics": "metrics";
    "live": "live";
    "ready": "ready";
    "datasets": "list_datasets";
    "put_dataset": "put_dataset", "get_dataset";
    "train": "train";
    "evaluate": "evaluate";
    "jobs": "list_jobs";
    "job": "get_job", "cancel_job";
    "architecture": "export_version";
    "import": "import_version";
    "promote": "promote";
    "rollback": "rollback";
    "v2_infer": "v2_infer", "v2_infer_with_version";
    "v2_server": "v2_server";
    "v2_live": "v2_live";
    "v2_ready": "v2_ready";
    "v2_model": "v2_model", "v2_version";
    "v2_config": "v2_config", "v2_config_of_version";
    "v2_model_ready": "v2_model_ready", "v2_version_ready";
    "v2_statistics": "v2_statistics", "v2_statistics_of_model", "v2_statistics_of_version";
    "v2_index": "v2_index";
    "v1_predict": "v1_predict", "v1_predict_with_version", "v1_predict_with_label";
    "v1_classify": "v1_classify", "v1_classify_with_version", "v1_classify_with_label";
    "v1_status": "v1_status", "v1_status_of_version", "v1_status_of_label";
    "v1_metadata": "v1_metadata", "v1_metadata_of_version", "v1_metadata_of_label";
};

/// Shows a recorded answer with each success of the operation that is JSON.
pub(super) fn show(operation: &mut Operation) {
    let Some(id) = operation.operation_id.as_deref() else {
        return;
    };
    let example = EXAMPLES.iter().find(|e| e.operations.contains(&id));
    let answer = example.and_then(|e| serde_json::from_str::<Value>(e.answer).ok());
    let Some(answer) = answer else {
        return;
    };
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(Response { content, .. }) = response
            && status.starts_with('2')
            && let Some(RefOr::T(json)) = content.get_mut("application/json")
        {
            json.example = Some(answer.clone());
        }
    }
}
