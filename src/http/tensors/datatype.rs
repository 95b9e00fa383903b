//! The types of a tensor's elements, by the names of the Open Inference Protocol.

use half::{bf16, f16};
use serde::Deserialize;
use utoipa::ToSchema;

use super::nested::Numbers;

/// What the elements of a tensor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(in crate::http) enum Datatype {
    /// A truth value, of one byte.
    Bool,
    /// An unsigned integer of 8 bits.
    Uint8,
    /// An unsigned integer of 16 bits.
    Uint16,
    /// An unsigned integer of 32 bits.
    Uint32,
    /// An unsigned integer of 64 bits.
    Uint64,
    /// A signed integer of 8 bits.
    Int8,
    /// A signed integer of 16 bits.
    Int16,
    /// A signed integer of 32 bits.
    Int32,
    /// A signed integer of 64 bits.
    Int64,
    /// A float of 16 bits.
    Fp16,
    /// A float of 16 bits with the range of one of 32.
    Bf16,
    /// A float of 32 bits.
    Fp32,
    /// A float of 64 bits.
    Fp64,
    /// A string of bytes: here an image file.
    Bytes,
}

impl Datatype {
    /// Bytes of an element; `None` where each has its own length.
    pub(in crate::http) fn size(self) -> Option<usize> {
        match self {
            Self::Bool | Self::Uint8 | Self::Int8 => Some(1),
            Self::Uint16 | Self::Int16 | Self::Fp16 | Self::Bf16 => Some(2),
            Self::Uint32 | Self::Int32 | Self::Fp32 => Some(4),
            Self::Uint64 | Self::Int64 | Self::Fp64 => Some(8),
            Self::Bytes => None,
        }
    }

    /// The name that clients know it by.
    pub(super) fn name(self) -> String {
        format!("{self:?}").to_uppercase()
    }

    /// Whether numbers like these are of this type.
    pub(super) fn holds(self, numbers: Numbers) -> bool {
        let (least, most) = match self {
            Self::Bool => (0.0, 1.0),
            Self::Uint8 => (0.0, f64::from(u8::MAX)),
            Self::Uint16 => (0.0, f64::from(u16::MAX)),
            Self::Uint32 => (0.0, f64::from(u32::MAX)),
            Self::Uint64 => (0.0, u64::MAX as f64),
            Self::Int8 => (f64::from(i8::MIN), f64::from(i8::MAX)),
            Self::Int16 => (f64::from(i16::MIN), f64::from(i16::MAX)),
            Self::Int32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
            Self::Int64 => (i64::MIN as f64, i64::MAX as f64),
            Self::Fp16 | Self::Bf16 | Self::Fp32 | Self::Fp64 => return true,
            Self::Bytes => return false,
        };
        numbers.are_whole && least <= numbers.least && numbers.most <= most
    }

    /// Little-endian elements as the network reads them, whole ones only. There are none of
    /// [`Bytes`](Self::Bytes).
    pub(in crate::http) fn values(self, bytes: &[u8]) -> Vec<f32> {
        fn each<const SIZE: usize>(bytes: &[u8], value: impl Fn([u8; SIZE]) -> f32) -> Vec<f32> {
            let (elements, _) = bytes.as_chunks::<SIZE>();
            elements.iter().map(|element| value(*element)).collect()
        }
        match self {
            Self::Bool => each(bytes, |[b]| f32::from(u8::from(b != 0))),
            Self::Uint8 => each(bytes, |[b]| f32::from(b)),
            Self::Uint16 => each(bytes, |b| f32::from(u16::from_le_bytes(b))),
            Self::Uint32 => each(bytes, |b| u32::from_le_bytes(b) as f32),
            Self::Uint64 => each(bytes, |b| u64::from_le_bytes(b) as f32),
            Self::Int8 => each(bytes, |b| f32::from(i8::from_le_bytes(b))),
            Self::Int16 => each(bytes, |b| f32::from(i16::from_le_bytes(b))),
            Self::Int32 => each(bytes, |b| i32::from_le_bytes(b) as f32),
            Self::Int64 => each(bytes, |b| i64::from_le_bytes(b) as f32),
            Self::Fp16 => each(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Self::Bf16 => each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            Self::Fp32 => each(bytes, f32::from_le_bytes),
            Self::Fp64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
            Self::Bytes => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_must_be_of_their_type() {
        for (datatype, least, most, are_whole, expected) in [
            (Datatype::Uint8, 0.0, 255.0, true, true),
            (Datatype::Uint8, 0.0, 256.0, true, false),
            (Datatype::Uint8, -1.0, 1.0, true, false),
            (Datatype::Uint8, 0.5, 0.5, false, false),
            (Datatype::Int8, -128.0, 127.0, true, true),
            (Datatype::Int16, 0.0, 40_000.0, true, false),
            (Datatype::Bool, 0.0, 1.0, true, true),
            (Datatype::Bool, 0.0, 2.0, true, false),
            (Datatype::Fp32, 0.1, f64::INFINITY, false, true),
            (Datatype::Bytes, 0.0, 0.0, true, false),
        ] {
            let numbers = Numbers {
                least,
                most,
                are_whole,
            };
            assert_eq!(
                datatype.holds(numbers),
                expected,
                "{datatype:?} {numbers:?}"
            );
        }
    }

    #[test]
    fn every_type_is_read_from_its_bytes() {
        for (datatype, bytes, expected) in [
            (Datatype::Bool, &[0, 1, 7][..], &[0.0, 1.0, 1.0][..]),
            (Datatype::Uint8, &[255], &[255.0]),
            (Datatype::Uint16, &[1, 1], &[257.0]),
            (Datatype::Uint32, &[0, 0, 1, 0], &[65_536.0]),
            (Datatype::Uint64, &[2, 0, 0, 0, 0, 0, 0, 0], &[2.0]),
            (Datatype::Int8, &[255], &[-1.0]),
            (Datatype::Int16, &[0, 128], &[-32_768.0]),
            (Datatype::Int32, &[255, 255, 255, 255], &[-1.0]),
            (
                Datatype::Int64,
                &[254, 255, 255, 255, 255, 255, 255, 255],
                &[-2.0],
            ),
            (Datatype::Fp16, &[0, 0x3c], &[1.0]),
            (Datatype::Bf16, &[0x80, 0x3f], &[1.0]),
            (Datatype::Fp32, &[0, 0, 0x80, 0x3f, 9], &[1.0]),
            (Datatype::Fp64, &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f], &[1.0]),
            (Datatype::Bytes, &[1, 0, 0, 0, 5], &[]),
        ] {
            assert_eq!(datatype.values(bytes), expected, "{datatype:?}");
        }
    }
}
