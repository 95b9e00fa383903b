//! What a command prints. A reader that has seen enough, as `head` has, is no error: the command goes on and ends as it would
//! have, and the rest is dropped.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Prints a result and the end of its line.
///
/// # Errors
///
/// It can't be written, as on a full disk.
pub(super) fn print(result: impl Display) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{result}").and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("could not write to stdout"))
        }
        _ => Ok(()),
    }
}

/// Tells somebody who may be watching stderr; there is nowhere else to say that it can't be written.
pub fn tell(news: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{news}");
}
