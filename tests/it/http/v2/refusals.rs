//! What is no request, and how that is said.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use irori::http::HttpConfig;
use serde_json::{Value, json};

use super::{INFER, plain, request};
use crate::http::{Reply, Server, Settings, png};

#[test]
fn what_is_no_request_is_told_what_would_be_one() {
    let server = Server::start();
    let good = request(json!([1, 4, 4, 1]), "FP32", json!(plain(1.0)));
    let changed = |pointer: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    let mut both = good.clone();
    both["inputs"][0]["parameters"] = json!({"binary_data_size": 64});
    let mut neither = good.clone();
    neither["inputs"][0].as_object_mut().unwrap().remove("data");
    let output = |output: Value| {
        let mut body = good.clone();
        body["outputs"] = json!([output]);
        body
    };
    for (body, reason) in [
        (json!({}), "inputs"),
        (json!({"inputs": []}), "the model takes \"input_layer\""),
        (
            json!({"inputs": [good["inputs"][0], good["inputs"][0]]}),
            "more than 1 elements",
        ),
        (
            changed("/inputs/0/name", json!("x")),
            "the model takes \"input_layer\"",
        ),
        (changed("/inputs/0/datatype", json!("FP8")), "FP8"),
        (
            changed("/inputs/0/shape", json!([1, 4, 4])),
            "expected [N, 4, 4, 1]",
        ),
        (
            changed("/inputs/0/shape", json!([4, 4, 1])),
            "expected [N, 4, 4, 1]",
        ),
        (
            changed("/inputs/0/shape", json!([1, 16])),
            "expected [N, 4, 4, 1]",
        ),
        (changed("/inputs/0/shape", json!([0, 4, 4, 1])), "no image"),
        (
            changed("/inputs/0/shape", json!([-1, 4, 4, 1])),
            "inputs[0].shape",
        ),
        (changed("/inputs/0/shape", json!(vec![1; 9])), "more than 8"),
        (
            changed("/inputs/0/shape", json!([2, 4, 4, 1])),
            "expected [2, 4, 4, 1]",
        ),
        (
            changed("/inputs/0/data", json!(plain(1.0)[1..])),
            "flat list of 16",
        ),
        (
            changed("/inputs/0/data", json!([[1, 2], [3]])),
            "different lengths",
        ),
        (changed("/inputs/0/data", json!([1, [2]])), "beside"),
        (changed("/inputs/0/data", json!(vec!["!"; 16])), "base64"),
        (
            changed("/inputs/0/data", json!(vec!["AAAA"; 16])),
            "strings where numbers",
        ),
        (
            request(json!([1, 4, 4, 1]), "UINT8", json!(vec![256; 16])),
            "not all UINT8",
        ),
        (
            request(json!([1, 4, 4, 1]), "INT32", json!(vec![0.5; 16])),
            "not all INT32",
        ),
        (
            request(json!([1]), "BYTES", json!([1])),
            "numbers where image files",
        ),
        (
            request(json!([2]), "BYTES", json!(["AAAA"])),
            "1 elements; its shape says 2",
        ),
        (both, "both"),
        (neither, "neither"),
        (output(json!({"name": "x"})), "the model gives \"shade\""),
        (
            output(json!({"name": "shade", "parameters": {"classification": 0}})),
            "at least 1",
        ),
    ] {
        let error = server.infer(&body).error(400);
        assert!(error.contains(reason), "{body}: {error}");
    }
    let error = server
        .post(INFER, "application/json", b"{\"inputs\":")
        .error(400);
    assert!(error.contains("EOF"), "{error}");
    let shared = output(json!({"name": "shade", "parameters": {"shared_memory_region": "r"}}));
    let error = server.infer(&shared).error(501);
    assert!(error.contains("shared memory"), "{error}");
}

#[test]
fn huge_counts_are_refused_before_anything_is_allocated() {
    let server = Server::start();
    for count in [65u64, u64::from(u32::MAX), u64::MAX] {
        let body = request(json!([count, 4, 4, 1]), "FP32", json!([1]));
        let error = server.infer(&body).error(413);
        assert!(error.contains("at most 64"), "{error}");
        server.infer_binary(json!([count]), "BYTES", b"").error(413);
    }
    for size in [0u64, 65, u64::MAX] {
        let json = json!({"inputs": [{
            "name": "input_layer", "shape": [1, 4, 4, 1], "datatype": "FP32", "parameters": {"binary_data_size": size},
        }]})
        .to_string();
        let error = server
            .infer_bytes(&json, &[0; 64], &json.len().to_string())
            .error(400);
        assert!(error.contains("64 bytes are behind"), "{error}");
    }
}

#[test]
fn a_header_must_say_where_the_json_ends() {
    let server = Server::start();
    let json = request(json!([1, 4, 4, 1]), "FP32", json!(plain(1.0))).to_string();
    for header in ["99999", "-1", "x", "18446744073709551616", "1.5", ""] {
        let error = server.infer_bytes(&json, b"", header).error(400);
        assert!(error.contains("allowed: 0 to"), "{header}: {error}");
    }
    server.infer_bytes(&json, b"", &json.len().to_string()).ok();
    // Bytes that nobody claims.
    server
        .infer_bytes(&json, &[0; 4], &json.len().to_string())
        .error(400);
    // Without a JSON header the body is one tensor, whole.
    for length in [0, 63, 65, 128] {
        let error = server.infer_bytes("", &vec![0; length], "0").error(400);
        assert!(error.contains("64 bytes"), "{error}");
    }
}

#[test]
fn every_refusal_has_the_protocols_form() {
    let server = Server::with(Settings {
        http: HttpConfig {
            max_body_bytes: 4096,
            ..HttpConfig::default()
        },
        ..Settings::default()
    });
    assert!(server.get("/v2/nowhere").error(404).contains("/v2/nowhere"));
    assert!(server.get("/v2/models/nobody").error(404).contains("shade"));
    server.get("/v2/models/nobody/ready").error(404);
    server.get("/v2/models/nobody/stats").error(404);
    server.get("/v2/models/shade/versions/7").error(404);
    server.get("/v2/models/shade/versions/7/stats").error(404);
    server.get("/v2/models/shade/versions/x").error(400);
    server.get(INFER).error(405);
    server.post("/v2/models/nobody/infer", "", b"{}").error(404);
    server.post(INFER, "", &[b' '; 5000]).error(413);
    // What only looks like it is no part of the protocol.
    server.get("/v22").problem(404, "not_found");
}

#[test]
fn who_finds_the_queue_full_is_told_in_the_protocols_form() {
    let mut settings = Settings::default();
    settings.engine.queue_capacity = 1;
    let server = Server::with(settings);
    // Large enough to be decoded for a while.
    let file = BASE64_STANDARD.encode(png(255, 2000));
    let body = request(json!([1]), "BYTES", json!([file]));
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| server.infer(&body)))
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    let (served, refused): (Vec<_>, Vec<_>) =
        replies.into_iter().partition(|reply| reply.status == 200);
    assert!(!served.is_empty() && !refused.is_empty());
    for reply in refused {
        assert_eq!(reply.header("retry-after"), "1");
        assert!(reply.error(429).contains("the queue is full"));
    }
}
