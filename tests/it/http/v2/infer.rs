//! Tensors of every type and image files, in JSON and in bytes, and what is answered.

use std::io::Write;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use irori::http::HttpConfig;
use irori::repository::Repository;
use serde_json::{Value, json};

use super::{HEADER, INFER, native, plain, request, scores};
use crate::http::{Reply, Server, Settings, logits, png};

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
