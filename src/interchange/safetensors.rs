//! Parameters as a safetensors file: `<layer>/<variable>` names, row-major, F32 when written.

use std::borrow::Cow;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView, View};
use thiserror::Error;

use crate::network::{Parameter, Parameters};

/// Reads parameters from the bytes of a safetensors file, in the order of their data.
///
/// F16, BF16 and F64 are converted to F32 (F64 rounds to nearest). Nothing is allocated beyond what the file itself holds,
/// because the format's sizes are checked against the length of `bytes` first.
///
/// # Errors
///
/// The bytes are no safetensors file, or a tensor is not of floating point.
pub fn read_safetensors(bytes: &[u8]) -> Result<Parameters, SafetensorsError> {
    let file = SafeTensors::deserialize(bytes).map_err(SafetensorsError::Malformed)?;
    let mut tensors: Vec<(&str, TensorView<'_>)> = file.iter().collect();
    tensors.sort_by_key(|(_, tensor)| tensor.data().as_ptr().addr());
    tensors
        .into_iter()
        .map(|(name, tensor)| {
            let values = floats(&tensor).ok_or_else(|| SafetensorsError::NotFloat {
                tensor: name.to_owned(),
                dtype: tensor.dtype(),
            })?;
            let shape = tensor.shape().to_vec();
            Ok((name.to_owned(), Parameter { shape, values }))
        })
        .collect()
}

/// Writes parameters as the bytes of a safetensors file, in F32, sorted by name.
///
/// The same parameters always give the same bytes.
///
/// # Errors
///
/// A parameter's values are not as many as its shape says.
pub fn write_safetensors(parameters: &Parameters) -> Result<Vec<u8>, SafetensorsError> {
    safetensors::serialize(parameters.iter().map(|(name, p)| (name, F32(p))), None)
        .map_err(SafetensorsError::Inconsistent)
}

struct F32<'a>(&'a Parameter);

impl View for F32<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(
            self.0
                .values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        )
    }

    fn data_len(&self) -> usize {
        self.0.values.len() * size_of::<f32>()
    }
}

fn floats(tensor: &TensorView<'_>) -> Option<Vec<f32>> {
    let data = tensor.data();
    Some(match tensor.dtype() {
        Dtype::F32 => little_endian(data, f32::from_le_bytes),
        Dtype::F64 => little_endian(data, |bytes| f64::from_le_bytes(bytes) as f32),
        Dtype::F16 => little_endian(data, |bytes| f16::from_le_bytes(bytes).to_f32()),
        Dtype::BF16 => little_endian(data, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        _ => return None,
    })
}

fn little_endian<const N: usize>(data: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    data.as_chunks::<N>()
        .0
        .iter()
        .map(|&bytes| convert(bytes))
        .collect()
}

/// A safetensors file could not be read or written.
#[derive(Debug, Error)]
pub enum SafetensorsError {
    /// The bytes are no (whole) safetensors file.
    #[error("not a valid safetensors file: {0}; it may be cut short or of another format")]
    Malformed(#[source] SafeTensorError),
    /// A tensor is not of floating point.
    #[error("tensor {tensor:?} is of type {dtype:?}; weights must be F16, BF16, F32 or F64")]
    NotFloat {
        /// The tensor.
        tensor: String,
        /// Its type in the file.
        dtype: Dtype,
    },
    /// The parameters to write contradict themselves.
    #[error("the parameters can't be written: {0}")]
    Inconsistent(#[source] SafeTensorError),
}

impl SafetensorsError {
    /// The stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "safetensors_malformed",
            Self::NotFloat { .. } => "weights_not_float",
            Self::Inconsistent(_) => "parameters_inconsistent",
        }
    }
}
