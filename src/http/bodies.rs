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
pub(super) async fn count(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let budget = &state.bodies;
    let length = declared_length(request.headers());
    let small = length.filter(|length| *length <= SMALL_BODY);
    if length == Some(0) || small.is_none() && request.uri().path().starts_with("/admin/") {
        return next.run(request).await;
    }
    let account = Arc::new(Account {
        bytes: Arc::clone(&budget.bytes),
        held: Mutex::new(None),
        is_refused: AtomicBool::new(false),
    });
    request.extensions_mut().insert(Arc::clone(&account));
    let response = match small {
        Some(length) if account.hold(length as usize) => read(&state, request, next).await,
        Some(_) => return budget.exhausted(),
        None => next.run(counted(request, &account)).await,
    };
    if account.is_refused.load(Ordering::Relaxed) {
        return budget.exhausted();
    }
    response
}

/// Counts what comes out of a body that was packed, which may be much more than went in.
pub(super) async fn count_unpacked(request: Request, next: Next) -> Response {
    match request.extensions().get::<Arc<Account>>().cloned() {
        Some(account) => next.run(counted(request, &account)).await,
        None => next.run(request).await,
    }
}

fn counted(request: Request, account: &Arc<Account>) -> Request {
    request.map(|body| {
        Body::new(Counted {
            body,
            seen: 0,
            account: Arc::clone(account),
        })
    })
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

/// What one request has taken of the budget: as much as its body has had in whichever form it was larger, packed or not.
struct Account {
    bytes: Arc<Semaphore>,
    held: Mutex<Option<OwnedSemaphorePermit>>,
    is_refused: AtomicBool,
}

impl Account {
    /// Holds so many bytes in all from now on, or says that they are not there.
    fn hold(&self, bytes: usize) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let before = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Some(more) = bytes.checked_sub(before).filter(|more| *more > 0) else {
            return true;
        };
        let taken = u32::try_from(more)
            .ok()
            .and_then(|more| Arc::clone(&self.bytes).try_acquire_many_owned(more).ok());
        let Some(taken) = taken else {
            self.is_refused.store(true, Ordering::Relaxed);
            return false;
        };
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
    seen: usize,
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
        {
            self.seen = self.seen.saturating_add(data.len());
            if !self.account.hold(self.seen) {
                let refusal = axum::Error::new("no memory is left for the body");
                return Poll::Ready(Some(Err(refusal)));
            }
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
