//! `/v2`, the Open Inference Protocol: JSON and bytes, every type, and every way to get it wrong.

use std::io::Write;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use irori::http::HttpConfig;
use irori::repository::Repository;
use serde_json::{Value, json};

use super::{Reply, Server, Settings, bearer, logits, png};

const INFER: &str = "/v2/models/shade/infer";
const HEADER: &str = "inference-header-content-length";

/// A request for one tensor with these parts.
fn request(shape: Value, datatype: &str, data: Value) -> Value {
    json!({"inputs": [{"name": "input_layer", "shape": shape, "datatype": datatype, "data": data}]})
}

/// A 4×4 image of one brightness.
fn plain(brightness: f32) -> Vec<f32> {
    vec![brightness; 16]
}

impl Server {
    fn infer(&self, body: &Value) -> Reply {
        self.post(INFER, "application/json", body.to_string().as_bytes())
    }

    /// JSON with bytes behind it, under the header that says where they begin.
    fn infer_bytes(&self, json: &str, bytes: &[u8], header: &str) -> Reply {
        let body = [json.as_bytes(), bytes].concat();
        let request = self.agent.post(self.url(INFER)).header(HEADER, header);
        request.send(&body[..]).unwrap().into()
    }

    /// An input of bytes behind the JSON, with its size said rightly.
    fn infer_binary(&self, shape: Value, datatype: &str, bytes: &[u8]) -> Reply {
        let json = json!({"inputs": [{
            "name": "input_layer", "shape": shape, "datatype": datatype,
            "parameters": {"binary_data_size": bytes.len()},
        }]})
        .to_string();
        self.infer_bytes(&json, bytes, &json.len().to_string())
    }
}

/// The scores of an answer in JSON.
fn scores(answer: &Value) -> Vec<f32> {
    let output = &answer["outputs"][0];
    assert_eq!(
        (&output["name"], &output["datatype"]),
        (&json!("shade"), &json!("FP32"))
    );
    let data = output["data"].as_array().unwrap();
    data.iter()
        .map(|score| score.as_f64().unwrap() as f32)
        .collect()
}

/// What the native route says of a white image.
fn native(server: &Server) -> f32 {
    let answer = server.predict("/predict", &png(255, 4)).ok();
    answer["predictions"][0]["probability"].as_f64().unwrap() as f32
}

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
fn tensors_in_json_and_in_bytes_give_the_native_answer() {
    let server = Server::start();
    let expected = native(&server);
    let nested = json!([[
        [[1], [1], [1], [1]],
        [[1], [1], [1], [1]],
        [[1], [1], [1], [1]],
        [[1], [1], [1], [1]]
    ]]);
    for data in [json!(plain(1.0)), nested] {
        let answer = server
            .infer(&request(json!([1, 4, 4, 1]), "FP32", data))
            .ok();
        assert_eq!(
            (&answer["model_name"], &answer["model_version"]),
            (&json!("shade"), &json!("1"))
        );
        assert_eq!(answer["outputs"][0]["shape"], json!([1, 2]));
        assert!(answer.get("id").is_none());
        assert_eq!(scores(&answer)[0], expected);
    }

    let bytes: Vec<u8> = plain(1.0)
        .iter()
        .chain(&plain(0.0))
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let answer = server
        .infer_binary(json!([2, 4, 4, 1]), "FP32", &bytes)
        .ok();
    let both = scores(&answer);
    assert_eq!((both.len(), both[0], both[3]), (4, expected, expected));

    // The output in bytes, asked for twice over; the id comes back.
    for asked in [
        json!({"parameters": {"binary_data_output": true}}),
        json!({"outputs": [{"name": "shade", "parameters": {"binary_data": true}}]}),
    ] {
        let mut body = request(json!([1, 4, 4, 1]), "FP32", json!(plain(1.0)));
        body["id"] = json!("a \"b\"");
        body.as_object_mut()
            .unwrap()
            .extend(asked.as_object().unwrap().clone());
        let reply = server.infer(&body);
        assert_eq!(reply.header("content-type"), "application/octet-stream");
        let length: usize = reply.header(HEADER).parse().unwrap();
        let (head, tensor) = reply.body.split_at(length);
        let head: Value = serde_json::from_slice(head).unwrap();
        assert_eq!(head["id"], "a \"b\"");
        assert_eq!(head["outputs"][0]["parameters"]["binary_data_size"], 8);
        assert_eq!(tensor[..4], expected.to_le_bytes());
        assert_eq!(tensor.len(), 8);
        assert!(reply.header("server-timing").contains("compute;dur="));
    }
    // What an output says of itself goes before what holds for all.
    let mut body = request(json!([1, 4, 4, 1]), "FP32", json!(plain(1.0)));
    body["parameters"] = json!({"binary_data_output": true});
    body["outputs"] = json!([{"name": "shade", "parameters": {"binary_data": false}}]);
    assert_eq!(scores(&server.infer(&body).ok())[0], expected);

    let raw: Vec<u8> = plain(1.0).iter().flat_map(|v| v.to_le_bytes()).collect();
    let reply = server.infer_bytes("", &raw, "0");
    let length: usize = reply.header(HEADER).parse().unwrap();
    assert_eq!(reply.body[length..length + 4], expected.to_le_bytes());
}

#[test]
fn every_numeric_type_is_taken() {
    let server = Server::start();
    let expected = native(&server);
    let binary: [(&str, Vec<u8>); 13] = [
        ("BOOL", vec![1]),
        ("UINT8", vec![1]),
        ("UINT16", 1u16.to_le_bytes().into()),
        ("UINT32", 1u32.to_le_bytes().into()),
        ("UINT64", 1u64.to_le_bytes().into()),
        ("INT8", vec![1]),
        ("INT16", 1i16.to_le_bytes().into()),
        ("INT32", 1i32.to_le_bytes().into()),
        ("INT64", 1i64.to_le_bytes().into()),
        ("FP16", vec![0, 0x3c]),
        ("BF16", vec![0x80, 0x3f]),
        ("FP32", 1f32.to_le_bytes().into()),
        ("FP64", 1f64.to_le_bytes().into()),
    ];
    for (datatype, one) in binary {
        let answer = server
            .infer_binary(json!([1, 4, 4, 1]), datatype, &one.repeat(16))
            .ok();
        assert_eq!(scores(&answer)[0], expected, "{datatype}");
        let data = match datatype {
            "BOOL" => json!(vec![true; 16]),
            _ => json!(vec![1; 16]),
        };
        let answer = server
            .infer(&request(json!([1, 4, 4, 1]), datatype, data))
            .ok();
        assert_eq!(scores(&answer)[0], expected, "{datatype}");
    }
}

#[test]
fn image_files_are_decoded_and_preprocessed() {
    let server = Server::start();
    let expected = native(&server);
    let files = [png(255, 4), png(0, 9)];
    let element = |file: &Vec<u8>| [&(file.len() as u32).to_le_bytes(), file.as_slice()].concat();
    let bytes: Vec<u8> = files.iter().flat_map(element).collect();
    for shape in [json!([2]), json!([2, 1])] {
        let answer = server.infer_binary(shape, "BYTES", &bytes).ok();
        assert_eq!(answer["outputs"][0]["shape"], json!([2, 2]));
        assert_eq!(
            (scores(&answer)[0], scores(&answer)[3]),
            (expected, expected)
        );
    }
    let texts: Vec<String> = files
        .iter()
        .map(|file| BASE64_STANDARD.encode(file))
        .collect();
    let answer = server
        .infer(&request(json!([2]), "BYTES", json!(texts)))
        .ok();
    assert_eq!(
        (scores(&answer)[0], scores(&answer)[3]),
        (expected, expected)
    );

    for cut in [1, 3, bytes.len() / 2, bytes.len() - 1] {
        let error = server
            .infer_binary(json!([2]), "BYTES", &bytes[..cut])
            .error(400);
        assert!(error.contains("not 2 elements"), "{error}");
    }
    let error = server.infer_binary(json!([1]), "BYTES", &bytes).error(400);
    assert!(error.contains("not 1 elements"), "{error}");
    let huge = [&u32::MAX.to_le_bytes()[..], b"x"].concat();
    server.infer_binary(json!([1]), "BYTES", &huge).error(400);
    let error = server
        .infer_binary(json!([1]), "BYTES", &element(&b"no image".to_vec()))
        .error(400);
    assert!(error.contains("not an image"), "{error}");
}

#[test]
fn classes_are_named_with_their_probabilities() {
    let server = Server::start();
    let expected = native(&server);
    let mut body = request(
        json!([2, 4, 4, 1]),
        "FP32",
        json!([plain(1.0), plain(0.0)].concat()),
    );
    body["outputs"] = json!([{"name": "shade", "parameters": {"classification": 1}}]);
    let answer = server.infer(&body).ok();
    let output = &answer["outputs"][0];
    assert_eq!(
        (&output["datatype"], &output["shape"]),
        (&json!("BYTES"), &json!([2, 1]))
    );
    assert_eq!(
        output["data"],
        json!([format!("{expected}:0:light"), format!("{expected}:1:dark")])
    );

    // More than there are are all; in bytes each has its length before it.
    body["outputs"] =
        json!([{"name": "shade", "parameters": {"classification": 9, "binary_data": true}}]);
    let reply = server.infer(&body);
    let length: usize = reply.header(HEADER).parse().unwrap();
    let head: Value = serde_json::from_slice(&reply.body[..length]).unwrap();
    assert_eq!(head["outputs"][0]["shape"], json!([2, 2]));
    let first = format!("{expected}:0:light");
    let tensor = &reply.body[length..];
    assert_eq!(tensor[..4], (first.len() as u32).to_le_bytes());
    assert_eq!(&tensor[4..4 + first.len()], first.as_bytes());
}

#[test]
fn logits_are_given_as_they_are_and_classes_as_probabilities() {
    let server = Server::start();
    let expected = native(&server);
    let repository = Repository::open(server.folder.path().join("models")).unwrap();
    repository.publish("logits", &logits()).unwrap();
    let load = "/v2/repository/models/logits/load";
    server.post(load, "application/json", b"{}").error(401);
    assert_eq!(server.admin_post(load, &json!({})).status, 200);

    let mut body = request(json!([1, 4, 4, 1]), "FP32", json!(plain(1.0)));
    let path = "/v2/models/logits/infer";
    let answer = server.post(path, "", body.to_string().as_bytes()).ok();
    assert_eq!(scores(&answer), [2.0, -2.0]);
    body["outputs"] = json!([{"name": "shade", "parameters": {"classification": 1}}]);
    let answer = server.post(path, "", body.to_string().as_bytes()).ok();
    let class = answer["outputs"][0]["data"][0].as_str().unwrap();
    let (probability, label) = class.split_once(':').unwrap();
    assert_eq!(label, "0:light");
    assert!((probability.parse::<f32>().unwrap() - expected).abs() < 1e-6);
}

#[test]
fn not_a_number_goes_in_and_out_as_python_writes_it() {
    let server = Server::start();
    let numbers = "NaN".to_owned() + &",1".repeat(15);
    let body = format!(
        r#"{{"inputs":[{{"name":"input_layer","shape":[1,4,4,1],"datatype":"FP32","data":[{numbers}]}}]}}"#
    );
    let reply = server.post(INFER, "application/json", body.as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(
        reply.text().contains(r#""data":[NaN,NaN]"#),
        "{}",
        reply.text()
    );
    let infinite = body.replace("NaN", "-Infinity");
    let reply = server.post(INFER, "application/json", infinite.as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.text());
    let error = server
        .post(
            INFER,
            "application/json",
            body.replace("NaN", "nan").as_bytes(),
        )
        .error(400);
    assert!(error.contains("expected"), "{error}");
}

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

#[test]
fn bodies_come_and_go_compressed() {
    let server = Server::with(Settings {
        http: HttpConfig {
            max_body_bytes: 1 << 20,
            ..HttpConfig::default()
        },
        ..Settings::default()
    });
    let expected = native(&server);
    let bytes: Vec<u8> = plain(1.0)
        .repeat(64)
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let json = json!({"inputs": [{
        "name": "input_layer", "shape": [64, 4, 4, 1], "datatype": "FP32",
        "parameters": {"binary_data_size": bytes.len()},
    }]})
    .to_string();
    let body = [json.as_bytes(), &bytes].concat();
    let gzip = |body: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    };
    let deflate = |body: &[u8]| {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    };
    let send = |body: &[u8], encoding: &str, accept: &str| {
        let request = server.agent.post(server.url(INFER));
        // The header counts what is unpacked.
        let request = request.header(HEADER, json.len().to_string());
        let request = request
            .header("content-encoding", encoding)
            .header("accept-encoding", accept);
        Reply::from(request.send(body).unwrap())
    };
    for (packed, encoding) in [(gzip(&body), "gzip"), (deflate(&body), "deflate")] {
        let answer = send(&packed, encoding, "identity").ok();
        assert_eq!(scores(&answer)[126], expected);
    }
    // The answer is worth compressing; brotli is never chosen.
    let reply = send(&gzip(&body), "gzip", "br, deflate");
    assert_eq!(reply.header("content-encoding"), "deflate");
    let mut unpacked = String::new();
    std::io::Read::read_to_string(
        &mut flate2::read::ZlibDecoder::new(&reply.body[..]),
        &mut unpacked,
    )
    .unwrap();
    assert_eq!(
        scores(&serde_json::from_str(&unpacked).unwrap())[126],
        expected
    );
    assert_eq!(
        send(&gzip(&body), "gzip", "br").header("content-encoding"),
        ""
    );
    // Errors stay readable for clients that unpack nothing.
    let reply = send(&gzip(b"{"), "gzip", "gzip, deflate, br");
    assert_eq!(reply.header("content-encoding"), "");
    reply.error(400);

    send(&gzip(&vec![b' '; 2 << 20]), "gzip", "identity").error(413);
    send(b"no gzip", "gzip", "identity").error(400);
    send(&body, "br", "identity").error(400);
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
