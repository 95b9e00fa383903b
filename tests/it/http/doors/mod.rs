//! The doors: slow, silent and too many connections; an address for `/admin`; headers that keep browsers safe.

mod bodies;
mod keys;
mod origins;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Reply, Server, Settings, bearer, png};
use irori::http::HttpConfig;

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
