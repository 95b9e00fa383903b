//! What the server says of itself and its models, and which of them are in memory.

use serde_json::json;

use super::{plain, request};
use crate::http::{Reply, Server, Settings, bearer, png};

#[test]
fn the_server_and_its_models_describe_themselves() {
    let server = Server::with(Settings {
        versions: 2,
        ..Settings::default()
    });
    for path in ["/v2", "/v2/"] {
        let about = server.get(path).ok();
        assert_eq!(about["name"], "irori");
        assert!(
            about["extensions"]
                .as_array()
                .unwrap()
                .contains(&json!("binary_tensor_data"))
        );
    }
    assert_eq!(server.get("/v2/health/live").ok(), json!({"live": true}));
    assert_eq!(server.get("/v2/health/ready").ok(), json!({"ready": true}));
    let described = json!({
        "name": "shade", "versions": ["1", "2"], "platform": "burn",
        "inputs": [{"name": "input_layer", "datatype": "FP32", "shape": [-1, 4, 4, 1]}],
        "outputs": [{"name": "shade", "datatype": "FP32", "shape": [-1, 2]}],
    });
    assert_eq!(server.get("/v2/models/shade").ok(), described);
    assert_eq!(server.get("/v2/models/shade/versions/1").ok(), described);
    let config = json!({
        "name": "shade", "platform": "burn", "max_batch_size": 64,
        "input": [{"name": "input_layer", "data_type": "TYPE_FP32", "format": "FORMAT_NHWC", "dims": [4, 4, 1]}],
        "output": [{"name": "shade", "data_type": "TYPE_FP32", "dims": [2]}],
        "dynamic_batching": {},
    });
    assert_eq!(server.get("/v2/models/shade/config").ok(), config);
    assert_eq!(
        server.get("/v2/models/shade/versions/2/config").ok(),
        config
    );
    let ready = json!({"name": "shade", "ready": true});
    assert_eq!(server.get("/v2/models/shade/ready").ok(), ready);
    assert_eq!(server.get("/v2/models/shade/versions/1/ready").ok(), ready);
}

#[test]
fn statistics_count_what_was_asked() {
    let server = Server::with(Settings {
        versions: 2,
        ..Settings::default()
    });
    let all = server.get("/v2/models/stats").ok();
    assert_eq!(all["model_stats"].as_array().unwrap().len(), 1);
    assert_eq!(all["model_stats"][0]["inference_count"], 0);
    server
        .infer(&request(
            json!([2, 4, 4, 1]),
            "FP32",
            json!(plain(1.0).repeat(2)),
        ))
        .ok();
    server.predict("/models/shade/predict", &png(255, 4)).ok();
    server
        .predict("/models/shade/predict", b"no image")
        .problem(422, "image_unrecognised");
    let statistics = server.get("/v2/models/shade/versions/2/stats").ok();
    let version = &statistics["model_stats"][0];
    assert_eq!(
        (&version["name"], &version["version"]),
        (&json!("shade"), &json!("2"))
    );
    assert_eq!(version["inference_count"], 3);
    assert!(version["execution_count"].as_u64().unwrap() >= 2);
    assert!(version["last_inference"].as_u64().unwrap() > 1_700_000_000_000);
    let stages = &version["inference_stats"];
    assert_eq!(
        (&stages["success"]["count"], &stages["fail"]["count"]),
        (&json!(2), &json!(1))
    );
    for stage in ["success", "fail", "queue", "compute_input", "compute_infer"] {
        assert!(
            stages[stage]["ns"].as_u64().unwrap() > 0,
            "{stage}: {stages}"
        );
    }
    assert_eq!(stages["compute_output"], json!({"count": 2, "ns": 0}));
    assert_eq!(stages["cache_hit"], json!({"count": 0, "ns": 0}));
    // Each image is in one run, whose cost is listed by how many were in it.
    let (mut images, mut runs) = (0, 0);
    for batch in version["batch_stats"].as_array().unwrap() {
        let count = &batch["compute_infer"]["count"];
        assert_eq!(batch["compute_input"]["count"], *count);
        assert_eq!(batch["compute_output"], json!({"count": count, "ns": 0}));
        assert!(batch["compute_infer"]["ns"].as_u64().unwrap() > 0);
        runs += count.as_u64().unwrap();
        images += batch["batch_size"].as_u64().unwrap() * count.as_u64().unwrap();
    }
    assert_eq!(
        (&json!(images), &json!(runs)),
        (&json!(3), &version["execution_count"])
    );
    let alone = &version["batch_stats"][0];
    assert_eq!(alone["batch_size"], 1);
    // The image that was sent as a file was decoded first.
    assert!(alone["compute_input"]["ns"].as_u64().unwrap() > 0);
    // A version that was never asked has none yet.
    assert_eq!(
        server.get("/v2/models/shade/versions/1/stats").ok(),
        json!({"model_stats": []})
    );
}

#[test]
fn models_are_listed_unloaded_and_loaded_again() {
    let server = Server::with_a_damaged_version();
    let index = |body: &[u8]| server.post("/v2/repository/index", "", body).ok();
    let all = index(b"");
    assert_eq!(all[0]["state"], "UNAVAILABLE");
    assert!(
        all[0]["reason"]
            .as_str()
            .unwrap()
            .contains("weights.safetensors"),
        "{all}"
    );
    assert_eq!(
        all[1],
        json!({"name": "shade", "version": "2", "state": "READY", "reason": ""})
    );
    assert_eq!(index(b"{\"ready\": true}").as_array().unwrap().len(), 1);
    server
        .post("/v2/repository/index", "", b"{\"ready\": 1}")
        .error(400);

    let unload = "/v2/repository/models/shade/unload";
    let load = "/v2/repository/models/shade/load";
    server.post(unload, "", b"").error(401);
    let with_token = |path: &str, body: &str| {
        let request = server
            .agent
            .post(server.url(path))
            .header("authorization", bearer());
        Reply::from(request.send(body).unwrap())
    };
    assert_eq!(
        with_token(unload, r#"{"parameters":{"unload_dependents":false}}"#).status,
        200
    );
    let good = request(json!([1, 4, 4, 1]), "FP32", json!(plain(1.0)));
    let error = server.infer(&good).error(503);
    assert!(
        error.contains("/v2/repository/models/shade/load"),
        "{error}"
    );
    server.get("/v2/models/shade/ready").error(400);
    server.get("/v2/models/shade/versions/2/ready").error(400);
    assert_eq!(index(b"{\"ready\": true}"), json!([]));
    server
        .predict("/models/shade/predict", &png(0, 4))
        .problem(503, "model_unloaded");
    with_token(load, r#"{"parameters":{"config":"{}"}}"#).error(400);
    assert_eq!(with_token(load, "").status, 200);
    server.infer(&good).ok();
    with_token("/v2/repository/models/nobody/load", "").error(404);
    with_token("/v2/repository/models/nobody/unload", "").error(404);
}
