//! `/v1`, TensorFlow Serving's REST API: rows and columns, files in base64, and every way to get it wrong.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use irori::repository::Repository;
use serde_json::{Value, json};

use super::{Reply, Server, Settings, logits, png};

const PREDICT: &str = "/v1/models/shade:predict";
/// What `curl -d` says where the user says nothing.
const FORM: &str = "application/x-www-form-urlencoded";

/// A 4×4 image of one brightness.
fn plain(brightness: f32) -> Value {
    json!(vec![vec![vec![brightness]; 4]; 4])
}

fn file(grey: u8) -> Value {
    json!({"b64": BASE64_STANDARD.encode(png(grey, 4))})
}

impl Server {
    fn ask(&self, path: &str, body: &Value) -> Reply {
        self.post(path, FORM, body.to_string().as_bytes())
    }
}

fn native(server: &Server) -> f64 {
    let answer = server.predict("/predict", &png(255, 4)).ok();
    answer["predictions"][0]["probability"].as_f64().unwrap()
}

#[test]
fn rows_and_columns_give_the_native_answer() {
    let server = Server::start();
    let expected = native(&server);
    let named = |value: Value| json!({"input_layer": value});
    for body in [
        json!({"instances": [plain(1.0), plain(0.0)]}),
        json!({"instances": [file(255), file(0)]}),
        json!({"instances": [named(plain(1.0)), named(file(0))]}),
        json!({"signature_name": "serving_default", "instances": [file(255), plain(0.0)], "other": [null]}),
    ] {
        let answer = server.ask(PREDICT, &body).ok();
        assert_eq!(answer["predictions"][0][0], expected, "{body}");
        assert_eq!(answer["predictions"][1][1], expected, "{body}");
    }
    for body in [
        json!({"inputs": [plain(1.0), plain(0.0)]}),
        json!({"inputs": {"input_layer": [file(255), plain(0.0)]}}),
    ] {
        let answer = server.ask(PREDICT, &body).ok();
        assert_eq!(answer["outputs"][0][0], expected, "{body}");
        assert_eq!(answer["outputs"][1][1], expected, "{body}");
        assert!(answer.get("predictions").is_none());
    }
}

#[test]
fn versions_and_aliases_answer_for_themselves() {
    let server = Server::with(Settings {
        versions: 2,
        ..Settings::default()
    });
    let promotion = json!({"version": 1, "alias": "canary"});
    server
        .admin_post("/admin/models/shade/promote", &promotion)
        .ok();
    let examples = json!({"examples": [{"image": file(255)}]});
    for (address, label) in [
        ("", "pale"),
        ("/versions/1", "light"),
        ("/labels/canary", "light"),
    ] {
        let answer = server
            .ask(&format!("/v1/models/shade{address}:classify"), &examples)
            .ok();
        assert_eq!(answer["results"][0][0][0], label, "{address}");
    }
    server
        .ask("/v1/models/shade/versions/9:classify", &examples)
        .error(404);
    server
        .ask("/v1/models/shade/versions/x:classify", &examples)
        .error(400);
    let error = server
        .ask("/v1/models/shade/labels/stable:classify", &examples)
        .error(404);
    assert!(error.contains("canary"), "{error}");
    server
        .ask("/v1/models/nobody:classify", &examples)
        .error(404);

    let all = server.get("/v1/models/shade").ok();
    let available = |version: &str| json!({"version": version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}});
    assert_eq!(
        all,
        json!({"model_version_status": [available("2"), available("1")]})
    );
    for path in [
        "/v1/models/shade/versions/1",
        "/v1/models/shade/labels/canary",
    ] {
        assert_eq!(
            server.get(path).ok(),
            json!({"model_version_status": [available("1")]})
        );
    }
    server.get("/v1/models/shade/versions/9").error(404);
    server.get("/v1/models/shade/labels/stable").error(404);
    server.get("/v1/models/nobody").error(404);
}

#[test]
fn a_broken_version_and_an_unloaded_model_have_come_to_their_end() {
    let server = Server::with_a_damaged_version();
    let status = server.get("/v1/models/shade").ok();
    let broken = &status["model_version_status"][1];
    assert_eq!(
        (&broken["state"], &broken["status"]["error_code"]),
        (&json!("END"), &json!("FAILED_PRECONDITION"))
    );
    server.admin_post("/v2/repository/models/shade/unload", &json!({}));
    let status = server.get("/v1/models/shade/versions/2").ok();
    assert_eq!(status["model_version_status"][0]["state"], "END");
    server
        .ask(PREDICT, &json!({"instances": [file(0)]}))
        .error(503);
}

#[test]
fn metadata_are_those_of_a_signature() {
    let server = Server::start();
    let metadata = server.get("/v1/models/shade/metadata").ok();
    assert_eq!(
        metadata["model_spec"],
        json!({"name": "shade", "signature_name": "", "version": "1"})
    );
    let signature = &metadata["metadata"]["signature_def"]["signature_def"]["serving_default"];
    assert_eq!(signature["method_name"], "tensorflow/serving/predict");
    let input = &signature["inputs"]["input_layer"];
    assert_eq!(input["dtype"], "DT_FLOAT");
    let sizes = |tensor: &Value| -> Vec<String> {
        let dims = tensor["tensor_shape"]["dim"].as_array().unwrap();
        dims.iter()
            .map(|dim| dim["size"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(sizes(input), ["-1", "4", "4", "1"]);
    assert_eq!(sizes(&signature["outputs"]["shade"]), ["-1", "2"]);
    assert_eq!(
        server.get("/v1/models/shade/versions/1/metadata").ok(),
        metadata
    );
    server
        .get("/v1/models/shade/versions/2/metadata")
        .error(404);
    server.get("/v1/models/shade/labels/x/metadata").error(404);
}

#[test]
fn examples_are_files_or_flat_features() {
    let server = Server::start();
    let expected = native(&server);
    let body = json!({"examples": [
        {"image": file(0), "caption": "night"},
        {"input_layer": vec![1.0; 16]},
        {"image": plain(0.0)},
    ], "context": {}});
    let results = server.ask("/v1/models/shade:classify", &body).ok()["results"].clone();
    assert_eq!(results[0][0], json!(["dark", expected]));
    assert_eq!(results[1][0], json!(["light", expected]));
    assert_eq!(results[2][0], json!(["dark", expected]));
    assert_eq!(results[0].as_array().unwrap().len(), 2);
}

#[test]
fn logits_are_given_as_they_are_and_labels_with_probabilities() {
    let server = Server::start();
    let expected = native(&server);
    let repository = Repository::open(server.folder.path().join("models")).unwrap();
    repository.publish("logits", &logits()).unwrap();
    server.admin_post("/v2/repository/models/logits/load", &json!({}));
    let answer = server
        .ask(
            "/v1/models/logits:predict",
            &json!({"instances": [plain(1.0)]}),
        )
        .ok();
    assert_eq!(answer, json!({"predictions": [[2.0, -2.0]]}));
    let answer = server
        .ask(
            "/v1/models/logits:classify",
            &json!({"examples": [{"image": file(255)}]}),
        )
        .ok();
    let best = &answer["results"][0][0];
    assert_eq!(best[0], "light");
    assert!((best[1].as_f64().unwrap() - expected).abs() < 1e-6);
}

#[test]
fn not_a_number_goes_in_and_out_as_python_writes_it() {
    let server = Server::start();
    let body = json!({"instances": [plain(1.0)]})
        .to_string()
        .replacen("1.0", "NaN", 1);
    let reply = server.post(PREDICT, FORM, body.as_bytes());
    assert_eq!(
        (reply.status, reply.text()),
        (200, r#"{"predictions":[[NaN,NaN]]}"#)
    );
    let body = body.replace("NaN", "Infinity");
    assert_eq!(server.post(PREDICT, FORM, body.as_bytes()).status, 200);
}

#[test]
fn what_is_no_request_is_told_what_would_be_one() {
    let server = Server::start();
    let classify = "/v1/models/shade:classify";
    let too_many = vec![json!(0); 65];
    for (path, body, status, reason) in [
        (PREDICT, json!({}), 400, "neither"),
        (
            PREDICT,
            json!({"instances": [file(0)], "inputs": [file(0)]}),
            400,
            "both",
        ),
        (PREDICT, json!([1]), 400, "an object"),
        (PREDICT, json!({"instances": []}), 400, "no image"),
        (PREDICT, json!({"instances": 1}), 400, "a list of images"),
        (
            PREDICT,
            json!({"instances": [1]}),
            400,
            "a tensor [4, 4, 1]",
        ),
        (
            PREDICT,
            json!({"instances": ["x"]}),
            400,
            "a tensor [4, 4, 1]",
        ),
        (PREDICT, json!({"instances": [[1, 2]]}), 400, "shape [2]"),
        (
            PREDICT,
            json!({"instances": [vec![1; 16]]}),
            400,
            "shape [16]",
        ),
        (
            PREDICT,
            json!({"instances": [vec![1; 17]]}),
            400,
            "more than 16 values",
        ),
        (
            PREDICT,
            json!({"instances": [[["AAAA"]]]}),
            400,
            "expected [4, 4, 1]",
        ),
        (
            PREDICT,
            json!({"instances": [{"b64": "!"}]}),
            400,
            "not base64",
        ),
        (PREDICT, json!({"instances": [{"b64": 1}]}), 400, "string"),
        (
            PREDICT,
            json!({"instances": [{"b64": "", "input_layer": 1}]}),
            400,
            "twice",
        ),
        (
            PREDICT,
            json!({"instances": [{"x": plain(1.0)}]}),
            400,
            "takes \"input_layer\"",
        ),
        (PREDICT, json!({"instances": [{}]}), 400, "missing"),
        (
            PREDICT,
            json!({"inputs": {"x": []}}),
            400,
            "takes \"input_layer\"",
        ),
        (
            PREDICT,
            json!({"inputs": {"b64": ""}}),
            400,
            "no input \"b64\"",
        ),
        (PREDICT, json!({"instances": [{"b64": ""}]}), 400, "empty"),
        (
            PREDICT,
            json!({"instances": [file(0)], "signature_name": "other"}),
            400,
            "serving_default",
        ),
        (
            classify,
            json!({"instances": [file(0)]}),
            400,
            "no \"examples\"",
        ),
        (
            classify,
            json!({"examples": [{"caption": "x"}]}),
            400,
            "missing",
        ),
        (classify, json!({"examples": too_many}), 400, "a tensor"),
        ("/v1/models/shade:regress", json!({}), 501, ":classify"),
        (
            "/v1/models/shade:train",
            json!({}),
            400,
            ":predict or :classify",
        ),
        ("/v1/models/shade", json!({}), 400, ":predict or :classify"),
    ] {
        let error = server.ask(path, &body).error(status);
        assert!(error.contains(reason), "{path} {body}: {error}");
    }
    let error = server
        .ask(PREDICT, &json!({"instances": vec![file(0); 65]}))
        .error(413);
    assert!(error.contains("65 images"), "{error}");
    server.post(PREDICT, FORM, b"{").error(400);
    server.post(PREDICT, FORM, b"{} {}").error(400);
    server.get("/v1/nowhere").error(404);
    let reply: Reply = server
        .agent
        .delete(server.url("/v1/models/shade"))
        .call()
        .unwrap()
        .into();
    reply.error(405);
}
