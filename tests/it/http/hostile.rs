//! Requests as nobody means them: a thousand of them broken at random, and names that would lead elsewhere.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::Duration;

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::{Server, Settings, bearer, form, png, zip};
use irori::http::HttpConfig;

const REQUESTS: usize = 1000;
const CLIENTS: usize = 20;

/// A request in full.
fn request(head: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{head} HTTP/1.1\r\nhost: it\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if !body.is_empty() {
        bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// Good requests of every kind, from which the broken ones are made.
fn good() -> Vec<Vec<u8>> {
    let image = png(200, 4);
    let (multipart, parts) = form(&[
        ("file", Some("a.png"), &image),
        ("note", None, b"text"),
        ("file", Some("b.png"), &image),
    ]);
    let (import, model) = form(&[("labels", None, b"a,b"), ("file", Some("m.h5"), b"\x89HDF")]);
    let shades = zip(&[("light/a.png", &image), ("dark/b.png", &png(1, 4))]);
    let b64 = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==";
    let images = json!({"images": [{"b64": b64}]}).to_string();
    let train = json!({
        "dataset": "none", "seed": 1, "fit": {"epochs": 1},
        "architecture": {"layers": [{"class_name": "Flatten", "config": {"input_shape": [4, 4, 1]}}]},
    });
    let (train, json) = (train.to_string(), "application/json");
    let token = bearer();
    let admin = ("authorization", token.as_str());
    let mut chunked =
        b"POST /predict HTTP/1.1\r\nhost: it\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for piece in image.chunks(16) {
        chunked.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunked.extend_from_slice(piece);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    vec![
        request("POST /predict?top_k=2", &[], &image),
        request(
            "POST /models/shade/predict",
            &[("content-type", "image/png")],
            &image,
        ),
        request(
            "POST /models/shade/versions/1/predict",
            &[("expect", "100-continue")],
            &image,
        ),
        request("POST /predict", &[("content-type", &multipart)], &parts),
        request(
            "POST /predict",
            &[("content-type", json)],
            images.as_bytes(),
        ),
        chunked,
        request("GET /models/shade/evaluation/confusion.svg", &[], b""),
        request("GET /metrics", &[("accept", json)], b""),
        request("GET /docs/index.html", &[("accept-encoding", "gzip")], b""),
        request("PUT /admin/datasets/shades", &[admin], &shades),
        request(
            "POST /admin/models/new/versions",
            &[admin, ("content-type", &import)],
            &model,
        ),
        request(
            "POST /admin/models/shade/train",
            &[admin, ("content-type", json)],
            train.as_bytes(),
        ),
        request(
            "POST /admin/models/shade/promote",
            &[admin],
            b"{\"version\": 1}",
        ),
        request(
            "GET /admin/models/shade/versions/1/export?format=h5",
            &[admin],
            b"",
        ),
        request("DELETE /admin/datasets/shades", &[admin], b""),
        request("OPTIONS * ", &[], b""),
    ]
}

/// What tends to hurt where it does not belong.
const BARBS: [&[u8]; 20] = [
    b"\0",
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b" ",
    b"\xff\xfe\xc3\x28",
    b"%00",
    b"%2e%2e%2f",
    b"/../../etc/passwd",
    b"99999999999999999999",
    b"-1",
    b"ffffffffffffffff\r\n",
    b"content-length: 5\r\n",
    b"transfer-encoding: chunked\r\n",
    b"transfer-encoding: gzip, chunked\r\n",
    b"--frontier\r\n",
    b"--frontier--\r\n",
    b"\"",
    b"{{{{[[[[",
    b"HTTP/1.1",
];

fn break_it(bytes: &mut Vec<u8>, others: &[Vec<u8>], random: &mut ChaCha8Rng) {
    for _ in 0..random.random_range(1..4) {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        // Heads are small beside some bodies, and break in more ways.
        let end = match head {
            Some(head) if random.random_bool(0.7) => head + 4,
            _ => bytes.len(),
        };
        let from = random.random_range(0..end.max(1)).min(bytes.len());
        let to = (from + random.random_range(1..40)).min(bytes.len());
        match random.random_range(0..8) {
            0 => bytes[from..to]
                .iter_mut()
                .for_each(|byte| *byte = random.random()),
            1 | 2 => {
                let barb = BARBS.choose(random).unwrap();
                bytes.splice(from..from, barb.iter().copied());
            }
            3 => drop(bytes.drain(from..to)),
            4 => {
                let again = bytes[from..to].repeat(random.random_range(1..200));
                bytes.splice(from..from, again);
            }
            5 => bytes.truncate(from),
            6 => {
                // Lengths and numbers that are not true.
                let digits: Vec<usize> = (0..bytes.len())
                    .filter(|&at| bytes[at].is_ascii_digit())
                    .collect();
                if let Some(&at) = digits.choose(random) {
                    bytes[at] = b"0123456789"[random.random_range(0..10)];
                }
            }
            _ => {
                let other = others.choose(random).unwrap();
                let start = random.random_range(0..other.len());
                bytes.truncate(from);
                bytes.extend_from_slice(&other[start..]);
            }
        }
    }
}

/// Sends bytes and reads what comes back until the server has had enough.
fn send(server: &Server, bytes: &[u8], and_hang_up: bool) -> Vec<u8> {
    let mut connection = TcpStream::connect(server.address()).unwrap();
    connection
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    // The server may end it before all is sent.
    let _ = connection.write_all(bytes);
    if and_hang_up {
        let _ = connection.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    if let Err(error) = connection.read_to_end(&mut answer) {
        let kind = error.kind();
        assert_eq!(kind, std::io::ErrorKind::ConnectionReset, "{error}");
    }
    answer
}

/// The statuses in what came back, of which there may be several.
fn statuses(answer: &[u8]) -> Vec<u16> {
    let status = |line: &[u8]| {
        let digits = line.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    answer
        .split(|&byte| byte == b'\n')
        .filter_map(status)
        .collect()
}

#[test]
fn a_thousand_broken_requests_do_no_harm() {
    let server = Server::with(Settings {
        http: HttpConfig {
            header_timeout: Duration::from_millis(200),
            body_timeout: Duration::from_millis(200),
            idle_timeout: Duration::from_millis(200),
            max_body_bytes: 1 << 20,
            ..HttpConfig::default()
        },
        ..Settings::default()
    });
    let good = good();
    let mut random = ChaCha8Rng::seed_from_u64(20_261_124);
    let broken: Vec<Vec<u8>> = (0..REQUESTS)
        .map(|_| {
            let mut bytes = good.choose(&mut random).unwrap().clone();
            break_it(&mut bytes, &good, &mut random);
            bytes
        })
        .collect();
    let (server, broken) = (&server, &broken);
    let answered: Vec<(usize, Vec<u16>)> = std::thread::scope(|scope| {
        let client = |first: usize| {
            scope.spawn(move || {
                let mine = (first..REQUESTS).step_by(CLIENTS);
                let ask = |index: usize| {
                    let answer = send(server, &broken[index], !index.is_multiple_of(4));
                    (index, statuses(&answer))
                };
                mine.map(ask).collect::<Vec<_>>()
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    let mut refused = 0;
    for (index, statuses) in &answered {
        for status in statuses {
            refused += usize::from((400..500).contains(status));
            assert!(
                *status < 500 || matches!(status, 503 | 504),
                "{status} for {:?}",
                String::from_utf8_lossy(&broken[*index])
            );
        }
    }
    assert!(
        refused > REQUESTS / 4,
        "only {refused} were refused: they are not broken enough"
    );
    let answer = server.predict("/predict", &png(255, 4)).ok();
    assert_eq!(answer["predictions"][0]["label"], "light");
    assert!(
        server
            .get("/metrics")
            .text()
            .contains("irori_http_requests_in_flight 1"),
        "a request never came to its end"
    );
}

/// All files under a folder.
fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        found.push(path.display().to_string());
        if path.is_dir() {
            found.extend(tree(&path));
        }
    }
    found.sort();
    found
}

#[test]
fn no_name_leads_out_of_its_folder() {
    let server = Server::start();
    // Something to be reached by whoever gets out of the folders of models and data sets.
    fs::create_dir_all(server.folder.path().join("secret/1")).unwrap();
    let before = tree(server.folder.path());
    let shades = zip(&[("light/a.png", &png(255, 4)), ("dark/b.png", &png(0, 4))]);
    for name in [
        "..%2Fsecret",
        "%2e%2e%2fsecret",
        "..%5Csecret",
        "%2Fetc",
        ".%2Fshade",
        "shade%2F1",
        "..",
        "%2e%2e",
        "shade%00",
        "%ff",
        "shade%0d%0ax:%20y",
        ".tmp",
    ] {
        let replies = [
            server.predict(&format!("/models/{name}/predict"), &png(255, 4)),
            server.get(&format!("/models/{name}")),
            server.get(&format!("/models/{name}/evaluation")),
            server.get(&format!("/models/{name}/versions/1/evaluation/history.svg")),
            server.admin_get(&format!("/admin/models/{name}/versions/1/export")),
            server.admin_post(
                &format!("/admin/models/{name}/promote"),
                &json!({"version": 1}),
            ),
            server.admin_send(
                &format!("/admin/models/{name}/versions"),
                "application/octet-stream",
                b"\x89HDF",
            ),
            server.admin_delete(&format!("/admin/models/{name}/versions/1")),
            server.admin_get(&format!("/admin/datasets/{name}")),
            server.admin_put(&format!("/admin/datasets/{name}"), &shades),
            server.admin_delete(&format!("/admin/datasets/{name}")),
        ];
        for reply in replies {
            assert!(
                (400..500).contains(&reply.status),
                "{name}: {} {}",
                reply.status,
                reply.text()
            );
            assert!(
                !reply
                    .text()
                    .contains(server.folder.path().to_str().unwrap())
            );
        }
    }
    // Names inside bodies: of aliases, of data sets to train on, of models by default.
    let promote = "/admin/models/shade/promote";
    server
        .admin_post(promote, &json!({"version": 1, "alias": "../../secret/x"}))
        .problem(422, "invalid_alias");
    let train = json!({"dataset": "../../secret", "architecture": {"layers": []}});
    let refused = server.admin_post("/admin/models/shade/train", &train);
    assert!((400..500).contains(&refused.status), "{}", refused.text());
    assert_eq!(tree(server.folder.path()), before);
}
