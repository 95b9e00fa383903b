//! The outline of a WebP file: what its chunks announce, read before a decoder believes them.
//!
//! The decoder allocates for the size that a frame or a metadata chunk gives itself, and only then compares it with the canvas
//! or the file. Layout: RFC 9649, section 2.

/// What the chunks of a WebP file announce.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outline<'a> {
    /// The Exif chunk, without the `Exif\0\0` that some writers put before it.
    pub exif: Option<&'a [u8]>,
    /// The largest lossy frame, in pixels.
    pub largest_frame: u64,
}

pub(super) fn outline(bytes: &[u8]) -> Outline<'_> {
    let mut outline = Outline::default();
    let mut rest = bytes.get(12..).unwrap_or_default();
    while let Some((name, size, body)) = chunk(rest) {
        match name {
            b"EXIF" if outline.exif.is_none() => {
                outline.exif = body
                    .get(..size)
                    .map(|exif| exif.strip_prefix(b"Exif\0\0").unwrap_or(exif));
            }
            b"VP8 " => outline.largest_frame = outline.largest_frame.max(lossy_pixels(body)),
            // An animation frame: 16 bytes about it, then chunks of its own.
            b"ANMF" => {
                rest = body.get(16..).unwrap_or_default();
                continue;
            }
            _ => {}
        }
        rest = body
            .get(size.saturating_add(size % 2)..)
            .unwrap_or_default();
    }
    outline
}

/// A chunk's name, the size that it claims, and everything after its header.
fn chunk(bytes: &[u8]) -> Option<(&[u8; 4], usize, &[u8])> {
    let (name, rest) = bytes.split_first_chunk::<4>()?;
    let (size, body) = rest.split_first_chunk::<4>()?;
    Some((name, usize::try_from(u32::from_le_bytes(*size)).ok()?, body))
}

/// Width × height in the header of a VP8 key frame (RFC 6386, section 9.1): 14 bits each.
fn lossy_pixels(body: &[u8]) -> u64 {
    let Some(&[width_low, width_high, height_low, height_high]) = body.get(6..10) else {
        return 0;
    };
    let side = |low, high| u64::from(u16::from_le_bytes([low, high]) & 0x3FFF);
    side(width_low, width_high) * side(height_low, height_high)
}
