//! `irori serve` as a process: what SIGTERM does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::irori;

/// Well above what anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server with the shipped models.
struct Process {
    child: Child,
    address: String,
    _data: TempDir,
    // Read by nobody any more, but open, so that the log can be written.
    _log: BufReader<ChildStderr>,
}

impl Process {
    fn start(flags: &[&str]) -> Self {
        let data = TempDir::new().unwrap();
        let mut child = irori()
            .args([
                "--log-format",
                "json",
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--data",
            ])
            .arg(data.path())
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "it has ended");
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["message"] == "listening" {
                break event["address"].as_str().unwrap().to_owned();
            }
        };
        Self {
            child,
            address,
            _data: data,
            _log: log,
        }
    }

    /// Sends a request on a connection of its own, or as much of it as there is.
    fn send(&self, request: &[u8]) -> TcpStream {
        let mut connection = TcpStream::connect(&self.address).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection.write_all(request).unwrap();
        connection
    }

    /// The answer to a request, with its head.
    fn ask(&self, request: &[u8]) -> String {
        answer(self.send(request))
    }

    fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nhost: it\r\nconnection: close\r\n\r\n");
        self.ask(request.as_bytes())
    }

    fn terminate(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        let asked = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(asked.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn eventually(&self, path: &str, is_so: impl Fn(&str) -> bool) {
        let asked = Instant::now();
        while !is_so(&self.get(path)) {
            assert!(asked.elapsed() < PATIENCE, "{}", self.get(path));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answer(mut connection: TcpStream) -> String {
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

fn three() -> Vec<u8> {
    let folder = "tests/fixtures/digits/3";
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let file = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap();
    std::fs::read(file.path()).unwrap()
}

/// A prediction, to be the last on its connection.
fn prediction(image: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /predict HTTP/1.1\r\nhost: it\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        image.len()
    );
    [head.as_bytes(), image].concat()
}

#[test]
fn sigterm_ends_a_server_when_it_has_answered_what_it_accepted() {
    // Images wait for others, so that the queue is not empty while the server drains.
    let mut server = Process::start(&["--max-queue-delay", "1", "--drain-timeout", "25"]);
    let request = prediction(&three());
    let (first, rest) = request.split_at(request.len() - 50);
    let mut accepted: Vec<TcpStream> = (0..6).map(|_| server.send(first)).collect();
    server.eventually("/metrics", |metrics| {
        metrics.contains("irori_http_requests_in_flight 7.0\n")
    });
    assert!(server.get("/health/ready").starts_with("HTTP/1.1 200 "));

    server.terminate();
    server.eventually("/health/ready", |ready| ready.starts_with("HTTP/1.1 503 "));
    let refused = server.ask(&request);
    assert!(
        refused.starts_with("HTTP/1.1 503 ") && refused.contains("\"draining\""),
        "{refused}"
    );
    for connection in &mut accepted {
        connection.write_all(rest).unwrap();
    }
    for accepted in accepted {
        let answer = answer(accepted);
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"label\":\"3\""),
            "{answer}"
        );
    }
    assert_eq!(server.wait().code(), Some(0));
    assert!(TcpStream::connect(&server.address).is_err());
}

#[test]
fn sigterm_ends_a_server_within_its_drain_timeout() {
    let mut server = Process::start(&["--drain-timeout", "0.5"]);
    let request = prediction(&three());
    let _never_whole = server.send(&request[..request.len() - 1]);
    server.eventually("/metrics", |metrics| {
        metrics.contains("irori_http_requests_in_flight 2.0\n")
    });
    let asked = Instant::now();
    server.terminate();
    assert_eq!(server.wait().code(), Some(0));
    // The body would have had 30 seconds.
    assert!(asked.elapsed() < Duration::from_secs(15));
}
