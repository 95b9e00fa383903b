//! An HDF5 file from outside, read with bounded work and memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use half::{bf16, f16};
use hdf5_pure::{
    AttrValue, Dataset, Datatype, DatatypeByteOrder, Error as Hdf5Error, File, FormatError, Group,
};

use super::InterchangeError;

/// How many bytes a file may make us read in total, beyond [`READS_PER_BYTE`] times its length.
///
/// Looking a name up walks its group again, so an honest file of many small layers is read several times over; a file
/// whose attributes all point at one long string, or whose indices run in circles, would be read without end.
const READS_AT_LEAST: u64 = 256 << 20;
const READS_PER_BYTE: u64 = 16;

/// How many bytes of weights a file may unfold to, beyond [`WEIGHTS_PER_BYTE`] times its length.
///
/// Keras stores weights as they are; compressed ones of a trained network hardly shrink. Only storage that was never
/// written, or a bomb, says more.
const WEIGHTS_AT_LEAST: u64 = 16 << 20;
const WEIGHTS_PER_BYTE: u64 = 32;

/// Opens an HDF5 file that is held in memory.
pub(super) fn open(bytes: Vec<u8>) -> Result<File, InterchangeError> {
    let length = bytes.len() as u64;
    let reads = READS_AT_LEAST.saturating_add(length.saturating_mul(READS_PER_BYTE));
    Ok(File::from_source(Metered {
        bytes,
        left: AtomicU64::new(reads),
    })?)
}

/// How many bytes of decoded weights may come from this many bytes of a file.
pub(super) fn weights_allowance(length: u64) -> u64 {
    WEIGHTS_AT_LEAST.saturating_add(length.saturating_mul(WEIGHTS_PER_BYTE))
}

/// A file in memory that refuses to be read more than a budget allows.
struct Metered {
    bytes: Vec<u8>,
    left: AtomicU64,
}

impl hdf5_pure::Source for Metered {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), FormatError> {
        let end_of_file = || FormatError::UnexpectedEof {
            expected: into.len(),
            available: self.bytes.len(),
        };
        let start = usize::try_from(offset).map_err(|_| end_of_file())?;
        let end = start.checked_add(into.len()).ok_or_else(end_of_file)?;
        let from = self.bytes.get(start..end).ok_or_else(end_of_file)?;
        self.left
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(from.len() as u64)
            })
            .map_err(|_| {
                FormatError::Source("its structure refers to the same bytes over and over".into())
            })?;
        into.copy_from_slice(from);
        Ok(())
    }
}

/// The child group of this name, if there is one.
pub(super) fn child(group: &Group, name: &str) -> Result<Option<Group>, InterchangeError> {
    match group.group(name) {
        Ok(child) => Ok(Some(child)),
        Err(Hdf5Error::Format(FormatError::PathNotFound(_)) | Hdf5Error::NotAGroup(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The attributes of a group or dataset.
pub(super) type Attributes = HashMap<String, AttrValue>;

/// The text of an attribute, if there is such an attribute and it is a text.
pub(super) fn text<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a str> {
    attributes.get(name)?.as_str()
}

/// A list of names, which Keras splits over `name0`, `name1`, … when it is too long for one attribute.
pub(super) fn names(attributes: &Attributes, name: &str) -> Option<Vec<String>> {
    if let Some(value) = attributes.get(name) {
        return strings(value);
    }
    let mut all = Vec::new();
    for part in 0.. {
        match attributes.get(&format!("{name}{part}")) {
            Some(value) => all.extend(strings(value)?),
            None if part == 0 => return None,
            None => break,
        }
    }
    Some(all)
}

/// The elements of an array of texts. An empty list has no texts to show its type by: numpy calls it an array of floats.
fn strings(value: &AttrValue) -> Option<Vec<String>> {
    match value {
        AttrValue::F64Array(values) if values.is_empty() => Some(Vec::new()),
        AttrValue::F32Array(values) if values.is_empty() => Some(Vec::new()),
        value => Some(value.as_strings()?.to_vec()),
    }
}

/// A weight tensor in a file: its extents are known, its elements not read yet.
pub(super) struct Tensor {
    /// What the file calls it.
    pub(super) name: String,
    /// The extents, outermost first.
    pub(super) shape: Vec<usize>,
    dataset: Dataset,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// float32 or float64.
    Float,
    Float16(DatatypeByteOrder),
    Bfloat16(DatatypeByteOrder),
    Integer,
    Other,
}

impl Kind {
    fn of(datatype: &Datatype) -> Self {
        match datatype {
            Datatype::FloatingPoint { size: 4 | 8, .. } => Self::Float,
            Datatype::FloatingPoint {
                size: 2,
                byte_order,
                layout,
            } => match layout.exponent_size {
                5 => Self::Float16(*byte_order),
                8 => Self::Bfloat16(*byte_order),
                _ => Self::Other,
            },
            // numpy has no bfloat16, so h5py stores the elements as two opaque bytes each.
            Datatype::Opaque { size: 2, .. } => Self::Bfloat16(DatatypeByteOrder::LittleEndian),
            Datatype::FixedPoint { .. } => Self::Integer,
            _ => Self::Other,
        }
    }
}

impl Tensor {
    /// The tensor at `path` below `group`.
    pub(super) fn open(group: &Group, path: &str) -> Result<Self, InterchangeError> {
        let dataset = group.dataset(path)?;
        let kind = Kind::of(&dataset.datatype()?);
        let shape = dataset
            .shape()?
            .into_iter()
            .map(|extent| usize::try_from(extent).unwrap_or(usize::MAX))
            .collect();
        Ok(Self {
            name: path.to_owned(),
            shape,
            dataset,
            kind,
        })
    }

    /// Whether the elements are integers, which no weight is but Normalization's count of what it has seen.
    pub(super) fn is_integer(&self) -> bool {
        matches!(self.kind, Kind::Integer)
    }

    /// How many bytes reading holds at once besides the elements themselves: one chunk of the file.
    pub(super) fn chunk_bytes(&self) -> Result<u64, InterchangeError> {
        let chunk = self.dataset.chunk_shape()?.unwrap_or_default();
        let element = self.dataset.element_size()?;
        Ok(chunk
            .iter()
            .fold(element, |n, &extent| n.saturating_mul(extent)))
    }

    /// Reads the elements, converted to f32 (f64 rounds to nearest).
    pub(super) fn read(&self) -> Result<Vec<f32>, InterchangeError> {
        match self.kind {
            Kind::Float => Ok(self.dataset.read_f32()?),
            Kind::Float16(order) => self.halves(order, |bits| f16::from_bits(bits).to_f32()),
            Kind::Bfloat16(order) => self.halves(order, |bits| bf16::from_bits(bits).to_f32()),
            Kind::Integer | Kind::Other => Err(InterchangeError::NotFloat {
                weight: self.name.clone(),
                found: self.dataset.dtype()?.to_string(),
            }),
        }
    }

    fn halves(
        &self,
        order: DatatypeByteOrder,
        convert: impl Fn(u16) -> f32,
    ) -> Result<Vec<f32>, InterchangeError> {
        let bits = match order {
            DatatypeByteOrder::BigEndian => u16::from_be_bytes,
            DatatypeByteOrder::LittleEndian | DatatypeByteOrder::Vax => u16::from_le_bytes,
        };
        let bytes = self.dataset.read_raw()?;
        Ok(bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&pair| convert(bits(pair)))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use hdf5_pure::Source;

    use super::*;

    #[test]
    fn reading_ends_when_the_budget_is_spent() {
        let source = Metered {
            bytes: vec![7; 10],
            left: AtomicU64::new(25),
        };
        assert_eq!(source.read_exact_at(0, 10), Ok(vec![7; 10]));
        assert_eq!(source.read_exact_at(0, 10), Ok(vec![7; 10]));
        assert!(matches!(
            source.read_exact_at(0, 10),
            Err(FormatError::Source(_))
        ));
        assert_eq!(source.read_exact_at(5, 5), Ok(vec![7; 5]));
    }

    #[test]
    fn nothing_is_read_beyond_the_end() {
        let source = Metered {
            bytes: vec![7; 10],
            left: AtomicU64::new(u64::MAX),
        };
        for (offset, length) in [(0, 11), (10, 1), (u64::MAX, 1)] {
            assert!(source.read_at(offset, &mut vec![0; length]).is_err());
            assert!(source.read_exact_at(offset, length).is_err());
        }
    }
}
