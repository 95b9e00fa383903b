//! Models that come in as files and go out as files.

use serde_json::json;

use super::{Server, Settings, form, png};

fn probability(server: &Server, model: &str) -> f64 {
    let answer = server
        .predict(&format!("/models/{model}/predict"), &png(200, 4))
        .ok();
    answer["predictions"][0]["probability"].as_f64().unwrap()
}

#[test]
fn a_model_goes_out_and_comes_in_unchanged() {
    let server = Server::start();
    let original = probability(&server, "shade");
    for format in ["h5", "keras"] {
        let file = server.admin_get(&format!(
            "/admin/models/shade/versions/1/export?format={format}"
        ));
        assert_eq!(file.status, 200, "{file:?}");
        assert_eq!(
            file.header("content-disposition"),
            format!("attachment; filename=\"shade-1.{format}\"")
        );
        let path = format!("/admin/models/{format}-copy/versions?labels=light,dark");
        let created = server.admin_send(&path, "application/octet-stream", &file.body);
        assert_eq!(created.status, 201, "{created:?}");
        assert_eq!(
            created.header("location"),
            format!("/models/{format}-copy/versions/1")
        );
        assert_eq!(
            created.json(),
            json!({"model": format!("{format}-copy"), "version": 1})
        );
        let copy = server.get(&format!("/models/{format}-copy")).ok();
        assert_eq!(copy["serving"]["labels"], json!(["light", "dark"]));
        assert_eq!(copy["serving"]["lineage"]["origin"], "imported");
        assert_eq!(copy["serving"]["lineage"]["source"]["format"], format);
        assert_eq!(probability(&server, &format!("{format}-copy")), original);
        server
            .get(&format!("/models/{format}-copy/evaluation"))
            .problem(404, "evaluation_not_found");
        server
            .get(&format!("/models/{format}-copy/evaluation/history.svg"))
            .problem(404, "history_not_found");
    }
    // With more than one model, one has to be named.
    server.predict("/predict", &png(200, 4)).ok();
}

#[test]
fn weights_alone_come_with_their_architecture() {
    let server = Server::start();
    let export = |format: &str| {
        server
            .admin_get(&format!(
                "/admin/models/shade/versions/1/export?format={format}"
            ))
            .body
    };
    let (weights, architecture) = (export("safetensors"), export("json"));
    let path = "/admin/models/copy/versions";
    server
        .admin_send(path, "application/octet-stream", &weights)
        .problem(422, "architecture_missing");
    let preprocessing = json!({"scale": 0.0, "offset": 1.0}).to_string();
    let (content_type, body) = form(&[
        ("file", Some("weights.safetensors"), &weights),
        ("architecture", None, &architecture),
        ("labels", None, br#"["bright, very", "dark"]"#),
        ("preprocessing", None, preprocessing.as_bytes()),
    ]);
    assert_eq!(server.admin_send(path, &content_type, &body).status, 201);
    // This preprocessing makes every image white.
    let answer = server.predict("/models/copy/predict", &png(0, 4)).ok();
    assert_eq!(answer["predictions"][0]["label"], "bright, very");
    assert!(
        (answer["predictions"][0]["probability"].as_f64().unwrap() - 0.982_013_79).abs() < 1e-7
    );
}

#[test]
fn what_is_refused_publishes_nothing() {
    let server = Server::with(Settings {
        versions: 1,
        ..Settings::default()
    });
    let file = server
        .admin_get("/admin/models/shade/versions/1/export?format=keras")
        .body;
    let path = "/admin/models/new/versions";
    let binary = "application/octet-stream";
    server.admin_send(path, binary, b"").problem(400, "no_file");
    server
        .admin_send(path, binary, b"garbage, not a model")
        .problem(422, "model_file_unrecognized");
    server
        .admin_send(path, binary, &file[..file.len() / 2])
        .problem(422, "keras_archive_malformed");
    let detail = server
        .admin_send(&format!("{path}?labels=a,b,c"), binary, &file)
        .problem(422, "labels_mismatch");
    assert!(detail.contains('3') && detail.contains('2'), "{detail}");
    server
        .admin_send(&format!("{path}?label=a"), binary, &file)
        .problem(400, "invalid_query");
    server
        .admin_send("/admin/models/.new/versions", binary, &file)
        .problem(422, "invalid_model_name");
    let (content_type, body) = form(&[("file", Some("a.keras"), &file), ("lables", None, b"a,b")]);
    let detail = server
        .admin_send(path, &content_type, &body)
        .problem(422, "invalid_request");
    assert!(detail.contains("lables"), "{detail}");
    server.get("/models/new").problem(404, "model_not_found");
    server
        .admin_get("/admin/models/shade/versions/1/export")
        .problem(400, "invalid_query");
    server
        .admin_get("/admin/models/shade/versions/1/export?format=onnx")
        .problem(400, "invalid_query");
    server
        .admin_get("/admin/models/shade/versions/7/export?format=h5")
        .problem(404, "version_not_found");
}
