//! A thread for one piece of work, whose panic ends nothing else.

use std::io;

/// The work ended in a panic, which is in the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Panicked;

/// Does the work on a thread of its own, and waits for it.
///
/// # Errors
///
/// The system gives no more threads.
pub(super) fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<Result<T, Panicked>> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("irori-load".into())
            .spawn_scoped(scope, work)?;
        Ok(thread.join().map_err(|_| Panicked))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_stays_apart() {
        assert_eq!(apart(|| 1).unwrap(), Ok(1));
        assert_eq!(
            apart(|| panic!("a network")).unwrap(),
            Err::<(), _>(Panicked)
        );
    }
}
