//! One image on its way through the engine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::engine::Scored;
use super::places::Place;
use super::{Servable, ServingError};

/// One image on its way through the engine, as an encoded file or as pixels.
pub(super) struct Work<T> {
    pub(super) servable: Arc<Servable>,
    /// Its place in the request.
    pub(super) index: usize,
    pub(super) image: T,
    /// Since when it has waited in this form.
    pub(super) queued: Instant,
    /// How long its decoding took.
    pub(super) decode: Duration,
    pub(super) reply: oneshot::Sender<Result<Scored, ServingError>>,
    pub(super) place: Place,
}

impl<T> Work<T> {
    /// The same with the image in another form.
    pub(super) fn with<U>(self, image: U) -> Work<U> {
        Work {
            servable: self.servable,
            index: self.index,
            image,
            queued: self.queued,
            decode: self.decode,
            reply: self.reply,
            place: self.place,
        }
    }

    /// Answers the client, who finds its place free again. One that has gone needs no answer.
    pub(super) fn answer(self, answer: Result<Scored, ServingError>) {
        drop(self.place);
        let _ = self.reply.send(answer);
    }

    /// Whether nobody waits for the answer any more: the client has left, or its time was up.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}
