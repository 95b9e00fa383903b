//! A connection: what it is doing, told from the bytes that pass and the requests that are answered.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;
use std::{io, mem};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

/// What a connection is doing, and the way to end it.
#[derive(Debug)]
pub(super) struct Connection {
    doing: Mutex<Doing>,
    cut: CancellationToken,
}

#[derive(Debug)]
struct Doing {
    phase: Phase,
    /// Answers of which the client has yet to take a piece, before the next one is asked for.
    handed_out: usize,
    /// When a piece of any was last asked for.
    asked: Instant,
    /// Whether there are bytes that are not sent yet, and when some were.
    unsent: bool,
    sent: Instant,
    /// Whether bytes may come that belong to no request, as HTTP/2's pings do.
    multiplexed: bool,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// The head of a request is on its way, or what comes before the first one: since when.
    Head(Instant),
    /// So many requests are being read and answered.
    Answering(usize),
    /// All of its answers wait for the client to take them: since when it has taken nothing.
    Sending(Instant),
    /// There was a request, and there is none now: since when.
    Idle(Instant),
}

impl Connection {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            doing: Mutex::new(Doing {
                phase: Phase::Head(now),
                handed_out: 0,
                asked: now,
                unsent: false,
                sent: now,
                multiplexed: false,
            }),
            cut: CancellationToken::new(),
        }
    }

    /// Ends the connection whatever it is doing.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }

    /// Waits until the connection is cut.
    pub(super) async fn is_cut(&self) {
        self.cut.cancelled().await;
    }

    /// From here on it speaks HTTP/2.
    pub(super) fn multiplex(&self) {
        self.doing().multiplexed = true;
    }

    /// Where it stands.
    pub(super) fn phase(&self) -> Phase {
        let doing = self.doing();
        match doing.phase {
            _ if doing.unsent => Phase::Sending(doing.sent),
            Phase::Answering(requests) if doing.handed_out == requests => {
                Phase::Sending(doing.asked)
            }
            phase => phase,
        }
    }

    /// Counts a request until the guard is dropped.
    pub(super) fn answer(self: &Arc<Self>) -> Answering {
        let phase = &mut self.doing().phase;
        *phase = match *phase {
            Phase::Answering(requests) => Phase::Answering(requests.saturating_add(1)),
            _ => Phase::Answering(1),
        };
        Answering {
            connection: Arc::clone(self),
            handed_out: false,
        }
    }

    fn doing(&self) -> MutexGuard<'_, Doing> {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_read(&self) {
        let mut doing = self.doing();
        if !doing.multiplexed && matches!(doing.phase, Phase::Idle(_)) {
            doing.phase = Phase::Head(Instant::now());
        }
    }

    fn has_written(&self) {
        let mut doing = self.doing();
        doing.unsent = true;
        doing.sent = Instant::now();
    }

    fn could_not_write(&self) {
        let mut doing = self.doing();
        if !doing.unsent {
            doing.unsent = true;
            doing.sent = Instant::now();
        }
    }

    fn has_sent_all(&self) {
        let mut doing = self.doing();
        let was_unsent = mem::take(&mut doing.unsent);
        if was_unsent
            && !doing.multiplexed
            && let Phase::Idle(since) = &mut doing.phase
        {
            // Only now is the last request answered.
            *since = Instant::now();
        }
    }
}

/// A request that is being answered.
pub(super) struct Answering {
    connection: Arc<Connection>,
    /// Whether it is the client's turn: to take the last piece, so that the next is asked for.
    handed_out: bool,
}

impl Answering {
    fn hand_out(&mut self) {
        let mut doing = self.connection.doing();
        doing.asked = Instant::now();
        if !self.handed_out {
            doing.handed_out += 1;
            self.handed_out = true;
        }
    }

    fn take_back(&mut self) {
        if self.handed_out {
            self.connection.doing().handed_out -= 1;
            self.handed_out = false;
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.take_back();
        let phase = &mut self.connection.doing().phase;
        if let Phase::Answering(requests) = *phase {
            *phase = match requests {
                0 | 1 => Phase::Idle(Instant::now()),
                requests => Phase::Answering(requests - 1),
            };
        }
    }
}

/// Bytes that are handed out at a time: a frame of HTTP/2.
const PIECE: usize = 16 << 10;

/// The body of an answer, which ends with it. A piece of it is asked for when the client has taken enough of those before: of
/// HTTP/2, whose client says how much it takes, a larger piece would wait where nobody sees that an answer is under way.
pub(super) struct Answer<B> {
    body: B,
    /// What the body has given already and was not asked for yet.
    rest: Bytes,
    answering: Answering,
}

impl<B> Answer<B> {
    pub(super) fn new(body: B, mut answering: Answering) -> Self {
        answering.hand_out();
        Self {
            body,
            rest: Bytes::new(),
            answering,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut frame = if self.rest.is_empty() {
            Pin::new(&mut self.body).poll_frame(context)
        } else {
            Poll::Ready(Some(Ok(Frame::data(mem::take(&mut self.rest)))))
        };
        match &mut frame {
            Poll::Ready(frame) => {
                if let Some(Ok(frame)) = frame
                    && let Some(data) = frame.data_mut()
                    && data.len() > PIECE
                {
                    self.rest = data.split_off(PIECE);
                }
                self.answering.hand_out();
            }
            Poll::Pending => self.answering.take_back(),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let hint = self.body.size_hint();
        let mut all = SizeHint::new();
        all.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            all.set_upper(upper + rest);
        }
        all
    }
}

/// The bytes of a connection, which tell it what passes.
pub(super) struct Observed<S> {
    pub(super) stream: S,
    pub(super) connection: Arc<Connection>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.connection.has_read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Observed<S> {
    fn written<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match result {
            Poll::Ready(_) => self.connection.has_written(),
            Poll::Pending => self.connection.could_not_write(),
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.written(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Asked for when all that there was is written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.stream).poll_flush(context));
        self.connection.has_sent_all();
        Poll::Ready(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
