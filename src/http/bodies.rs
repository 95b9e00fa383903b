//! The bodies of requests: what all of them together may hold in memory.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::extract::{declared_length, too_slow};
use super::problem::Problem;
use super::state::AppState;

/// Bytes of a body that is read whatever becomes of its request.
const SMALL_BODY: u64 = 64 << 10;

/// The memory that bodies may take, of all requests together.
#[derive(Debug)]
pub(super) struct Budget {
    bytes: Arc<Semaphore>,
    limit: usize,
}

impl Budget {
    /// So many bytes.
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self {
            bytes: Arc::new(Semaphore::new(limit)),
            limit,
        }
    }

    /// Bytes that are taken of it.
    pub(super) fn taken(&self) -> usize {
        self.limit.saturating_sub(self.bytes.available_permits())
    }

    fn exhausted(&self) -> Response {
        Problem::new(
            "bodies_full",
            format!(
                "the bodies that are being received and answered fill the {} bytes that they may take; try again in a moment",
                self.limit
            ),
        )
        .into_response()
    }
}

/// Counts a request's body against the budget until the request is answered.
///
/// A small one is read before anything is decided about its request: one that a refusal leaves unread costs the connection,
/// which the client may be using for its next request already. Uploads under `/admin` go to disk or have limits of their own.
pub(super) async fn count(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let budget = &state.bodies;
    match declared_length(request.headers()) {
        Some(length @ 1..=SMALL_BODY) => {
            let Some(_held) = take(&budget.bytes, length as usize) else {
                return budget.exhausted();
            };
            read(&state, request, next).await
        }
        Some(0) => next.run(request).await,
        _ if request.uri().path().starts_with("/admin/") => next.run(request).await,
        _ => {
            let account = Arc::new(Account {
                bytes: Arc::clone(&budget.bytes),
                held: Mutex::new(None),
                is_refused: AtomicBool::new(false),
            });
            let counted = request.map(|body| {
                Body::new(Counted {
                    body,
                    account: Arc::clone(&account),
                })
            });
            let response = next.run(counted).await;
            if account.is_refused.load(Ordering::Relaxed) {
                return budget.exhausted();
            }
            response
        }
    }
}

async fn read(state: &AppState, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let timeout = state.config.body_timeout;
    match tokio::time::timeout(timeout, to_bytes(body, SMALL_BODY as usize)).await {
        Ok(Ok(body)) => next.run(Request::from_parts(parts, body.into())).await,
        Ok(Err(error)) => Problem::new("body_incomplete", error).into_response(),
        Err(_) => too_slow(timeout).into_response(),
    }
}

fn take(bytes: &Arc<Semaphore>, count: usize) -> Option<OwnedSemaphorePermit> {
    let count = u32::try_from(count).ok()?;
    Arc::clone(bytes).try_acquire_many_owned(count).ok()
}

/// What one request has taken of the budget.
struct Account {
    bytes: Arc<Semaphore>,
    held: Mutex<Option<OwnedSemaphorePermit>>,
    is_refused: AtomicBool,
}

impl Account {
    fn take(&self, count: usize) -> bool {
        let Some(taken) = take(&self.bytes, count) else {
            self.is_refused.store(true, Ordering::Relaxed);
            return false;
        };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.as_mut() {
            Some(held) => held.merge(taken),
            None => *held = Some(taken),
        }
        true
    }
}

/// A body whose bytes are counted as they arrive, so that nobody takes of the budget what they have only announced.
struct Counted {
    body: Body,
    account: Arc<Account>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && !self.account.take(data.len())
        {
            return Poll::Ready(Some(Err(axum::Error::new(
                "no memory is left for the body",
            ))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
