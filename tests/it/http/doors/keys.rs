//! API keys.

use std::fs;
use std::time::{Duration, Instant};

use crate::http::{Reply, Server, Settings, bearer, png};
use irori::http::Tokens;

fn with_key(server: &Server, path: &str, header: &str, value: &str) -> Reply {
    let request = server.agent.post(server.url(path)).header(header, value);
    request.send(&png(255, 4)).unwrap().into()
}

#[test]
fn predictions_can_need_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    fs::write(&file, "first\n").unwrap();
    let server = Server::with(Settings {
        api_keys: Some(Tokens::from_file(&file).unwrap()),
        ..Settings::default()
    });
    for path in [
        "/predict",
        "/models/shade/predict",
        "/models/shade/versions/1/predict",
    ] {
        let refused = server.predict(path, &png(255, 4));
        assert!(refused.header("www-authenticate").starts_with("Bearer"));
        let detail = refused.problem(401, "api_key_required");
        assert!(detail.contains("X-API-Key"), "{detail}");
        with_key(&server, path, "x-api-key", "firs").problem(401, "api_key_required");
        with_key(&server, path, "authorization", &bearer()).problem(401, "api_key_required");
        with_key(&server, path, "x-api-key", "first").ok();
        with_key(&server, path, "authorization", "Bearer first").ok();
    }
    for path in [
        "/v2/models/shade/infer",
        "/v2/models/shade/versions/1/infer",
        "/v1/models/shade:predict",
        "/v1/models/shade/versions/1:classify",
    ] {
        let error = server.predict(path, b"{}").error(401);
        assert!(error.contains("X-API-Key"), "{error}");
        with_key(&server, path, "x-api-key", "first").error(400);
    }
    for open in [
        "/health/ready",
        "/models",
        "/models/shade",
        "/openapi.json",
        "/v2/models/shade",
        "/v1/models/shade",
    ] {
        server.get(open).ok();
    }
    assert_eq!(server.get("/metrics").status, 200);
    // A key opens no more than predictions.
    let request = server.agent.get(server.url("/admin/jobs"));
    let reply = request.header("authorization", "Bearer first").call();
    Reply::from(reply.unwrap()).problem(401, "unauthorized");

    // Keys change without a restart.
    fs::write(&file, "first\nsecond\n").unwrap();
    let changed = Instant::now();
    while with_key(&server, "/predict", "x-api-key", "second").status != 200 {
        assert!(changed.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(50));
    }
    with_key(&server, "/predict", "x-api-key", "first").ok();
}
