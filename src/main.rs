//! The binary: parses the arguments, calls the library, and turns its error into an exit code.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Versions come and go, and are loaded, served and dropped by different threads: under this one the memory of a server
/// comes back to where it was.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match irori::cli::run(irori::cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            irori::cli::tell(format_args!("irori: {}", explain(&error)));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes, those left out that an error above them has quoted already.
fn explain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}
