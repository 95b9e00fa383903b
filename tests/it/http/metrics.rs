//! What dashboards read.

use std::collections::HashSet;

use super::{Reply, Server, png};

fn read(server: &Server, accept: &str) -> Reply {
    let request = server.agent.get(server.url("/metrics"));
    request.header("accept", accept).call().unwrap().into()
}

#[test]
fn the_text_is_whole_and_counts_what_happened() {
    let server = Server::start();
    server.predict("/predict", &png(255, 4)).ok();
    server
        .predict("/predict", b"text")
        .problem(422, "image_unrecognised");
    server
        .get("/models/cats/evaluation")
        .problem(404, "model_not_found");

    let reply = read(&server, "*/*");
    assert_eq!(
        reply.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = reply.text();
    for line in [
        "irori_predictions_total{model=\"shade\",version=\"1\"} 1",
        "irori_images_total{model=\"shade\",version=\"1\"} 1",
        "irori_http_requests_total{route=\"/predict\",method=\"POST\",status=\"200\"} 1",
        "irori_http_requests_total{route=\"/predict\",method=\"POST\",status=\"422\"} 1",
        "irori_http_requests_total{route=\"/models/{model}/evaluation\",method=\"GET\",status=\"404\"} 1",
        "irori_rejections_total{code=\"image_unrecognised\"} 1",
        "irori_prediction_failures_total{model=\"shade\",version=\"1\",code=\"image_unrecognised\"} 1",
        "irori_prediction_seconds_count{model=\"shade\",version=\"1\"} 1",
        "irori_model_state{model=\"shade\",version=\"1\",state=\"serving\"} 1",
        "irori_model_state{model=\"shade\",version=\"1\",state=\"unloaded\"} 0",
        "irori_http_request_duration_seconds_count{route=\"/predict\",method=\"POST\"} 2",
        "irori_compute_seconds_count{model=\"shade\",version=\"1\"} 1",
        "irori_queue_seconds_count{model=\"shade\",version=\"1\"} 1",
        "irori_decode_seconds_count{model=\"shade\",version=\"1\"} 1",
        "irori_batch_size_sum{model=\"shade\",version=\"1\"} 1.0",
        "irori_queue_depth{model=\"shade\"} 0.0",
        "irori_queue_capacity 256.0",
        "irori_model_accuracy{model=\"shade\",version=\"1\"} 0.75",
        "irori_model_loss{model=\"shade\",version=\"1\"} 0.25",
        "irori_model_loaded_bytes{model=\"shade\",version=\"1\"} 16.0",
        "irori_jobs_running 0.0",
        concat!(
            "irori_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"} 1"
        ),
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
    assert!(
        text.contains("irori_compute_seconds_bucket{le=\"0.0001\",model=\"shade\",version=\"1\"} "),
        "{text}"
    );
    assert!(text.contains("irori_model_macro_f1{"));
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_open_fds",
    ] {
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name} ")))
            .unwrap();
        assert!(value.parse::<f64>().unwrap() >= 0.0, "{name} {value}");
    }

    // Each sample follows the head of its family, and each family has one head.
    let mut families = HashSet::new();
    let mut family = "";
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# HELP ") {
            family = head.split(' ').next().unwrap();
            assert!(families.insert(family), "{family} comes twice");
        } else if let Some(head) = line.strip_prefix("# TYPE ") {
            let (name, kind) = head.split_once(' ').unwrap();
            assert_eq!(name, family);
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else {
            assert!(line.starts_with(family), "{line} is not of {family}");
            let value = line.rsplit_once(' ').unwrap().1;
            assert!(value == "+Inf" || value.parse::<f64>().is_ok(), "{line}");
        }
    }
}

#[test]
fn json_and_openmetrics_have_the_same_figures() {
    let server = Server::start();
    server.predict("/predict", &png(255, 4)).ok();
    let json = read(&server, "application/json").ok();
    let images = &json["irori_images_total"]["series"][0];
    assert_eq!(images["labels"]["model"], "shade");
    assert_eq!(images["value"], 1);
    assert_eq!(json["irori_compute_seconds"]["series"][0]["count"], 1);
    let open_metrics = read(
        &server,
        "application/openmetrics-text;version=1.0.0,text/plain;q=0.3",
    );
    assert_eq!(
        open_metrics.header("content-type"),
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(open_metrics.text().ends_with("# EOF\n"));
    assert!(
        open_metrics
            .text()
            .contains("irori_images_total{model=\"shade\",version=\"1\"} 1\n")
    );
}

#[test]
fn nobody_makes_series_by_guessing() {
    let server = Server::start();
    let count = || {
        read(&server, "*/*")
            .text()
            .lines()
            .filter(|line| !line.starts_with('#'))
            .count()
    };
    server.get("/wp-admin/1").problem(404, "not_found");
    server
        .get("/models/guess-1")
        .problem(404, "model_not_found");
    server
        .predict("/models/guess-1/predict", b"x")
        .problem(404, "model_not_found");
    server
        .post("/v1/models/guess-1:guess-1", "", b"x")
        .error(400);
    server
        .post("/v1/models/guess-1:predict", "", b"x")
        .error(404);
    count();
    let before = count();
    for guess in 2..20 {
        server
            .post(&format!("/v1/models/guess-{guess}:guess-{guess}"), "", b"x")
            .error(400);
        server
            .post(&format!("/v1/models/guess-{guess}:predict"), "", b"x")
            .error(404);
        server
            .get(&format!("/wp-admin/{guess}"))
            .problem(404, "not_found");
        server
            .get(&format!("/models/guess-{guess}"))
            .problem(404, "model_not_found");
        server
            .predict(&format!("/models/guess-{guess}/predict"), b"x")
            .problem(404, "model_not_found");
    }
    assert_eq!(count(), before);
}

#[test]
fn requests_under_v1_are_counted_by_their_verbs() {
    let server = Server::start();
    let body = br#"{"instances": []}"#;
    for path in [
        "/v1/models/shade:predict",
        "/v1/models/shade/versions/1:predict",
        "/v1/models/shade:guess",
    ] {
        server.post(path, "", body).error(400);
    }
    server.post("/v1/models/shade:regress", "", body).error(501);
    server.get("/v1/models/shade").ok();
    let requests = |labels: &str| value(&server, &format!("irori_http_requests_total{{{labels}}}"));
    for labels in [
        r#"route="/v1/models/{model}:predict",method="POST",status="400""#,
        r#"route="/v1/models/{model}/versions/{version}:predict",method="POST",status="400""#,
        r#"route="/v1/models/{model}:regress",method="POST",status="501""#,
        r#"route="/v1/models/{model}",method="POST",status="400""#,
        r#"route="/v1/models/{model}",method="GET",status="200""#,
    ] {
        assert_eq!(requests(labels), 1.0, "{labels}");
    }
}

/// The value of a series, 0 where there is none.
fn value(server: &Server, series: &str) -> f64 {
    let reply = read(server, "*/*");
    let mut lines = reply.text().lines();
    let value = lines.find_map(|line| line.strip_prefix(series));
    value.map_or(0.0, |value| value.trim().parse().unwrap())
}

#[test]
fn a_batch_counts_once_and_each_of_its_images_too() {
    let server = Server::start();
    let white = png(255, 4);
    let parts: Vec<(&str, Option<&str>, &[u8])> =
        (0..8).map(|_| ("x", Some("a.png"), &white[..])).collect();
    let (content_type, body) = super::form(&parts);
    for _ in 0..5 {
        server.post("/predict", &content_type, &body).ok();
    }
    let of_shade = |name: &str| value(&server, &format!("{name}{{model=\"shade\",version=\"1\"}}"));
    assert_eq!(of_shade("irori_predictions_total"), 5.0);
    assert_eq!(of_shade("irori_images_total"), 40.0);
    assert_eq!(of_shade("irori_prediction_seconds_count"), 5.0);
    // Every image is in one batch, so the batches' sizes add up to the images.
    assert_eq!(of_shade("irori_batch_size_sum"), 40.0);
    assert!((5.0..=40.0).contains(&of_shade("irori_batch_size_count")));
}

#[test]
fn the_series_of_a_deleted_version_go_and_the_others_stay() {
    let server = Server::with(super::Settings {
        versions: 2,
        ..super::Settings::default()
    });
    for version in [1, 2] {
        let path = format!("/models/shade/versions/{version}/predict");
        server.predict(&path, &png(255, 4)).ok();
    }
    let series = |version: u32| {
        let label = format!("version=\"{version}\"");
        let text = read(&server, "*/*").text().to_owned();
        text.lines().filter(|line| line.contains(&label)).count()
    };
    assert!(series(1) > 0 && series(2) > 0);
    // The newest one is served; the other one was asked for by its number.
    let state = |series: &str| {
        value(
            &server,
            &format!("irori_model_state{{model=\"shade\",{series}}}"),
        )
    };
    assert_eq!(state("version=\"2\",state=\"serving\""), 1.0);
    assert_eq!(state("version=\"1\",state=\"loaded\""), 1.0);
    assert_eq!(state("version=\"1\",state=\"serving\""), 0.0);
    let deleted = server.admin_delete("/admin/models/shade/versions/1");
    assert!(deleted.status < 300, "{deleted:?}");
    assert_eq!(series(1), 0);
    assert!(series(2) > 0);
}
