//! `/admin`: what changes the server, for holders of a token.

pub(super) mod datasets;
mod events;
pub(super) mod export;
pub(super) mod import;
pub(super) mod jobs;
pub(super) mod lifecycle;
pub(super) mod train;
