//! Data sets: uploaded, described, removed.

use std::fs;

use serde_json::json;

use super::{Server, Settings, png, zip};
use irori::dataset::Store;
use irori::http::HttpConfig;

fn shades() -> Vec<u8> {
    let (light, dark) = (png(250, 4), png(5, 6));
    zip(&[
        ("shades/light/a.png", &light),
        ("shades/light/b.png", &light),
        ("shades/dark/c.png", &dark),
        ("shades/dark/d.png", &dark),
    ])
}

/// What the store has on disk, hidden folders included.
fn on_disk(server: &Server) -> Vec<String> {
    let Ok(entries) = fs::read_dir(server.folder.path().join("datasets")) else {
        return Vec::new();
    };
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_data_set_is_uploaded_listed_replaced_and_removed() {
    let server = Server::start();
    assert_eq!(
        server.admin_get("/admin/datasets").ok(),
        json!({"datasets": []})
    );
    let created = server.admin_put("/admin/datasets/shades", &shades());
    assert_eq!(
        (created.status, created.header("location")),
        (201, "/admin/datasets/shades")
    );
    let described = created.json();
    assert_eq!(described["name"], "shades");
    assert_eq!(described["format"], "zip");
    assert_eq!(described["images"], 4);
    assert_eq!(described["archive_bytes"], shades().len());
    assert_eq!(
        described["classes"][0],
        json!({"name": "dark", "train": 2, "test": 0})
    );
    assert_eq!(described["sizes"]["max_width"], 6);

    assert_eq!(server.admin_get("/admin/datasets/shades").ok(), described);
    assert_eq!(
        server.admin_get("/admin/datasets").ok()["datasets"],
        json!([described])
    );
    let again = server.admin_put("/admin/datasets/shades", &shades()).ok();
    assert_eq!(again["digest"], described["digest"]);
    assert_eq!(on_disk(&server), ["shades"]);

    assert_eq!(server.admin_delete("/admin/datasets/shades").status, 204);
    let detail = server
        .admin_get("/admin/datasets/shades")
        .problem(404, "dataset_not_found");
    assert!(detail.contains("shades"), "{detail}");
    server
        .admin_delete("/admin/datasets/shades")
        .problem(404, "dataset_not_found");
    assert!(on_disk(&server).is_empty());
}

#[test]
fn what_is_refused_leaves_nothing_and_changes_nothing() {
    let server = Server::start();
    let before = server.admin_put("/admin/datasets/shades", &shades()).json();
    let light = png(250, 4);
    let escaping = zip(&[("light/a.png", &light), ("../../dark/b.png", &light)]);
    let one_class = zip(&[("light/a.png", &light), ("light/b.png", &light)]);
    for (archive, code) in [
        (&escaping[..], "archive_unsafe_path"),
        (&one_class[..], "dataset_single_class"),
        (b"not an archive", "dataset_unrecognised"),
        (b"", "dataset_unrecognised"),
        (&shades()[..200], "archive_corrupt"),
    ] {
        server
            .admin_put("/admin/datasets/shades", archive)
            .problem(422, code);
        server
            .admin_put("/admin/datasets/new", archive)
            .problem(422, code);
    }
    assert_eq!(
        server.admin_get("/admin/datasets").ok()["datasets"],
        json!([before])
    );
    assert_eq!(on_disk(&server), ["shades"]);
}

#[test]
fn a_name_never_becomes_a_path() {
    let server = Server::start();
    for name in [
        "..",
        ".hidden",
        "a..b",
        "a%2f..%2fb",
        "a%5Cb",
        "%00",
        &"x".repeat(64),
    ] {
        // A client library may resolve `..` itself; then there is no such route.
        let reply = server.admin_put(&format!("/admin/datasets/{name}"), &shades());
        assert!(matches!(reply.status, 404 | 405 | 422), "{name}: {reply:?}");
        if reply.status == 422 {
            reply.problem(422, "invalid_dataset_name");
        }
    }
    assert!(on_disk(&server).is_empty());
}

#[test]
fn files_that_are_no_images_are_listed_or_refused() {
    let server = Server::start();
    let (light, dark) = (png(250, 4), png(5, 4));
    let archive = zip(&[
        ("light/a.png", &light),
        ("light/notes.txt", b"hello"),
        ("dark/b.png", &dark),
    ]);
    let detail = server
        .admin_put("/admin/datasets/mixed?on_bad_file=refuse", &archive)
        .problem(422, "dataset_bad_file");
    assert!(detail.contains("notes.txt"), "{detail}");
    let described = server.admin_put("/admin/datasets/mixed", &archive).json();
    assert_eq!(described["bad_file_count"], 1);
    assert_eq!(described["bad_files"][0]["name"], "light/notes.txt");
    server
        .admin_put("/admin/datasets/mixed?on_bad_file=ignore", &archive)
        .problem(400, "invalid_query");
    server
        .admin_put("/admin/datasets/mixed?onbadfile=skip", &archive)
        .problem(400, "invalid_query");
}

#[test]
fn an_upload_is_bounded() {
    let server = Server::with(Settings {
        http: HttpConfig {
            max_upload_bytes: 100,
            ..Default::default()
        },
        ..Settings::default()
    });
    let detail = server
        .admin_put("/admin/datasets/shades", &shades())
        .problem(413, "payload_too_large");
    assert!(detail.contains("100"), "{detail}");
    assert!(on_disk(&server).is_empty());
    let (content_type, body) = super::form(&[("file", Some("a.zip"), &shades())]);
    let request = server
        .agent
        .put(server.url("/admin/datasets/shades"))
        .header("authorization", super::bearer());
    let reply: super::Reply = request
        .header("content-type", content_type)
        .send(&body[..])
        .unwrap()
        .into();
    let detail = reply.problem(415, "unsupported_media_type");
    assert!(detail.contains("curl -T"), "{detail}");
}

#[test]
fn what_a_crash_left_half_done_is_set_right() {
    let server = Server::start();
    assert_eq!(
        server.admin_put("/admin/datasets/shades", &shades()).status,
        201
    );
    let root = server.folder.path().join("datasets");
    // Between the two renames of a replacement.
    fs::rename(root.join("shades"), root.join(".old-shades")).unwrap();
    let store = Store::new(&root);
    assert_eq!(store.get("shades").unwrap().description.images, 4);
    // After the second.
    fs::create_dir(root.join(".old-shades")).unwrap();
    Store::new(&root);
    assert_eq!(on_disk(&server), ["shades"]);
    // What another process is writing now is left alone.
    fs::create_dir(root.join(".tmp-live")).unwrap();
    Store::new(&root);
    assert!(root.join(".tmp-live").exists());
    assert_eq!(store.list().unwrap().len(), 1);
}
