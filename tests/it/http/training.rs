//! Training through HTTP alone: a data set, a job, its events, a version.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::{Value, json};

use super::{Server, Settings, bearer, png, zip};

/// The first images of Fashion-MNIST, as its four files in one archive.
fn clothes() -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fashion-mnist-small");
    let names = [
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    ];
    let files = names.map(|name| (name, fs::read(folder.join(name)).unwrap()));
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, file)| (*name, &file[..]))
        .collect();
    zip(&files)
}

fn request(dataset: &str, classes: usize) -> Value {
    json!({
        "dataset": dataset,
        "architecture": {"layers": [
            {"class_name": "MaxPooling2D", "config": {"pool_size": [2, 2], "input_shape": [28, 28, 1]}},
            {"class_name": "Flatten"},
            {"class_name": "Dense", "config": {"units": classes, "activation": "softmax"}},
        ]},
        "compile": {"optimizer": "adam", "loss": "categorical_crossentropy", "metrics": ["accuracy"]},
        "fit": {"batch_size": 50, "epochs": 4},
        "seed": 7,
    })
}

/// Follows a job to its end: name and data of each event.
fn follow(server: &Server, job: &str, known: usize) -> Vec<(String, Value)> {
    let request = server.agent.get(server.url(&format!("{job}/events")));
    let request = request
        .header("authorization", bearer())
        .header("last-event-id", known.to_string());
    let response = request.call().unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut events = Vec::new();
    let mut name = String::new();
    for line in BufReader::new(response.into_body().into_reader()).lines() {
        let line = line.unwrap();
        if let Some(event) = line.strip_prefix("event: ") {
            name = event.to_owned();
        } else if let Some(data) = line.strip_prefix("data: ") {
            events.push((name.clone(), serde_json::from_str(data).unwrap()));
        }
    }
    events
}

fn epochs(events: &[(String, Value)]) -> Vec<u64> {
    let epochs = events.iter().filter(|(name, _)| name == "epoch");
    epochs
        .map(|(_, epoch)| epoch["epoch"].as_u64().unwrap())
        .collect()
}

#[test]
fn a_model_is_trained_evaluated_and_served() {
    let server = Server::with(Settings {
        versions: 0,
        ..Settings::default()
    });
    assert_eq!(
        server
            .admin_put("/admin/datasets/clothes", &clothes())
            .status,
        201
    );
    let accepted = server.admin_post("/admin/models/fashion/train", &request("clothes", 10));
    assert_eq!(
        (accepted.status, accepted.header("location")),
        (202, "/admin/jobs/1"),
        "{}",
        accepted.text()
    );
    assert_eq!(accepted.json()["kind"], "train");

    let events = follow(&server, "/admin/jobs/1", 0);
    assert_eq!(epochs(&events), [1, 2, 3, 4]);
    let (name, job) = events.last().unwrap();
    assert_eq!(
        (name.as_str(), &job["state"]),
        ("end", &json!("succeeded")),
        "{job}"
    );
    assert_eq!(job["version"], 1);
    assert!(job["history"][3]["loss"].as_f64() < job["history"][0]["loss"].as_f64());
    // Who comes late is told the same; who comes back is told what is new.
    assert_eq!(epochs(&follow(&server, "/admin/jobs/1", 0)), [1, 2, 3, 4]);
    assert_eq!(epochs(&follow(&server, "/admin/jobs/1", 3)), [4]);

    let evaluation = server.get("/models/fashion/evaluation").ok();
    assert_eq!(evaluation["images"], 500);
    assert_eq!(evaluation["dataset"]["part"], "test");
    let accuracy = evaluation["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.5, "{accuracy}");
    let history = server.get("/models/fashion/evaluation/history.svg");
    assert_eq!(history.status, 200);
    assert_eq!(
        server.predict("/predict", &png(0, 28)).ok()["model"],
        "fashion"
    );

    let accepted = server.admin_post(
        "/admin/models/fashion/evaluate",
        &json!({"dataset": "clothes"}),
    );
    assert_eq!(
        (accepted.status, accepted.header("location")),
        (202, "/admin/jobs/2")
    );
    let events = follow(&server, "/admin/jobs/2", 0);
    let job = &events.last().unwrap().1;
    assert_eq!(
        (&job["state"], &job["kind"]),
        (&json!("succeeded"), &json!("evaluate")),
        "{job}"
    );
    assert_eq!(job["evaluation"]["accuracy"], accuracy);
    let jobs = server.admin_get("/admin/jobs").ok();
    let ids: Vec<u64> = jobs["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, [2, 1]);
}

#[test]
fn a_job_that_is_cancelled_stops_and_publishes_nothing() {
    let server = Server::with(Settings {
        versions: 0,
        ..Settings::default()
    });
    server.admin_put("/admin/datasets/clothes", &clothes());
    let mut endless = request("clothes", 10);
    endless["fit"]["epochs"] = json!(10_000);
    for _ in 0..2 {
        assert_eq!(
            server
                .admin_post("/admin/models/fashion/train", &endless)
                .status,
            202
        );
    }
    server
        .admin_delete("/admin/datasets/clothes")
        .problem(409, "dataset_in_use");
    // The first runs, the second waits for its turn; neither keeps the other from ending.
    for job in ["/admin/jobs/2", "/admin/jobs/1"] {
        assert_eq!(
            server
                .admin_post(&format!("{job}/cancel"), &json!({}))
                .status,
            200
        );
    }
    for job in ["/admin/jobs/1", "/admin/jobs/2"] {
        let events = follow(&server, job, 0);
        assert_eq!(events.last().unwrap().1["state"], "cancelled");
    }
    server
        .get("/models/fashion")
        .problem(404, "model_not_found");
    assert_eq!(server.admin_delete("/admin/datasets/clothes").status, 204);
}

#[test]
fn a_server_that_stops_ends_its_event_streams_and_its_jobs() {
    let mut server = Server::with(Settings {
        versions: 0,
        ..Settings::default()
    });
    server.admin_put("/admin/datasets/clothes", &clothes());
    let mut endless = request("clothes", 10);
    endless["fit"]["epochs"] = json!(10_000);
    server.admin_post("/admin/models/fashion/train", &endless);
    let request = server.agent.get(server.url("/admin/jobs/1/events"));
    let response = request.header("authorization", bearer()).call().unwrap();
    let stream = BufReader::new(response.into_body().into_reader());
    server.ask_to_stop();
    for line in stream.lines() {
        line.unwrap();
    }
    server.wait();
}

#[test]
fn what_can_be_refused_is_refused_before_a_job_begins() {
    let server = Server::with(Settings {
        versions: 0,
        ..Settings::default()
    });
    let path = "/admin/models/fashion/train";
    let detail = server
        .admin_post(path, &request("clothes", 10))
        .problem(404, "dataset_not_found");
    assert!(detail.contains("clothes"), "{detail}");
    server.admin_put("/admin/datasets/clothes", &clothes());
    let with = |change: &dyn Fn(&mut Value)| {
        let mut request = request("clothes", 10);
        change(&mut request);
        server.admin_post(path, &request)
    };
    let detail = with(&|r| r["datset"] = json!(1)).problem(422, "invalid_request");
    assert!(detail.contains("datset"), "{detail}");
    let detail =
        with(&|r| r["compile"]["optimizer"] = json!("adamw")).problem(422, "invalid_request");
    assert!(
        detail.contains("compile") && detail.contains("adamw"),
        "{detail}"
    );
    let detail = with(&|r| r["fit"]["epochs"] = json!("five")).problem(422, "invalid_request");
    assert!(detail.contains("fit.epochs"), "{detail}");
    with(&|r| r["fit"]["epochs"] = json!(0)).problem(422, "invalid_setting");
    with(&|r| r["validation_split"] = json!(1.5)).problem(422, "invalid_setting");
    with(&|r| r["architecture"]["layers"][1]["class_name"] = json!("Flattn"))
        .problem(422, "unknown_layer");
    with(&|r| drop(r.as_object_mut().unwrap().remove("architecture")))
        .problem(422, "architecture_required");
    with(&|r| r["initial_weights"] = json!(1)).problem(404, "model_not_found");
    server
        .admin_post("/admin/models/a..b/train", &request("clothes", 10))
        .problem(422, "invalid_model_name");
    server
        .admin_post(
            "/admin/models/cats/evaluate",
            &json!({"dataset": "clothes"}),
        )
        .problem(404, "model_not_found");
    server
        .admin_get("/admin/jobs/1")
        .problem(404, "job_not_found");
    assert_eq!(server.admin_get("/admin/jobs").ok(), json!({"jobs": []}));
}

#[test]
fn a_job_that_fails_says_why_and_publishes_nothing() {
    let server = Server::with(Settings {
        versions: 0,
        ..Settings::default()
    });
    server.admin_put("/admin/datasets/clothes", &clothes());
    let mut diverging = request("clothes", 10);
    diverging["compile"] =
        json!({"optimizer": {"name": "sgd", "learning_rate": 1e30}, "loss": "mean_squared_error"});
    diverging["architecture"]["layers"][2]["config"]["activation"] = json!("linear");
    for (request, code) in [
        (request("clothes", 7), "labels_mismatch"),
        (diverging, "loss_not_finite"),
    ] {
        let accepted = server.admin_post("/admin/models/fashion/train", &request);
        assert_eq!(accepted.status, 202, "{}", accepted.text());
        let location = accepted.header("location").to_owned();
        let events = follow(&server, &location, 0);
        let job = &events.last().unwrap().1;
        assert_eq!(
            (&job["state"], &job["error"]["code"]),
            (&json!("failed"), &json!(code)),
            "{job}"
        );
    }
    server
        .get("/models/fashion")
        .problem(404, "model_not_found");
}
