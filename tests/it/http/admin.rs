//! The doors of `/admin`, and which version a name stands for.

use serde_json::json;

use super::{Reply, Server, Settings, bearer, png};
use irori::http::Tokens;

fn ask(server: &Server, authorization: &str) -> Reply {
    let request = server.agent.get(server.url("/admin/jobs"));
    request
        .header("authorization", authorization)
        .call()
        .unwrap()
        .into()
}

#[test]
fn admin_opens_to_a_token_and_to_nothing_else() {
    let server = Server::with(Settings {
        admin: Tokens::new(["one", "two"]).unwrap(),
        ..Settings::default()
    });
    assert_eq!(ask(&server, "Bearer one").status, 200);
    assert_eq!(ask(&server, "bearer  two").status, 200);
    for wrong in [
        "Bearer three",
        "Bearer",
        "Bearer ",
        "Basic one",
        "one",
        "Bearer one two",
    ] {
        let reply = ask(&server, wrong);
        assert!(
            reply.header("www-authenticate").starts_with("Bearer"),
            "{wrong}"
        );
        reply.problem(401, "unauthorized");
    }
    for path in ["/admin/jobs", "/admin/datasets", "/admin/jobs/1/events"] {
        server.get(path).problem(401, "unauthorized");
    }
    server
        .post("/admin/models/shade/train", "application/json", b"{}")
        .problem(401, "unauthorized");
    server
        .post("/admin/models/shade/promote", "application/json", b"{}")
        .problem(401, "unauthorized");
}

#[test]
fn without_a_token_admin_is_closed_to_all() {
    let server = Server::with(Settings {
        admin: Tokens::none(),
        ..Settings::default()
    });
    ask(&server, "Bearer ").problem(403, "admin_disabled");
    ask(&server, &bearer()).problem(403, "admin_disabled");
    server.get("/models").ok();
}

fn served(server: &Server) -> (u64, String) {
    let answer = server.predict("/models/shade/predict", &png(255, 4)).ok();
    let label = answer["predictions"][0]["label"]
        .as_str()
        .unwrap()
        .to_owned();
    (answer["version"].as_u64().unwrap(), label)
}

#[test]
fn promote_and_roll_back_move_what_is_served() {
    let server = Server::with(Settings {
        versions: 3,
        ..Settings::default()
    });
    assert_eq!(served(&server), (3, "light".into()));
    let promote = "/admin/models/shade/promote";
    let listing = server.admin_post(promote, &json!({"version": 2})).ok();
    assert_eq!(
        (&listing["serving"], &listing["pinned"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(served(&server), (2, "pale".into()));
    server.admin_post(promote, &json!({"version": 1})).ok();
    assert_eq!(served(&server), (1, "light".into()));
    let listing = server
        .admin_post("/admin/models/shade/rollback", &json!({}))
        .ok();
    assert_eq!(listing["serving"], 2);
    assert_eq!(served(&server), (2, "pale".into()));

    let listing = server
        .admin_post(promote, &json!({"version": 1, "alias": "canary"}))
        .ok();
    assert_eq!(
        (&listing["serving"], &listing["aliases"]),
        (&json!(2), &json!({"canary": 1}))
    );
    assert_eq!(served(&server).0, 2);

    server
        .admin_post(promote, &json!({"version": 9}))
        .problem(404, "version_not_found");
    server
        .admin_post("/admin/models/cats/promote", &json!({"version": 1}))
        .problem(404, "model_not_found");
    let detail = server
        .admin_post(promote, &json!({"versoin": 1}))
        .problem(422, "invalid_request");
    assert!(detail.contains("versoin"), "{detail}");
}

#[test]
fn there_must_be_something_to_roll_back_to() {
    let server = Server::start();
    server
        .admin_post("/admin/models/shade/rollback", &json!({}))
        .problem(409, "nothing_to_roll_back");
}

#[test]
fn a_version_is_deleted_unless_it_is_needed() {
    let server = Server::with(Settings {
        versions: 3,
        ..Settings::default()
    });
    let path = |version: u64| format!("/admin/models/shade/versions/{version}");
    server
        .admin_delete(&path(3))
        .problem(409, "version_is_serving");
    server
        .predict("/models/shade/versions/1/predict", &png(0, 4))
        .ok();
    let gone = server.admin_delete(&path(1));
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    server
        .predict("/models/shade/versions/1/predict", &png(0, 4))
        .problem(404, "version_not_found");
    server
        .admin_delete(&path(1))
        .problem(404, "version_not_found");
    server
        .admin_delete("/admin/models/cats/versions/1")
        .problem(404, "model_not_found");
    assert_eq!(served(&server).0, 3);
}
