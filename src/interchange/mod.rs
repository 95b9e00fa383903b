//! Model files of other tools: what a Keras `.h5`, a `.keras` or a safetensors file says, as architecture and parameters, and back.

mod safetensors;

pub use self::safetensors::{SafetensorsError, read_safetensors, write_safetensors};
