//! The server's own settings: what a request may cost, and how long it may take.

use std::time::Duration;

use super::cors::Origin;

/// Limits on requests.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Bytes that the body of any request but an upload may have: 32 MiB.
    pub max_body_bytes: usize,
    /// Bytes that the bodies of all requests but uploads may take together, from their arrival until
    /// they are answered: 256 MiB.
    pub max_bodies_bytes: usize,
    /// Bytes that an uploaded data set or model may have: 1 GiB.
    pub max_upload_bytes: u64,
    /// Images that one prediction request may carry: 64.
    pub max_images_per_request: usize,
    /// How long a prediction may take, from the arrival of its request's head to its answer: 30 s.
    pub request_timeout: Duration,
    /// How long a request's body may take to arrive, and how long a client may take nothing of its
    /// answer: 30 s each. Of an upload, each piece has this long.
    pub body_timeout: Duration,
    /// How long the head of a request may take to arrive, from its first byte; the first request of
    /// a connection has as long from when it was opened, TLS included: 10 s.
    pub header_timeout: Duration,
    /// How long a connection is kept open for another request: 75 s, which is longer than the common
    /// proxies keep theirs, so that it is the proxy that closes.
    pub idle_timeout: Duration,
    /// Bytes that the head of a request may have, all headers together: 32 KiB.
    pub max_header_bytes: usize,
    /// Connections that may be open at each address: 1,024.
    pub max_connections: usize,
    /// The origins whose pages may read answers.
    pub cors_origins: Vec<Origin>,
    /// Whether `/metrics` is only where `/admin` is.
    pub private_metrics: bool,
    /// How long the server, once it is asked to stop and so not ready any more, still takes new requests, from those who have
    /// not noticed yet: not at all.
    pub drain_grace: Duration,
    /// How long accepted requests may take to finish once the server is asked to stop: 30 s.
    pub drain_timeout: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 32 << 20,
            max_bodies_bytes: 256 << 20,
            max_upload_bytes: 1 << 30,
            max_images_per_request: 64,
            request_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            max_header_bytes: 32 << 10,
            max_connections: 1024,
            cors_origins: Vec::new(),
            private_metrics: false,
            drain_grace: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
        }
    }
}
