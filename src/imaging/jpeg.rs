//! The outline of a JPEG file: its frame, its scans, and whether it is whole.
//!
//! The decoder fills what is missing from a cut file with grey and reports success, and spends as long on a scan of 20 bytes
//! as on an honest one. Walking the markers (ITU-T T.81, annex B) costs a fraction of decoding and tells both.

/// What the markers of a JPEG file say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    /// The coefficients of the whole image are held in memory until the last scan.
    pub progressive: bool,
    /// Start-of-scan markers.
    pub scans: u64,
    /// The end-of-image marker is there.
    pub ended: bool,
}

const START_OF_SCAN: u8 = 0xDA;
const END_OF_IMAGE: u8 = 0xD9;
const START_OF_PROGRESSIVE_FRAME: u8 = 0xC2;

/// Walks the markers up to the end of the image; what follows that (a second picture, a maker's notes) is not looked at.
pub(super) fn outline(bytes: &[u8]) -> Outline {
    let mut outline = Outline::default();
    let mut rest = bytes;
    while let Some((marker, after)) = next_marker(rest) {
        rest = match marker {
            END_OF_IMAGE => {
                outline.ended = true;
                return outline;
            }
            // Start of image, restarts and TEM stand alone. Zero is a stuffed 0xFF, which is data.
            0x00 | 0x01 | 0xD0..=0xD8 => after,
            _ => {
                outline.scans += u64::from(marker == START_OF_SCAN);
                outline.progressive |= marker == START_OF_PROGRESSIVE_FRAME;
                let Some(length) = after.first_chunk::<2>() else {
                    return outline;
                };
                let Some(following) = after.get(usize::from(u16::from_be_bytes(*length))..) else {
                    return outline;
                };
                following
            }
        };
    }
    outline
}

/// The next byte after a run of 0xFF, and what follows it.
fn next_marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let start = bytes.iter().position(|&byte| byte == 0xFF)?;
    let run = bytes.get(start..)?;
    let end = run.iter().position(|&byte| byte != 0xFF)?;
    Some((*run.get(end)?, run.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_scans_and_skips_stuffed_bytes() {
        let file = [
            0xFF, 0xD8, 0xFF, 0xC2, 0, 4, 0xFF,
            0xD9, // a frame whose content looks like an end
            0xFF, 0xDA, 0, 2, 1, 0xFF, 0x00, 2, 0xFF, 0xD3, 3, // stuffed byte, restart
            0xFF, 0xDA, 0, 2, 4, 0xFF, 0xFF, 0xD9, 0xFF, 0xDA, 0, 2,
        ];
        let whole = Outline {
            progressive: true,
            scans: 2,
            ended: true,
        };
        assert_eq!(outline(&file), whole);
        assert!(!outline(&file[..file.len() - 5]).ended);
    }
}
