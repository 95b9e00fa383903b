//! The doors: the addresses that the server listens on, and how connections through them are served.
//!
//! Every connection has to show a request before long and to keep taking what it is sent, and of those without a request
//! the oldest goes when there are too many: whoever opens connections and says nothing, or says it slowly, keeps nobody out.

mod connection;
mod connections;
mod tls;

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::config::HttpConfig;
use super::lifecycle::Lifecycle;
use connection::{Answer, Connection, Observed};
use connections::{Connections, Place};
pub use tls::{Tls, TlsError};

/// How long nothing is accepted after the system refused to, as it does when there are too many open files.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a connection that are kept back at most, on their way in and out.
const BUFFER: usize = 64 << 10;
/// Requests that one HTTP/2 connection may have at the same time.
const MAX_STREAMS: u32 = 128;

/// The addresses that the server listens on.
pub struct Doors {
    /// Where everybody comes in.
    pub public: TcpListener,
    /// Where `/admin` is, if it is to be apart.
    pub admin: Option<TcpListener>,
    /// What connections through either are encrypted with.
    pub tls: Option<Tls>,
}

impl From<TcpListener> for Doors {
    /// One door, for all and without TLS.
    fn from(public: TcpListener) -> Self {
        Self {
            public,
            admin: None,
            tls: None,
        }
    }
}

/// One address, and the routes behind it.
pub(super) struct Door {
    listener: TcpListener,
    routes: Router,
    tls: Option<TlsAcceptor>,
    connections: Arc<Connections>,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Door {
    pub(super) fn new(
        listener: TcpListener,
        routes: Router,
        tls: Option<&Tls>,
        config: &HttpConfig,
        lifecycle: &Arc<Lifecycle>,
    ) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .header_read_timeout(None)
            .max_buf_size(BUFFER.max(config.max_header_bytes))
            .max_header_size(config.max_header_bytes);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        let max_header_bytes = u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX);
        http2
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(max_header_bytes);
        Self {
            listener,
            routes,
            tls: tls.map(|tls| tls.acceptor.clone()),
            connections: Arc::new(Connections::new(config, Arc::clone(lifecycle))),
            http1,
            http2,
        }
    }

    /// Serves until `stop`, and then until what was being answered is answered.
    pub(super) async fn serve(self, stop: CancellationToken) {
        let door = Arc::new(self);
        let tasks = TaskTracker::new();
        let accept = async {
            loop {
                let stream = door.accept().await;
                let place = door.connections.admit().await;
                tasks.spawn(Arc::clone(&door).attend(stream, place, stop.clone()));
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = accept => {}
            () = door.connections.watch() => {}
        }
        door.connections.cut_waiting();
        tasks.close();
        tokio::select! {
            () = tasks.wait() => {}
            () = door.connections.watch() => {}
        }
    }

    async fn accept(&self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    // An answer is one small write, which must not wait for the one before it to be acknowledged.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a connection keeps its delay");
                    }
                    return stream;
                }
                // The client has gone already.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                    ) => {}
                Err(error) => {
                    tracing::error!(%error, "no connection can be accepted at present");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Serves a connection to its end.
    async fn attend(self: Arc<Self>, stream: TcpStream, place: Place, stop: CancellationToken) {
        let connection = &place.connection;
        let stream = Observed {
            stream,
            connection: Arc::clone(connection),
        };
        tokio::select! {
            () = connection.is_cut() => tracing::debug!("a connection was cut"),
            () = self.converse(stream, connection, &stop) => {}
        }
    }

    async fn converse(
        &self,
        stream: Observed<TcpStream>,
        connection: &Arc<Connection>,
        stop: &CancellationToken,
    ) {
        let Some(tls) = &self.tls else {
            return self.speak_http1(stream, connection, stop).await;
        };
        match tls.accept(stream).await {
            Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(tls::HTTP_2) => {
                connection.multiplex();
                let service = service(self.routes.clone(), Arc::clone(connection));
                let exchange = self.http2.serve_connection(TokioIo::new(stream), service);
                finish(exchange, stop).await;
            }
            Ok(stream) => self.speak_http1(stream, connection, stop).await,
            Err(error) => tracing::debug!(%error, "a client and TLS did not come together"),
        }
    }

    async fn speak_http1<S: AsyncRead + AsyncWrite + Unpin + 'static>(
        &self,
        stream: S,
        connection: &Arc<Connection>,
        stop: &CancellationToken,
    ) {
        let service = service(self.routes.clone(), Arc::clone(connection));
        let exchange = self.http1.serve_connection(TokioIo::new(stream), service);
        finish(exchange, stop).await;
    }
}

/// The routes, for the requests of one connection, which counts them.
fn service(
    routes: Router,
    connection: Arc<Connection>,
) -> impl HttpService<Incoming, ResBody = Answer<Body>, Error = Infallible, Future: Send> {
    service_fn(move |request: Request<Incoming>| {
        let answering = connection.answer();
        let answer = routes.clone().oneshot(request);
        async move {
            let response = answer.await?;
            Ok(response.map(|body| Answer::new(body, answering)))
        }
    })
}

/// Drives an exchange to its end; once the server stops, that is the end of what is being answered.
async fn finish<E: GracefulConnection<Error = hyper::Error>>(
    exchange: E,
    stop: &CancellationToken,
) {
    let mut exchange = pin!(exchange);
    let result = tokio::select! {
        result = exchange.as_mut() => result,
        () = stop.cancelled() => {
            exchange.as_mut().graceful_shutdown();
            exchange.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection broke off");
    }
}
