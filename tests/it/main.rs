//! The integration tests: one binary, a module per capability.

mod architecture;
mod dataset;
mod evaluation;
mod house;
mod imaging;
mod interchange;
mod keras;
mod repository;
