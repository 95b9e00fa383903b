//! What the bodies of all requests may hold in memory.

use std::io::{Read, Write};
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{SOON, connect, with};
use crate::http::{Reply, png};
use irori::http::HttpConfig;

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
