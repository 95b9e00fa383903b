//! Predictions: three forms of one request, and every way to get it wrong.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Barrier};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{Server, Settings, form, png};

const WHITE: u8 = 255;
const BLACK: u8 = 0;

fn labels(answer: &Value) -> Vec<&str> {
    let predictions = answer["predictions"].as_array().unwrap();
    predictions
        .iter()
        .map(|p| p["label"].as_str().unwrap())
        .collect()
}

#[test]
fn the_three_forms_give_the_same_answer() {
    let server = Server::start();
    let white = png(WHITE, 4);
    let raw = server.post("/predict", "image/png", &white).ok();
    assert_eq!(raw["model"], "shade");
    assert_eq!(raw["version"], 1);
    let prediction = &raw["predictions"][0];
    assert_eq!(prediction["label"], "light");
    assert_eq!(prediction["index"], 0);
    // The softmax of 2 and -2.
    assert!((prediction["probability"].as_f64().unwrap() - 0.982_013_79).abs() < 1e-7);
    assert_eq!(prediction["top"].as_array().unwrap().len(), 2);
    assert_eq!(prediction["top"][0]["label"], "light");
    assert!(prediction.get("image").is_none());

    // What curl says where the user says nothing.
    for content_type in [
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "IMAGE/Jpeg; q=1",
    ] {
        assert_eq!(server.post("/predict", content_type, &white).ok(), raw);
    }
    let json = json!({"images": [{"b64": BASE64_STANDARD.encode(&white)}]}).to_string();
    assert_eq!(
        server
            .post("/predict", "application/json", json.as_bytes())
            .ok(),
        raw
    );
    let unpadded = json
        .trim_end_matches("=\"}]}")
        .trim_end_matches('=')
        .to_owned()
        + "\"}]}";
    if unpadded != json {
        assert_eq!(
            server
                .post("/predict", "application/json", unpadded.as_bytes())
                .ok(),
            raw
        );
    }
    let (content_type, body) = form(&[("whatever", Some("a.png"), &white)]);
    let mut multipart = server.post("/predict", &content_type, &body).ok();
    let name = multipart["predictions"][0]
        .as_object_mut()
        .unwrap()
        .remove("image");
    assert_eq!(name, Some(json!("a.png")));
    assert_eq!(multipart, raw);
}

#[test]
fn several_images_are_answered_in_their_order() {
    let server = Server::start();
    let (white, black) = (png(WHITE, 9), png(BLACK, 3));
    let (content_type, body) = form(&[
        ("file", Some("w.png"), &white),
        ("note", None, b"not a file"),
        ("file", Some("b \u{e9}.png"), &black),
        ("other", Some("w.png"), &white),
    ]);
    let answer = server
        .post("/models/shade/predict", &content_type, &body)
        .ok();
    assert_eq!(labels(&answer), ["light", "dark", "light"]);
    let names: Vec<&Value> = answer["predictions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["image"])
        .collect();
    assert_eq!(names, ["w.png", "b \u{e9}.png", "w.png"]);

    let images = [&black, &white].map(|image| json!({"b64": BASE64_STANDARD.encode(image)}));
    let json = json!({"images": images}).to_string();
    let answer = server
        .post("/predict?top_k=1", "application/json", json.as_bytes())
        .ok();
    assert_eq!(labels(&answer), ["dark", "light"]);
    assert_eq!(answer["predictions"][0]["top"].as_array().unwrap().len(), 1);
}

#[test]
fn a_version_answers_for_itself() {
    let server = Server::with(Settings {
        versions: 2,
        ..Settings::default()
    });
    let white = png(WHITE, 4);
    let newest = server.predict("/models/shade/predict", &white).ok();
    assert_eq!(
        (newest["version"].as_u64(), labels(&newest)),
        (Some(2), vec!["pale"])
    );
    let first = server
        .predict("/models/shade/versions/1/predict", &white)
        .ok();
    assert_eq!(
        (first["version"].as_u64(), labels(&first)),
        (Some(1), vec!["light"])
    );
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let server = Server::start();
    let white = png(WHITE, 4);
    let detail = server
        .predict("/models/cats/predict", &white)
        .problem(404, "model_not_found");
    assert!(
        detail.contains("cats") && detail.contains("shade"),
        "{detail}"
    );
    let detail = server
        .predict("/models/shade/versions/7/predict", &white)
        .problem(404, "version_not_found");
    assert!(detail.contains('7') && detail.contains('1'), "{detail}");
    server
        .predict("/models/shade/versions/one/predict", &white)
        .problem(400, "invalid_path");
    server
        .predict("/models/..%2f..%2fetc/predict", &white)
        .problem(404, "model_not_found");
    let empty = Server::with(Settings {
        versions: 0,
        ..Settings::default()
    });
    empty
        .predict("/predict", &white)
        .problem(400, "model_required");
}

#[test]
fn a_query_parameter_must_be_known_and_right() {
    let server = Server::start();
    let white = png(WHITE, 4);
    let detail = server
        .predict("/predict?topk=3", &white)
        .problem(400, "invalid_query");
    assert!(
        detail.contains("topk") && detail.contains("top_k"),
        "{detail}"
    );
    server
        .predict("/predict?top_k=0", &white)
        .problem(400, "invalid_query");
    server
        .predict("/predict?top_k=-1", &white)
        .problem(400, "invalid_query");
    server.predict("/predict?top_k=99999999", &white).ok();
}

/// A PNG that says it is 50,000 pixels wide and high, and has the first bytes of them.
fn huge_header() -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let size = 50_000u32.to_be_bytes();
    let header = [&size[..], &size, &[8, 6, 0, 0, 0]].concat();
    for (name, content) in [
        (b"IHDR", &header[..]),
        (b"IDAT", b"\x78\x9c\x63\0\0\0\x01\0\x01"),
    ] {
        file.extend((content.len() as u32).to_be_bytes());
        let chunk = [name, content].concat();
        let mut checksum = flate2::Crc::new();
        checksum.update(&chunk);
        file.extend(chunk);
        file.extend(checksum.sum().to_be_bytes());
    }
    file
}

#[test]
fn what_is_no_image_has_a_code_of_its_own() {
    let server = Server::start();
    let mut truncated = png(WHITE, 64);
    truncated.truncate(truncated.len() - 20);
    server.predict("/predict", b"").problem(400, "no_image");
    server
        .post("/predict", "image/jpeg", b"plain text named .jpg\n")
        .problem(422, "image_unrecognised");
    server
        .predict("/predict", &truncated)
        .problem(422, "image_truncated");
    server
        .predict("/predict", &huge_header())
        .problem(413, "image_too_many_pixels");
    let (content_type, body) = form(&[
        ("a", Some("good.png"), &png(WHITE, 4)),
        ("b", Some("empty.png"), b""),
    ]);
    let detail = server
        .post("/predict", &content_type, &body)
        .problem(422, "image_empty");
    assert!(detail.contains("image 2"), "{detail}");
    // And the server goes on.
    server.predict("/predict", &png(WHITE, 4)).ok();
}

#[test]
fn what_is_no_request_has_a_code_of_its_own() {
    let server = Server::with(Settings {
        http: irori::http::HttpConfig {
            max_body_bytes: 4096,
            max_images_per_request: 2,
            ..Default::default()
        },
        ..Settings::default()
    });
    let white = png(WHITE, 4);
    let json = "application/json";
    let detail = server
        .post("/predict", "text/html", &white)
        .problem(415, "unsupported_media_type");
    assert!(
        detail.contains("text/html") && detail.contains("multipart/form-data"),
        "{detail}"
    );
    server
        .post("/predict", json, b"{")
        .problem(400, "invalid_json");
    let detail = server
        .post("/predict", json, br#"{"images":[{"b46":""}]}"#)
        .problem(422, "invalid_request");
    assert!(
        detail.contains("images[0]") && detail.contains("b46"),
        "{detail}"
    );
    server
        .post("/predict", json, br#"{"images":[{"b64":"!"}]}"#)
        .problem(400, "invalid_base64");
    server
        .post("/predict", json, br#"{"images":[]}"#)
        .problem(400, "no_image");
    let three = format!(r#"{{"images":[{0},{0},{0}]}}"#, r#"{"b64":""}"#);
    server
        .post("/predict", json, three.as_bytes())
        .problem(413, "too_many_images");
    let (content_type, body) = form(&[
        ("a", Some("a"), &white),
        ("b", Some("b"), &white),
        ("c", Some("c"), &white),
    ]);
    server
        .post("/predict", &content_type, &body)
        .problem(413, "too_many_images");
    server
        .post("/predict", &content_type, b"no frontier")
        .problem(400, "invalid_multipart");
    server
        .post("/predict", "multipart/form-data", &body)
        .problem(400, "invalid_multipart");
    let (content_type, body) = form(&[("note", None, b"no file")]);
    server
        .post("/predict", &content_type, &body)
        .problem(400, "no_image");

    let detail = server
        .predict("/predict", &[0; 5000])
        .problem(413, "payload_too_large");
    assert!(detail.contains("4096"), "{detail}");
    let (content_type, body) = form(&[("a", Some("a"), &[0; 5000])]);
    server
        .post("/predict", &content_type, &body)
        .problem(413, "payload_too_large");
    // Without a length announced, the limit holds too.
    let mut connection = TcpStream::connect(server.address()).unwrap();
    let head = "POST /predict HTTP/1.1\r\nhost: it\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n1388\r\n";
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(&[0; 5000]).unwrap();
    connection.write_all(b"\r\n0\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("payload_too_large"),
        "{answer}"
    );
}

#[test]
fn the_answer_says_where_the_time_went_and_carries_the_requests_id() {
    let server = Server::start();
    let white = png(WHITE, 4);
    let request = |id: &str| {
        let request = server
            .agent
            .post(server.url("/predict"))
            .header("x-request-id", id);
        super::Reply::from(request.send(&white[..]).unwrap())
    };
    let reply = request("trace-42");
    assert_eq!(reply.header("x-request-id"), "trace-42");
    let timing = reply.header("server-timing");
    let stages: Vec<&str> = timing
        .split(", ")
        .map(|stage| stage.split(';').next().unwrap())
        .collect();
    assert_eq!(stages, ["decode", "queue", "compute"], "{timing}");
    for stage in timing.split(", ") {
        let milliseconds: f64 = stage.split_once("dur=").unwrap().1.parse().unwrap();
        assert!((0.0..10_000.0).contains(&milliseconds), "{timing}");
    }
    let made = request("with space");
    assert!(made.header("x-request-id").len() == 32, "{made:?}");
    assert_eq!(made.header("x-content-type-options"), "nosniff");
}

#[test]
fn who_finds_the_queue_full_is_told_at_once_and_the_others_are_served() {
    let mut settings = Settings::default();
    settings.engine.queue_capacity = 1;
    let server = Arc::new(Server::with(settings));
    // Large enough to be decoded for a while.
    let large = Arc::new(png(WHITE, 2000));
    const CLIENTS: usize = 8;
    let barrier = Arc::new(Barrier::new(CLIENTS));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (server, large, barrier) = (server.clone(), large.clone(), barrier.clone());
            std::thread::spawn(move || {
                barrier.wait();
                server.predict("/predict", &large)
            })
        })
        .collect();
    let mut served = 0;
    for client in clients {
        let reply = client.join().unwrap();
        if reply.status == 200 {
            served += 1;
        } else {
            assert_eq!(reply.header("retry-after"), "1");
            reply.problem(429, "queue_full");
        }
    }
    assert!(
        (1..CLIENTS).contains(&served),
        "{served} of {CLIENTS} were served"
    );
    server.predict("/predict", &large).ok();
}

#[test]
fn a_request_goes_on_with_its_callers_trace() {
    let server = Server::start();
    let white = png(WHITE, 4);
    let request = |traceparent: &str| {
        let request = server
            .agent
            .post(server.url("/predict"))
            .header("traceparent", traceparent);
        let reply = super::Reply::from(request.send(&white[..]).unwrap());
        reply.header("traceresponse").to_owned()
    };
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let own = request(&format!("00-{trace}-00f067aa0ba902b7-01"));
    let fields: Vec<&str> = own.split('-').collect();
    assert_eq!((fields[0], fields[1], fields[3]), ("00", trace, "01"));
    assert!(
        fields[2].len() == 16 && fields[2] != "00f067aa0ba902b7",
        "{own}"
    );
    // One that is not as it must be begins a new trace.
    let new = request("00-00000000000000000000000000000000-00f067aa0ba902b7-01");
    assert!(new.len() == 55 && !new.contains(trace), "{new}");
    assert!(new.starts_with("00-") && new.ends_with("-00"), "{new}");
}
