//! The server's own settings: what a request may cost, and how long it may take.

use std::time::Duration;

/// Limits on requests.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Bytes that the body of any request but an upload may have: 32 MiB.
    pub max_body_bytes: usize,
    /// Bytes that an uploaded data set or model may have: 1 GiB.
    pub max_upload_bytes: u64,
    /// Images that one prediction request may carry: 64.
    pub max_images_per_request: usize,
    /// How long a request's body may take to arrive, and how long its answer may then take: 30 s
    /// each. Of an upload, each piece has this long. Event streams have no end.
    pub request_timeout: Duration,
    /// How long accepted requests may take to finish once the server is asked to stop: 30 s.
    pub drain_timeout: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 32 << 20,
            max_upload_bytes: 1 << 30,
            max_images_per_request: 64,
            request_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(30),
        }
    }
}
