//! More than the server can do, and its end, over real connections.

use std::time::{Duration, Instant};

use irori::http::HttpConfig;
use irori::serving::EngineConfig;
use serde_json::json;

use super::health::eventually;
use super::{Server, Settings, form, png};

/// A server whose images wait for each other so long.
fn waiting(delay: Duration, queue_capacity: usize, http: HttpConfig) -> Server {
    Server::with(Settings {
        http,
        engine: EngineConfig {
            queue_capacity,
            max_batch: 8,
            max_queue_delay: delay,
            ..Settings::default().engine
        },
        ..Settings::default()
    })
}

#[test]
fn a_full_queue_answers_429_with_when_to_come_back() {
    let server = waiting(Duration::from_millis(1500), 2, HttpConfig::default());
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| server.predict("/predict", &png(255, 4)).ok()))
            .collect();
        eventually("two images wait", || {
            server
                .get("/metrics")
                .text()
                .contains("irori_queue_depth{model=\"shade\"} 2")
        });
        let image = png(0, 4);
        let (content_type, body) =
            form(&[("a", Some("a.png"), &image), ("b", Some("b.png"), &image)]);
        for refused in [
            server.predict("/predict", &image),
            server.post("/predict", &content_type, &body),
        ] {
            let seconds: u64 = refused.header("retry-after").parse().unwrap();
            assert!((1..=60).contains(&seconds), "{seconds}");
            let detail = refused.problem(429, "queue_full");
            assert!(
                detail.contains(&format!("in {seconds} seconds")),
                "{detail}"
            );
        }
        // In the form of the protocol spoken, whether it is one image or several.
        for images in [1, 2] {
            let plain = vec![vec![vec![[0.5]; 4]; 4]; images];
            let tensor = json!({"inputs": [{
                "name": "input_layer", "shape": [images, 4, 4, 1], "datatype": "FP32", "data": plain,
            }]});
            let instances = json!({"instances": plain});
            for (path, body) in [
                ("/v2/models/shade/infer", &tensor),
                ("/v2/models/shade/versions/1/infer", &tensor),
                ("/v1/models/shade:predict", &instances),
                ("/v1/models/shade/versions/1:predict", &instances),
            ] {
                let body = body.to_string();
                let refused = server.post(path, "application/json", body.as_bytes());
                let seconds: u64 = refused.header("retry-after").parse().unwrap();
                assert!((1..=60).contains(&seconds), "{path}: {seconds}");
                let error = refused.error(429);
                assert!(error.contains("the queue is full"), "{error}");
            }
        }
        for client in clients {
            assert_eq!(client.join().unwrap()["predictions"][0]["label"], "light");
        }
    });
    server.predict("/predict", &png(0, 4)).ok();
}

#[test]
fn an_answer_that_takes_too_long_is_given_up() {
    let config = HttpConfig {
        request_timeout: Duration::from_millis(200),
        ..Default::default()
    };
    let server = waiting(Duration::from_secs(60), 8, config);
    let asked = Instant::now();
    let late = server.predict("/predict", &png(255, 4));
    assert!(asked.elapsed() < Duration::from_secs(20));
    let detail = late.problem(504, "deadline_exceeded");
    assert!(detail.contains("--request-timeout"), "{detail}");
}

#[test]
fn a_server_that_is_asked_to_stop_is_first_unready_and_then_closed() {
    let mut server = waiting(
        Duration::ZERO,
        8,
        HttpConfig {
            drain_grace: Duration::from_millis(1000),
            ..Default::default()
        },
    );
    server.ask_to_stop();
    let asked = Instant::now();
    eventually("it is not ready", || {
        server.get("/health/ready").status == 503
    });
    // Who has not noticed yet is still served.
    server.predict("/predict", &png(255, 4)).ok();
    server.get("/health/ready").problem(503, "draining");
    server.wait();
    let took = asked.elapsed();
    assert!(
        (Duration::from_millis(1000)..Duration::from_secs(20)).contains(&took),
        "{took:?}"
    );
}
