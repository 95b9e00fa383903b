//! The command line: what is printed, and what is refused.

mod bench;
