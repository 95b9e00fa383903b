//! The integration tests: one binary, a module per capability.

mod architecture;
mod cli;
mod contract;
mod dataset;
mod evaluation;
mod gradients;
mod house;
mod http;
mod imaging;
mod interchange;
mod keras;
mod predictor;
mod repository;
mod serving;
mod training;
