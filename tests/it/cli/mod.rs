//! The command line: what is printed, and what is refused.

mod bench;
mod output;
mod serve;

use std::process::Command;

/// The binary, run where the repository is, with its shipped models.
fn irori() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_irori"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}
