//! The doors: slow, silent and too many connections; an address for `/admin`; API keys; pages of other origins.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Reply, Server, Settings, bearer, png};
use irori::http::{HttpConfig, Origin, Tokens};

/// Well above what any answer here takes, and well below the timeouts that hostile connections would have to run into.
const SOON: Duration = Duration::from_secs(2);

fn with(http: HttpConfig) -> Server {
    Server::with(Settings {
        http,
        ..Settings::default()
    })
}

fn connect(server: &Server) -> TcpStream {
    let connection = TcpStream::connect(server.address()).unwrap();
    connection
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    connection
}

/// How long it takes until the server ends a connection.
fn until_closed(connection: &mut TcpStream) -> Duration {
    let started = Instant::now();
    let mut rest = [0; 64 << 10];
    loop {
        match connection.read(&mut rest) {
            Ok(0) => return started.elapsed(),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return started.elapsed(),
            Err(error) => panic!("the connection stays open: {error}"),
        }
    }
}

/// A request on a connection of its own.
fn ask(server: &Server, request: &str) -> String {
    let mut connection = connect(server);
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

fn live(server: &Server) -> String {
    ask(
        server,
        "GET /health/live HTTP/1.1\r\nhost: it\r\nconnection: close\r\n\r\n",
    )
}

/// Two hundred clients that hold a connection open, each kind of them in turn: silent ones, ones that never finish the
/// head of their request, and ones that never finish its body.
fn besiege(server: &Server, kinds: &[&str]) -> Vec<TcpStream> {
    let open = |index: usize| {
        let mut connection = connect(server);
        connection
            .write_all(kinds[index % kinds.len()].as_bytes())
            .unwrap();
        connection
    };
    (0..200).map(open).collect()
}

const SILENT: &str = "";
const SLOW_HEAD: &str = "POST /predict HTTP/1.1\r\nhost: it\r\nx-slow: ";
const SLOW_BODY: &str = "POST /predict HTTP/1.1\r\nhost: it\r\ncontent-length: 1000\r\n\r\n12";

#[test]
fn two_hundred_slow_connections_keep_nobody_waiting() {
    let server = Server::start();
    let mut siege = besiege(&server, &[SILENT, SLOW_HEAD, SLOW_BODY]);
    let started = Instant::now();
    for _ in 0..20 {
        for connection in &mut siege {
            let _ = connection.write(b"x");
        }
        let answer = server.predict("/predict", &png(255, 4)).ok();
        assert_eq!(answer["predictions"][0]["label"], "light");
        assert!(live(&server).starts_with("HTTP/1.1 200 "));
    }
    assert!(started.elapsed() < 20 * SOON, "{:?}", started.elapsed());
}

#[test]
fn in_a_full_house_those_without_a_request_make_room() {
    let server = with(HttpConfig {
        max_connections: 50,
        ..HttpConfig::default()
    });
    let mut kept = connect(&server);
    let mut siege = besiege(&server, &[SILENT, SLOW_HEAD]);
    let started = Instant::now();
    let metrics = server.get("/metrics");
    let (_, open) = metrics
        .text()
        .split_once("\nirori_http_connections ")
        .unwrap();
    let open: f64 = open.lines().next().unwrap().parse().unwrap();
    assert!((40.0..=50.0).contains(&open), "{open}");
    for _ in 0..60 {
        let answer = live(&server);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    // The oldest went first.
    assert!(until_closed(&mut kept) < SOON);
    assert!(until_closed(&mut siege[0]) < SOON);
}

#[test]
fn in_a_full_house_of_requests_the_next_waits_for_its_turn() {
    let server = with(HttpConfig {
        max_connections: 2,
        body_timeout: Duration::from_millis(300),
        ..HttpConfig::default()
    });
    let mut busy: Vec<TcpStream> = (0..2).map(|_| connect(&server)).collect();
    for connection in &mut busy {
        connection.write_all(SLOW_BODY.as_bytes()).unwrap();
    }
    std::thread::sleep(Duration::from_millis(50));
    let started = Instant::now();
    assert!(live(&server).starts_with("HTTP/1.1 200 "));
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    let mut answer = [0; 13];
    busy[0].read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408 ", "nobody's request was dropped");
}

#[test]
fn a_head_has_to_arrive_in_time_however_steadily_it_trickles() {
    let server = with(HttpConfig {
        header_timeout: Duration::from_millis(200),
        ..HttpConfig::default()
    });
    let mut silent = connect(&server);
    let mut slow = connect(&server);
    slow.write_all(SLOW_HEAD.as_bytes()).unwrap();
    let started = Instant::now();
    while slow.write_all(b"x").is_ok() {
        assert!(started.elapsed() < SOON, "it is still listened to");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(until_closed(&mut silent) < SOON);

    // After a request too, but not before the next one begins.
    let mut kept = connect(&server);
    kept.write_all(b"GET /health/live HTTP/1.1\r\nhost: it\r\n\r\n")
        .unwrap();
    let mut answer = [0; 4096];
    assert!(kept.read(&mut answer).unwrap() > 0);
    std::thread::sleep(Duration::from_millis(600));
    kept.write_all(b"GET /health/live HTTP/1.1\r\nhost: it\r\n\r\n")
        .unwrap();
    assert!(kept.read(&mut answer).unwrap() > 0);
    kept.write_all(b"GET /health").unwrap();
    assert!(until_closed(&mut kept) < SOON);
}

#[test]
fn an_idle_connection_is_closed_after_a_while() {
    let server = with(HttpConfig {
        idle_timeout: Duration::from_millis(200),
        ..HttpConfig::default()
    });
    let mut idle = connect(&server);
    idle.write_all(b"GET /health/live HTTP/1.1\r\nhost: it\r\n\r\n")
        .unwrap();
    let closed = until_closed(&mut idle);
    assert!(
        closed > Duration::from_millis(150) && closed < SOON,
        "{closed:?}"
    );
}

#[test]
fn a_client_that_takes_no_answers_is_let_go() {
    let server = with(HttpConfig {
        body_timeout: Duration::from_millis(200),
        ..HttpConfig::default()
    });
    let mut deaf = connect(&server);
    let asked = Instant::now();
    // Answers of some hundred kilobytes each, until the buffers between here and there are full.
    let request = b"GET /openapi.json HTTP/1.1\r\nhost: it\r\n\r\n";
    while deaf.write_all(request).is_ok() {
        assert!(
            asked.elapsed() < Duration::from_secs(20),
            "it is still served"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn heads_have_a_limit() {
    let server = with(HttpConfig {
        max_header_bytes: 8 << 10,
        ..HttpConfig::default()
    });
    for padding in [
        format!("x-long: {}\r\n", "x".repeat(9 << 10)),
        "x-many: y\r\n".repeat(2000),
    ] {
        let head = format!("GET /health/live HTTP/1.1\r\nhost: it\r\n{padding}\r\n");
        let mut connection = connect(&server);
        let _ = connection.write_all(head.as_bytes());
        let mut answer = [0; 13];
        connection.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 431 ");
    }
    server.get("/health/live").ok();
}

#[test]
fn admin_is_behind_its_own_door_only() {
    let server = Server::with(Settings {
        admin_door: true,
        http: HttpConfig {
            private_metrics: true,
            ..HttpConfig::default()
        },
        ..Settings::default()
    });
    let at = |url: &str, path: &str| -> Reply {
        let request = server.agent.get(format!("{url}{path}"));
        request
            .header("authorization", bearer())
            .call()
            .unwrap()
            .into()
    };
    // Outside, nothing tells that they exist: what is said is what is said of any other path.
    let nowhere = server.get("/nowhere").problem(404, "not_found");
    for path in ["/admin/jobs", "/admin/datasets", "/metrics"] {
        let reply = at(&server.url, path);
        assert_eq!(reply.header("www-authenticate"), "");
        let detail = reply.problem(404, "not_found");
        assert_eq!(detail, nowhere.replace("/nowhere", path));
    }
    server
        .admin_post("/admin/models/shade/rollback", &serde_json::json!({}))
        .problem(404, "not_found");
    server.predict("/predict", &png(255, 4)).ok();

    at(&server.admin_url, "/admin/jobs").ok();
    assert!(at(&server.admin_url, "/metrics").text().contains("irori_"));
    at(&server.admin_url, "/health/ready").ok();
    let stranger = server.agent.get(format!("{}/admin/jobs", server.admin_url));
    Reply::from(stranger.call().unwrap()).problem(401, "unauthorized");
}

#[test]
fn both_doors_close_together() {
    let mut server = Server::with(Settings {
        admin_door: true,
        ..Settings::default()
    });
    let mut waiting = connect(&server);
    server.get("/health/live").ok();
    server.ask_to_stop();
    server.wait();
    assert!(until_closed(&mut waiting) < SOON);
}

fn with_key(server: &Server, path: &str, header: &str, value: &str) -> Reply {
    let request = server.agent.post(server.url(path)).header(header, value);
    request.send(&png(255, 4)).unwrap().into()
}

#[test]
fn predictions_can_need_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    fs::write(&file, "first\n").unwrap();
    let server = Server::with(Settings {
        api_keys: Some(Tokens::from_file(&file).unwrap()),
        ..Settings::default()
    });
    for path in [
        "/predict",
        "/models/shade/predict",
        "/models/shade/versions/1/predict",
    ] {
        let refused = server.predict(path, &png(255, 4));
        assert!(refused.header("www-authenticate").starts_with("Bearer"));
        let detail = refused.problem(401, "api_key_required");
        assert!(detail.contains("X-API-Key"), "{detail}");
        with_key(&server, path, "x-api-key", "firs").problem(401, "api_key_required");
        with_key(&server, path, "authorization", &bearer()).problem(401, "api_key_required");
        with_key(&server, path, "x-api-key", "first").ok();
        with_key(&server, path, "authorization", "Bearer first").ok();
    }
    for path in [
        "/v2/models/shade/infer",
        "/v2/models/shade/versions/1/infer",
        "/v1/models/shade:predict",
        "/v1/models/shade/versions/1:classify",
    ] {
        let error = server.predict(path, b"{}").error(401);
        assert!(error.contains("X-API-Key"), "{error}");
        with_key(&server, path, "x-api-key", "first").error(400);
    }
    for open in [
        "/health/ready",
        "/models",
        "/models/shade",
        "/openapi.json",
        "/v2/models/shade",
        "/v1/models/shade",
    ] {
        server.get(open).ok();
    }
    assert_eq!(server.get("/metrics").status, 200);
    // A key opens no more than predictions.
    let request = server.agent.get(server.url("/admin/jobs"));
    let reply = request.header("authorization", "Bearer first").call();
    Reply::from(reply.unwrap()).problem(401, "unauthorized");

    // Keys change without a restart.
    fs::write(&file, "first\nsecond\n").unwrap();
    let changed = Instant::now();
    while with_key(&server, "/predict", "x-api-key", "second").status != 200 {
        assert!(changed.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(50));
    }
    with_key(&server, "/predict", "x-api-key", "first").ok();
}

fn from_origin(server: &Server, origin: &str) -> Reply {
    let request = server.agent.get(server.url("/models"));
    request.header("origin", origin).call().unwrap().into()
}

#[test]
fn pages_of_the_origins_that_were_named_may_read_answers() {
    let origins = |origins: &[&str]| {
        with(HttpConfig {
            cors_origins: origins
                .iter()
                .map(|origin| origin.parse().unwrap())
                .collect(),
            ..HttpConfig::default()
        })
    };
    let allowed = "access-control-allow-origin";
    let closed = Server::start();
    assert_eq!(
        from_origin(&closed, "https://app.example").header(allowed),
        ""
    );

    let server = origins(&["https://app.example", "http://localhost:3000"]);
    for origin in ["https://app.example", "http://localhost:3000"] {
        assert_eq!(from_origin(&server, origin).header(allowed), origin);
    }
    for other in ["https://app.example.evil", "http://app.example", "null"] {
        assert_eq!(from_origin(&server, other).header(allowed), "", "{other}");
    }
    // What a browser asks before it sends a key.
    let answer = ask(
        &server,
        "OPTIONS /predict HTTP/1.1\r\nhost: it\r\norigin: https://app.example\r\naccess-control-request-method: POST\r\n\
         access-control-request-headers: x-api-key, content-type\r\nconnection: close\r\n\r\n",
    );
    for header in [
        "access-control-allow-origin: https://app.example\r\n",
        "access-control-allow-headers: x-api-key, content-type\r\n",
        "access-control-allow-methods: GET,POST,PUT,DELETE\r\n",
    ] {
        assert!(answer.contains(header), "{header}{answer}");
    }
    assert!(!answer.contains("allow-credentials"), "{answer}");
    // A refusal can be read too.
    let refused = server.agent.get(server.url("/nowhere"));
    let refused = refused.header("origin", "https://app.example").call();
    assert_eq!(
        Reply::from(refused.unwrap()).header(allowed),
        "https://app.example"
    );

    let server = origins(&["https://app.example", "*"]);
    assert_eq!(
        from_origin(&server, "https://any.example").header(allowed),
        "*"
    );
}

#[test]
fn an_origin_is_a_scheme_and_a_host() {
    for good in ["*", "https://a.example", "http://[::1]:3000"] {
        assert!(good.parse::<Origin>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "a.example",
        "https://a.example/",
        "https://u@a.example",
        "ftp://a.example",
        "https://*.example\r\nx: y",
        "null",
    ] {
        assert!(bad.parse::<Origin>().is_err(), "{bad}");
    }
}

#[test]
fn every_answer_carries_the_headers_that_keep_browsers_safe() {
    let server = Server::start();
    for path in ["/models", "/nowhere", "/docs/", "/admin/jobs", "/metrics"] {
        let reply = server.get(path);
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(reply.header("referrer-policy"), "no-referrer", "{path}");
        let policy = reply.header("content-security-policy");
        assert!(
            policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        for telling in ["server", "x-powered-by"] {
            assert_eq!(reply.header(telling), "", "{path}");
        }
    }
}

#[test]
fn the_bodies_of_all_requests_share_a_budget() {
    let server = with(HttpConfig {
        max_bodies_bytes: 300 << 10,
        ..HttpConfig::default()
    });
    // Most of it is taken by a body that is still arriving.
    let mut slow = connect(&server);
    let head = format!(
        "POST /predict HTTP/1.1\r\nhost: it\r\ncontent-length: {}\r\n\r\n",
        256 << 10
    );
    slow.write_all(head.as_bytes()).unwrap();
    slow.write_all(&vec![0; 250 << 10]).unwrap();
    let counted = format!("irori_http_bodies_bytes {}", 250 << 10);
    let sent = Instant::now();
    while !server.get("/metrics").text().contains(&counted) {
        assert!(sent.elapsed() < SOON, "what has arrived is not counted");
    }
    let small = vec![0; 60 << 10];
    let reply = server.predict("/predict", &small);
    assert_eq!(reply.header("retry-after"), "1");
    reply.problem(429, "bodies_full");
    // Chunked, so that nothing says how much there will be.
    let body = Vec::from(&b"d000\r\n"[..]);
    let body = [body, vec![0; 0xd000], b"\r\n0\r\n\r\n".to_vec()].concat();
    let mut chunked = connect(&server);
    chunked
        .write_all(b"POST /predict HTTP/1.1\r\nhost: it\r\ntransfer-encoding: chunked\r\n\r\n")
        .unwrap();
    chunked.write_all(&body).unwrap();
    let mut answer = [0; 13];
    chunked.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 429 ");
    // A request that fits still finds room, and with the end of the large one all is as before.
    server.predict("/predict", &png(255, 4)).ok();
    slow.write_all(&vec![0; 6 << 10]).unwrap();
    slow.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 422 ", "no image, but no refusal either");
    server
        .predict("/predict", &small)
        .problem(422, "image_unrecognised");
    // What comes packed is counted as it is unpacked, whether its packed length is said or not.
    let packed = gzip(&vec![b' '; 1 << 20]);
    assert!(packed.len() < 8 << 10);
    for path in ["/v2/models/shade/infer", "/v1/models/shade:predict"] {
        let request = server.agent.post(server.url(path));
        let reply = request.header("content-encoding", "gzip").send(&packed);
        let reply = Reply::from(reply.unwrap());
        assert_eq!(reply.header("retry-after"), "1");
        reply.error(429);
        let mut chunked = connect(&server);
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: it\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n",
            packed.len()
        );
        chunked.write_all(head.as_bytes()).unwrap();
        chunked.write_all(&packed).unwrap();
        chunked.write_all(b"\r\n0\r\n\r\n").unwrap();
        chunked.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 429 ");
        let small = gzip(br#"{"inputs": [], "instances": []}"#);
        let request = server.agent.post(server.url(path));
        let reply = request.header("content-encoding", "gzip").send(&small);
        assert_eq!(Reply::from(reply.unwrap()).status, 400);
    }
    let free = "irori_http_bodies_bytes 0";
    assert!(server.get("/metrics").text().contains(free));
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(content).unwrap();
    packed.finish().unwrap()
}
