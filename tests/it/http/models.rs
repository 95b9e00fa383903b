//! What is served, and what it is worth.

use std::fs;

use serde_json::json;

use super::{Server, Settings};

#[test]
fn models_are_listed_and_described() {
    let server = Server::with(Settings {
        versions: 2,
        ..Settings::default()
    });
    assert_eq!(
        server.get("/models").ok(),
        json!({"default": "shade", "models": [{"model": "shade", "state": "serving", "version": 2}]})
    );
    let model = server.get("/models/shade").ok();
    assert_eq!(model["state"], "serving");
    assert_eq!(model["pinned"], false);
    assert_eq!(
        model["versions"],
        json!([{"version": 1, "state": "ok"}, {"version": 2, "state": "ok"}])
    );
    let serving = &model["serving"];
    assert_eq!(serving["version"], 2);
    assert_eq!(serving["labels"], json!(["pale", "dark"]));
    assert_eq!(
        serving["input"],
        json!({"height": 4, "width": 4, "channels": 1})
    );
    assert_eq!(serving["parameters"], 4);
    assert_eq!(serving["loaded_bytes"], 16);
    assert_eq!(serving["accuracy"], 0.75);
    assert_eq!(serving["lineage"]["origin"], "trained");
    assert_eq!(serving["preprocessing"]["resize"]["mode"], "stretch");

    assert_eq!(
        server.get("/models/shade/versions/1").ok()["labels"],
        json!(["light", "dark"])
    );
    server.get("/models/cats").problem(404, "model_not_found");
    server
        .get("/models/shade/versions/3")
        .problem(404, "version_not_found");
}

#[test]
fn evaluations_are_read_as_figures_and_as_pictures() {
    let server = Server::with(Settings {
        versions: 2,
        ..Settings::default()
    });
    for path in [
        "/models/shade/evaluation",
        "/models/shade/versions/1/evaluation",
    ] {
        let evaluation = server.get(path).ok();
        assert_eq!(evaluation["accuracy"], 0.75);
        assert_eq!(evaluation["loss"], 0.25);
        assert_eq!(evaluation["confusion_matrix"], json!([[2, 0], [1, 1]]));
        for picture in ["confusion.svg", "history.svg"] {
            let reply = server.get(&format!("{path}/{picture}"));
            assert_eq!(
                (reply.status, reply.header("content-type")),
                (200, "image/svg+xml")
            );
            assert!(reply.text().starts_with("<svg"), "{}", reply.text());
        }
    }
    server
        .get("/models/shade/versions/9/evaluation")
        .problem(404, "version_not_found");
    server
        .get("/models/cats/evaluation/confusion.svg")
        .problem(404, "model_not_found");
}

#[test]
fn a_broken_version_is_reported_and_the_others_are_served() {
    let server = Server::with(Settings {
        versions: 2,
        ..Settings::default()
    });
    let folder = server.folder.path().join("models/shade/1");
    fs::write(folder.join("card.json"), "{").unwrap();
    let model = server.get("/models/shade").ok();
    assert_eq!(model["versions"][0]["state"], "broken");
    assert_eq!(model["versions"][0]["code"], "file_malformed");
    assert_eq!(model["state"], "serving");
    let detail = server
        .get("/models/shade/versions/1")
        .problem(503, "version_broken");
    assert!(detail.contains("card.json"), "{detail}");
    assert!(!detail.contains(folder.to_str().unwrap()), "{detail}");
}
