//! Irori: a hearth for Burn models. The library behind the binary.
//!
//! Data flows one way, and a module imports only from those named beside it; `tests/it/house.rs`
//! reads the `use` lines and holds them to this table.
//!
//! | module | what it is | imports |
//! |---|---|---|
//! | [`architecture`] | Keras' JSON ⇄ a checked layer graph; shapes, parameter counts | nothing |
//! | [`imaging`] | bytes → pixels: limits, orientation, colour, resize, scaling | nothing |
//! | [`evaluation`] | scores and truth → a report, as figures, table and pictures | nothing |
//! | [`dataset`] | folders, archives, IDX → labelled images; splits | `imaging` |
//! | [`network`] | layer graph → Burn module: forward, parameters | `architecture` |
//! | [`interchange`] | Keras' .h5, .keras and safetensors ⇄ architecture and parameters | `architecture`, `network` |
//! | [`repository`] | versions of models: publish atomically, list, alias | `architecture`, `evaluation`, `imaging`, `interchange`, `network` |
//! | [`training`] | losses, optimizers, the loop, jobs | all above |
//! | [`serving`] | bounded queue → batch → worker → prediction; hot swap | all above but `dataset`, `training` |
//! | [`http`] | routes and errors: the only module that knows axum | all above |
//! | [`cli`] | commands and progress bars | all above |

#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::print_stdout, clippy::print_stderr)]

pub mod architecture;
pub mod cli;
pub mod dataset;
pub mod evaluation;
pub mod http;
pub mod imaging;
pub mod interchange;
pub mod network;
pub mod repository;
pub mod serving;
pub mod training;
