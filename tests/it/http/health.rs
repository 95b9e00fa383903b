//! Routes, health and the end of the server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Server, Settings, png};
use irori::http::HttpConfig;
use serde_json::Value;

#[test]
fn every_refusal_of_the_router_is_a_problem() {
    let server = Server::start();
    let detail = server.get("/predcit").problem(404, "not_found");
    assert!(
        detail.contains("/predcit") && detail.contains("/openapi.yaml"),
        "{detail}"
    );
    let refused = server.get("/predict");
    assert_eq!(refused.header("allow"), "POST");
    let detail = refused.problem(405, "method_not_allowed");
    assert!(detail.contains("GET"), "{detail}");
    server.get("/docs/nothing.js").problem(404, "not_found");
}

#[test]
fn the_contract_and_its_page_come_from_the_server() {
    let server = Server::start();
    let json = server.get("/openapi.json").ok();
    assert!(json["paths"]["/predict"]["post"].is_object());
    let yaml = server.get("/openapi.yaml");
    assert_eq!(yaml.header("content-type"), "application/yaml");
    assert!(yaml.text().contains("/models/{model}/predict:"));
    let page = server.get("/docs");
    assert_eq!(page.status, 200, "the redirect to the page is followed");
    assert!(page.text().contains("swagger-ui-bundle.js"));
    assert!(
        page.header("content-security-policy")
            .contains("default-src 'self'")
    );
    let script = server.get("/docs/swagger-initializer.js");
    assert!(script.text().contains("/openapi.json"));
}

/// The files that a JSON document refers to by `externalValue`.
fn files(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => {
            let own = members.get("externalValue").and_then(Value::as_str);
            let inner = members.values().flat_map(files);
            own.map(str::to_owned).into_iter().chain(inner).collect()
        }
        Value::Array(items) => items.iter().flat_map(files).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_examples_that_are_files_come_from_the_server_too() {
    let server = Server::start();
    let mut found = files(&server.get("/openapi.json").ok());
    found.sort();
    found.dedup();
    assert!(found.len() >= 10, "{found:?}");
    for address in found {
        let reply = server.get(&address);
        assert_eq!(reply.status, 200, "{address}");
        assert!(reply.body.len() > 100, "{address}");
    }
    let digit = server.get("/docs/examples/digit.png");
    assert!(digit.body.starts_with(b"\x89PNG"));
    server
        .get("/docs/examples/cat.png")
        .problem(404, "not_found");
}

#[test]
fn a_body_that_does_not_arrive_is_given_up() {
    let server = Server::with(Settings {
        http: HttpConfig {
            body_timeout: Duration::from_millis(200),
            ..Default::default()
        },
        ..Settings::default()
    });
    let mut connection = TcpStream::connect(server.address()).unwrap();
    let head =
        "POST /predict HTTP/1.1\r\nhost: it\r\ncontent-length: 100\r\nconnection: close\r\n\r\n";
    connection.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("request_timeout"),
        "{answer}"
    );
}

#[test]
fn a_server_that_is_asked_to_stop_finishes_what_it_accepted() {
    let mut server = Server::start();
    assert_eq!(server.get("/health/live").ok()["status"], "alive");
    assert_eq!(server.get("/health/ready").ok()["status"], "ready");

    // A request whose second half is still to come.
    let image = png(255, 4);
    let mut accepted = TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "POST /predict HTTP/1.1\r\nhost: it\r\ncontent-length: {}\r\n\r\n",
        image.len()
    );
    accepted.write_all(head.as_bytes()).unwrap();
    accepted.write_all(&image[..10]).unwrap();
    let in_flight = "irori_http_requests_in_flight 2";
    eventually("the request is accepted", || {
        server.get("/metrics").text().contains(in_flight)
    });

    server.ask_to_stop();
    eventually("the server drains", || {
        server.get("/health/ready").status == 503
    });
    server.get("/health/ready").problem(503, "draining");
    server.predict("/predict", &image).problem(503, "draining");
    server.get("/v2/health/ready").error(503);
    server.get("/v2/health/live").ok();
    server.predict("/v2/models/shade/infer", b"{}").error(503);
    server.predict("/v1/models/shade:predict", b"{}").error(503);
    server.get("/health/live").ok();

    accepted.write_all(&image[10..]).unwrap();
    let mut answer = String::new();
    accepted.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"light\""),
        "{answer}"
    );
    server.wait();
}

#[test]
fn the_drain_timeout_bounds_the_wait() {
    let mut server = Server::with(Settings {
        http: HttpConfig {
            drain_timeout: Duration::from_millis(100),
            ..Default::default()
        },
        ..Settings::default()
    });
    let mut stuck = TcpStream::connect(server.address()).unwrap();
    stuck
        .write_all(b"POST /predict HTTP/1.1\r\nhost: it\r\ncontent-length: 9\r\n\r\n")
        .unwrap();
    let in_flight = "irori_http_requests_in_flight 2";
    eventually("the request is accepted", || {
        server.get("/metrics").text().contains(in_flight)
    });
    let asked = Instant::now();
    server.ask_to_stop();
    server.wait();
    assert!(asked.elapsed() < Duration::from_secs(5));
}

pub(super) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within 10 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}
