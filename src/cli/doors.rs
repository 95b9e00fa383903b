//! Flags of the doors: where the server listens, whom it lets in, and how long it waits for them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;

use crate::http::{Access, Doors, HttpConfig, Origin, Tls, Tokens};

/// Files that the server may have open beside its connections.
const FILES_OF_ITS_OWN: u64 = 256;

/// Where the server listens, whom it lets in, and how long it waits for them.
#[derive(clap::Args)]
#[command(next_help_heading = "Doors")]
pub(super) struct DoorFlags {
    /// The address to listen on. 0.0.0.0:8080 takes connections from other machines.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Another address, at which everything is served; /admin is then nowhere else.
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<SocketAddr>,
    /// Serve /metrics only at the address of --admin-listen.
    #[arg(long, requires = "admin_listen")]
    private_metrics: bool,
    /// What opens /admin, as "Authorization: Bearer TOKEN"; several separated by commas all open
    /// it. Other users of this machine can read it in the list of processes: prefer the
    /// environment or a file. Without any, one is made and kept in the data folder.
    #[arg(
        long,
        value_name = "TOKEN",
        hide_env_values = true,
        value_delimiter = ','
    )]
    admin_token: Vec<String>,
    /// A file with such tokens, one a line. It is read again when it changes.
    #[arg(long, value_name = "FILE", conflicts_with = "admin_token")]
    admin_token_file: Option<PathBuf>,
    /// A file with API keys, one a line: predictions then need one of them, as "X-API-Key: KEY" or
    /// "Authorization: Bearer KEY". It is read again when it changes. Health, models, metrics and
    /// the contract stay open.
    #[arg(long, value_name = "FILE")]
    api_keys_file: Option<PathBuf>,
    /// The certificate chain, in PEM: the server then speaks TLS alone, at all its addresses. Both
    /// files are read again when they change, and connections that are open stay.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// An origin, scheme and host, whose pages may read answers; * for all. Several
    /// are separated by commas, or the flag is repeated.
    #[arg(long = "cors-origin", value_name = "ORIGIN", value_delimiter = ',')]
    cors_origins: Vec<Origin>,
    /// Connections that may be open at an address. When there are as many, the one that has been
    /// without a request for longest makes room for the next.
    #[arg(long, default_value_t = HttpConfig::default().max_connections, value_name = "N")]
    max_connections: usize,
    /// Bytes that the head of a request may have.
    #[arg(long, default_value_t = HttpConfig::default().max_header_bytes, value_name = "BYTES")]
    max_header_bytes: usize,
    /// Seconds that the head of a request may take to arrive.
    #[arg(long, default_value_t = HttpConfig::default().header_timeout.as_secs(), value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    header_timeout: u64,
    /// Seconds that the body of a prediction, or the next piece of an upload, may take to arrive;
    /// and that a client may take nothing of its answer.
    #[arg(long, default_value_t = HttpConfig::default().body_timeout.as_secs(), value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    body_timeout: u64,
    /// Seconds that a connection is kept for another request.
    #[arg(long, default_value_t = HttpConfig::default().idle_timeout.as_secs(), value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    idle_timeout: u64,
}

impl DoorFlags {
    /// Listens, with the certificate if one was given.
    pub(super) async fn open(&self) -> anyhow::Result<Doors> {
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(chain), Some(key)) => Some(Tls::from_files(chain, key)?),
            _ => None,
        };
        self.allow_open_files();
        let public = listen(self.listen).await?;
        let admin = match self.admin_listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        tracing::info!(
            address = %public.local_addr()?,
            admin = admin.as_ref().map(TcpListener::local_addr).transpose()?.map(tracing::field::display),
            tls = tls.is_some(),
            "listening"
        );
        Ok(Doors { public, admin, tls })
    }

    /// Raises the limit of open files, where the system allows it, to what as many connections need.
    fn allow_open_files(&self) {
        let doors = 1 + u64::from(self.admin_listen.is_some());
        let wanted = (self.max_connections as u64)
            .saturating_mul(doors)
            .saturating_add(FILES_OF_ITS_OWN);
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let allowed = maximum.map_or(wanted, |maximum| maximum.min(wanted));
        if current.is_some_and(|current| current < allowed) {
            let raised = Rlimit {
                current: Some(allowed),
                maximum,
            };
            if let Err(error) = setrlimit(Resource::Nofile, raised) {
                tracing::warn!(%error, "the limit of open files stays what it is");
            }
        }
        if allowed < wanted {
            tracing::warn!(
                wanted,
                allowed,
                "the system allows fewer open files than --max-connections needs"
            );
        }
    }

    /// Whom the server lets in; `data` is the folder that keeps the token that is made where none is given.
    pub(super) fn access(&self, data: &Path) -> anyhow::Result<Access> {
        let admin = match &self.admin_token_file {
            Some(file) => Tokens::from_file(file).context("--admin-token-file")?,
            None if self.admin_token.is_empty() => Tokens::kept_in(data),
            None => Tokens::new(&self.admin_token).context("--admin-token")?,
        };
        let api_keys = self.api_keys_file.as_deref().map(Tokens::from_file);
        Ok(Access {
            admin,
            api_keys: api_keys.transpose().context("--api-keys-file")?,
        })
    }

    /// These settings, and the defaults of all others.
    pub(super) fn config(&self) -> HttpConfig {
        HttpConfig {
            max_connections: self.max_connections,
            max_header_bytes: self.max_header_bytes,
            header_timeout: Duration::from_secs(self.header_timeout),
            body_timeout: Duration::from_secs(self.body_timeout),
            idle_timeout: Duration::from_secs(self.idle_timeout),
            cors_origins: self.cors_origins.clone(),
            private_metrics: self.private_metrics,
            ..HttpConfig::default()
        }
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("could not listen on {address}"))
}
