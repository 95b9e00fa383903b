//! When the request at hand arrived, from which its time is counted.

use std::time::{Duration, Instant};

/// The longest time that is counted: as good as for ever.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

tokio::task_local! {
    static ARRIVED: Instant;
}

/// Answers a request whose head was read at `arrived`.
pub(super) async fn answer<T>(arrived: Instant, answer: impl Future<Output = T>) -> T {
    ARRIVED.scope(arrived, answer).await
}

/// When the request at hand has taken `timeout`.
pub(super) fn deadline(timeout: Duration) -> Instant {
    let arrived = ARRIVED.try_with(|arrived| *arrived);
    arrived.unwrap_or_else(|_| Instant::now()) + timeout.min(LONGEST)
}
