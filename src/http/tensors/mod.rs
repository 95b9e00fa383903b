//! Tensors as clients send them: types, nested lists in JSON, and numbers that JSON has no word for.

mod datatype;
mod few;
mod nested;
pub(super) mod tokens;

pub(super) use datatype::Datatype;
pub(super) use few::Few;
pub(super) use nested::Nested;
