//! TLS: what a client sees of the certificate, and what becomes of it when its files change.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::{Reply, Server, Settings, png};
use irori::http::{HttpConfig, Tls};

/// A certificate for loopback and its key, put where the server finds them.
struct Identity {
    folder: TempDir,
}

impl Identity {
    fn new() -> (Self, Vec<u8>) {
        let identity = Self {
            folder: TempDir::new().unwrap(),
        };
        let certificate = identity.renew();
        (identity, certificate)
    }

    /// Makes another one, and returns the certificate.
    fn renew(&self) -> Vec<u8> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        fs::write(self.chain(), made.cert.pem()).unwrap();
        fs::write(self.key(), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().to_vec()
    }

    fn chain(&self) -> std::path::PathBuf {
        self.folder.path().join("tls.crt")
    }

    fn key(&self) -> std::path::PathBuf {
        self.folder.path().join("tls.key")
    }

    fn serve(&self) -> Server {
        self.serve_with(HttpConfig {
            header_timeout: Duration::from_millis(500),
            ..HttpConfig::default()
        })
    }

    fn serve_with(&self, http: HttpConfig) -> Server {
        Server::with(Settings {
            tls: Some(Tls::from_files(&self.chain(), &self.key()).unwrap()),
            http,
            ..Settings::default()
        })
    }
}

/// A client that trusts this certificate alone.
fn trusting(certificate: &[u8]) -> ureq::Agent {
    let roots = RootCerts::from([Certificate::from_der(certificate).to_owned()]);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsConfig::builder()
        .root_certs(roots)
        .unversioned_rustls_crypto_provider(provider);
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .tls_config(tls.build())
        .build()
        .into()
}

fn live(server: &Server, agent: &ureq::Agent) -> Result<Reply, ureq::Error> {
    let reply = agent.get(server.url("/health/live")).call()?;
    Ok(reply.into())
}

/// A bare TLS connection, and the protocol that was agreed on.
fn handshake(
    server: &Server,
    certificate: &[u8],
    offers: &[&[u8]],
) -> (StreamOwned<ClientConnection, TcpStream>, Option<Vec<u8>>) {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.to_vec().into()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = offers.iter().map(|offer| offer.to_vec()).collect();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = TcpStream::connect(server.address()).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).unwrap();
    }
    let agreed = connection.alpn_protocol().map(<[u8]>::to_vec);
    (StreamOwned::new(connection, socket), agreed)
}

#[test]
fn predictions_travel_over_tls() {
    let (identity, certificate) = Identity::new();
    let server = identity.serve();
    let agent = trusting(&certificate);
    let reply = agent.post(server.url("/predict")).send(&png(255, 4));
    assert_eq!(
        Reply::from(reply.unwrap()).ok()["predictions"][0]["label"],
        "light"
    );
    let stranger = Identity::new().1;
    assert!(live(&server, &trusting(&stranger)).is_err());
    let plain = ureq::get(format!("http://{}/health/live", server.address())).call();
    assert!(plain.is_err(), "the port speaks TLS alone");
}

#[test]
fn http_2_is_spoken_with_who_offers_it() {
    let (identity, certificate) = Identity::new();
    let server = identity.serve();
    let (mut stream, agreed) = handshake(&server, &certificate, &[b"h2", b"http/1.1"]);
    assert_eq!(agreed.as_deref(), Some(&b"h2"[..]));
    // The preface and empty settings of a client, answered by the server's settings.
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[3], 4, "a frame of settings: {head:?}");

    for offers in [&[&b"http/1.1"[..]][..], &[]] {
        let (mut stream, agreed) = handshake(&server, &certificate, offers);
        assert_eq!(agreed.as_deref(), offers.first().copied());
        stream
            .write_all(b"GET /health/live HTTP/1.1\r\nhost: it\r\n\r\n")
            .unwrap();
        let mut answer = [0; 13];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 ");
    }
}

#[test]
fn an_http_2_client_that_takes_no_answers_is_let_go() {
    let (identity, certificate) = Identity::new();
    let server = identity.serve_with(HttpConfig {
        body_timeout: Duration::from_millis(300),
        ..HttpConfig::default()
    });
    let mut stream = ask_for_openapi(&server, &certificate, 0);
    // It shows that it is alive all the while, and is let go nevertheless.
    let asked = Instant::now();
    let quiet = Duration::from_millis(50);
    stream.sock.set_read_timeout(Some(quiet)).unwrap();
    let mut received = Vec::new();
    loop {
        assert!(asked.elapsed() < Duration::from_secs(20), "it is held");
        let mut read = [0; 4096];
        match stream.read(&mut read) {
            Ok(0) => break,
            Ok(length) => received.extend(&read[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if stream.write_all(&frame(PING, 0, 0, &[0; 8])).is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    let mut kinds = Vec::new();
    let mut frames = &received[..];
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = frames {
        kinds.push(*kind);
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        frames = &rest[length..];
    }
    assert!(kinds.contains(&HEADERS), "it was answered: {kinds:?}");
    assert!(asked.elapsed() >= Duration::from_millis(300));
    let ureq = trusting(&certificate);
    live(&server, &ureq).unwrap().ok();
}

#[test]
fn an_http_2_client_that_takes_an_answer_slowly_gets_all_of_it() {
    let (identity, certificate) = Identity::new();
    let server = identity.serve_with(HttpConfig {
        idle_timeout: Duration::from_millis(200),
        ..HttpConfig::default()
    });
    let mut stream = ask_for_openapi(&server, &certificate, 16 << 10);
    let (mut body, mut reads) = (0, 0);
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let [a, b, c, kind, flags, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).unwrap();
        if kind != DATA {
            continue;
        }
        body += payload.len();
        if flags & END_OF_STREAM != 0 {
            break;
        }
        // As much may follow, to this stream and on the connection, after a while.
        reads += 1;
        std::thread::sleep(Duration::from_millis(80));
        let more = u32::try_from(payload.len()).unwrap().to_be_bytes();
        stream
            .write_all(&frame(WINDOW_UPDATE, 0, 0, &more))
            .unwrap();
        stream
            .write_all(&frame(WINDOW_UPDATE, 0, 1, &more))
            .unwrap();
    }
    let whole = trusting(&certificate)
        .get(server.url("/openapi.json"))
        .call();
    assert_eq!(body, Reply::from(whole.unwrap()).body.len());
    assert!(reads >= 8, "it took longer than a connection may be idle");
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_OF_STREAM: u8 = 1;
const END_OF_HEADERS: u8 = 4;

/// A client of HTTP/2 that has asked for /openapi.json on its first stream, of which so many bytes may be sent at first.
fn ask_for_openapi(
    server: &Server,
    certificate: &[u8],
    window: u32,
) -> StreamOwned<ClientConnection, TcpStream> {
    let (mut stream, _) = handshake(server, certificate, &[b"h2"]);
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let window = [&[0, 4][..], &window.to_be_bytes()].concat();
    hello.extend(frame(SETTINGS, 0, 0, &window));
    // By the static table of header fields and with two literals.
    let mut head = vec![0x82, 0x87, 0x04, 13];
    head.extend(b"/openapi.json");
    head.extend([0x41, 2]);
    head.extend(b"it");
    hello.extend(frame(HEADERS, END_OF_HEADERS | END_OF_STREAM, 1, &head));
    stream.write_all(&hello).unwrap();
    stream
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let stream = stream.to_be_bytes();
    [&length[1..], &[kind, flags], &stream, payload].concat()
}

#[test]
fn a_new_certificate_is_shown_and_open_connections_stay() {
    let (identity, old) = Identity::new();
    let server = identity.serve();
    let kept = trusting(&old);
    live(&server, &kept).unwrap().ok();

    // A certificate without its key, and then rubbish: the old one is still shown.
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    for broken in [made.cert.pem(), "rubbish".to_owned()] {
        fs::write(identity.chain(), broken).unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        live(&server, &trusting(&old)).unwrap().ok();
    }

    let new = identity.renew();
    let renewed = Instant::now();
    while live(&server, &trusting(&new)).is_err() {
        assert!(renewed.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(live(&server, &trusting(&old)).is_err());
    // The connection that was kept alive all the time goes on.
    live(&server, &kept).unwrap().ok();
}

#[test]
fn a_handshake_has_to_arrive_in_time() {
    let (identity, certificate) = Identity::new();
    let server = identity.serve();
    let mut silent = TcpStream::connect(server.address()).unwrap();
    let mut noise = TcpStream::connect(server.address()).unwrap();
    noise.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    for connection in [&mut silent, &mut noise] {
        let limit = Duration::from_secs(5);
        connection.set_read_timeout(Some(limit)).unwrap();
        let mut rest = Vec::new();
        if let Err(error) = connection.read_to_end(&mut rest) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
    live(&server, &trusting(&certificate)).unwrap().ok();
}

#[test]
fn what_is_no_certificate_is_refused_at_the_start() {
    let (identity, _) = Identity::new();
    let other = Identity::new().0;
    let refusal = |chain: &Path, key: &Path| match Tls::from_files(chain, key) {
        Ok(_) => panic!("{} was taken", chain.display()),
        Err(error) => error.to_string(),
    };
    let missing = identity.folder.path().join("missing");
    let message = refusal(&missing, &identity.key());
    assert!(message.contains("missing"), "{message}");
    let message = refusal(&identity.key(), &identity.key());
    assert!(message.contains("a certificate chain"), "{message}");
    let message = refusal(&identity.chain(), &identity.chain());
    assert!(message.contains("a private key"), "{message}");
    let message = refusal(&identity.chain(), &other.key());
    assert!(message.contains("can't be used"), "{message}");
}
