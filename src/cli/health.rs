//! `irori health`: asks a running server whether it is ready.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustls::crypto::ring;
use ureq::tls::TlsConfig;

use super::output::print;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The address that the server listens on; 0.0.0.0 and :: (any address) are asked over loopback.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Ask over TLS, as a server that was given a certificate must be asked. Whose certificate it
    /// shows makes no difference here: nothing secret is asked or told.
    #[arg(long)]
    tls: bool,
    /// Seconds to wait for an answer.
    #[arg(long, default_value_t = 2)]
    timeout: u64,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let mut address = args.listen;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv6() {
            std::net::Ipv6Addr::LOCALHOST.into()
        } else {
            std::net::Ipv4Addr::LOCALHOST.into()
        });
    }
    let scheme = if args.tls { "https" } else { "http" };
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(args.timeout)))
        .http_status_as_error(false)
        .tls_config(
            TlsConfig::builder()
                .disable_verification(true)
                .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
                .build(),
        )
        .build()
        .into();
    let mut answer = agent
        .get(format!("{scheme}://{address}/health/ready"))
        .call()
        .with_context(|| format!("no answer from {address}"))?;
    let body = answer.body_mut().read_to_string().unwrap_or_default();
    if !answer.status().is_success() {
        bail!("not ready ({}): {body}", answer.status());
    }
    print(body)
}
