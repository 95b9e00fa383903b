//! The IDX files of MNIST and its kin: images in one file, their labels in another.
//!
//! Format: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits": two zero bytes, the type (8: unsigned
//! byte), the number of dimensions, each dimension as a big-endian 32-bit number, then the values.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::source::{Listing, Source};
use super::{DatasetError, Options};
use crate::imaging::Dimensions;

/// The files of one part: where they stand in the listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub images: usize,
    pub labels: usize,
}

/// The images and labels of one part.
pub(super) struct Set {
    /// The size of each image.
    pub image: Dimensions,
    /// All images, end to end.
    pub pixels: Vec<u8>,
    /// One label per image.
    pub labels: Vec<u8>,
    /// The two files.
    pub files: [Content; 2],
}

/// What the digest of a data set takes from an unpacked file.
pub(super) struct Content {
    /// The name by which it is known, whatever it is called here.
    pub name: &'static str,
    pub bytes: u64,
    pub digest: [u8; 32],
}

/// The MNIST files among a listing: those to train on, and those to test on.
///
/// # Errors
/// Images without labels, or labels without images.
pub(super) fn pairs(listing: &Listing) -> Result<(Option<Pair>, Option<Pair>), DatasetError> {
    let pair = |parts: &[&str]| {
        let find = |ending: &str| {
            let is_it = |name: &str| {
                let file = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
                let plain = file
                    .strip_suffix(".gz")
                    .unwrap_or(&file)
                    .replace(".idx", "-idx");
                let stem = plain.strip_suffix(ending);
                stem.is_some_and(|stem| parts.iter().any(|part| stem.ends_with(part)))
            };
            let found = listing
                .files
                .iter()
                .enumerate()
                .filter(|(_, file)| is_it(&file.name));
            // Some tools leave the unpacked file beside the packed one; either will do, but always the same.
            found
                .min_by_key(|(_, file)| file.name.as_str())
                .map(|(index, _)| index)
        };
        match (find("-images-idx3-ubyte"), find("-labels-idx1-ubyte")) {
            (Some(images), Some(labels)) => Ok(Some(Pair { images, labels })),
            (None, None) => Ok(None),
            (Some(index), None) => Err(unpaired(listing, index, "labels-idx1-ubyte")),
            (None, Some(index)) => Err(unpaired(listing, index, "images-idx3-ubyte")),
        }
    };
    Ok((pair(&["train"])?, pair(&["t10k", "test"])?))
}

fn unpaired(listing: &Listing, index: usize, partner: &'static str) -> DatasetError {
    let name = listing.files.get(index).map(|file| file.name.clone());
    DatasetError::IdxUnpaired {
        name: name.unwrap_or_default(),
        partner,
    }
}

/// Reads the two files of one part and holds them against each other.
pub(super) fn read_pair(
    source: &mut Source,
    listing: &Listing,
    pair: Pair,
    options: &Options,
) -> Result<Set, DatasetError> {
    let (mut images, mut labels) = (None, None);
    let wanted = |file| file == pair.images || file == pair.labels;
    source.read(listing, &wanted, &mut |file, content| {
        let name = listing.files[file].name.as_str();
        if file == pair.images {
            images = Some((name, read::<3>(name, &content, options.max_unpacked_bytes)?));
        } else {
            labels = Some((name, read::<1>(name, &content, options.max_unpacked_bytes)?));
        }
        Ok(())
    })?;
    let (Some((images_name, images)), Some((labels_name, labels))) = (images, labels) else {
        return Err(DatasetError::NoImages);
    };
    let refused = |name: &str, reason| DatasetError::Idx {
        name: name.to_owned(),
        reason,
    };
    let [count, height, width] = images.dimensions;
    let pixels = height.saturating_mul(width) as u64;
    if pixels == 0 || pixels > options.limits.max_pixels {
        let allowed = options.limits.max_pixels;
        let reason =
            format!("its images are {width}×{height}, and 1 to {allowed} pixels are allowed");
        return Err(refused(images_name, reason));
    }
    if count != labels.dimensions[0] {
        let reason = format!("it has {} labels for {count} images", labels.dimensions[0]);
        return Err(refused(labels_name, reason));
    }
    let file = |name, bytes, digest| Content {
        name,
        bytes,
        digest,
    };
    Ok(Set {
        image: Dimensions {
            height,
            width,
            channels: 1,
        },
        files: [
            file("images-idx3-ubyte", images.bytes, images.digest),
            file("labels-idx1-ubyte", labels.bytes, labels.digest),
        ],
        pixels: images.values,
        labels: labels.values,
    })
}

/// An IDX file, unpacked.
struct Values<const DIMENSIONS: usize> {
    dimensions: [usize; DIMENSIONS],
    values: Vec<u8>,
    /// Of the whole file, as is the digest.
    bytes: u64,
    digest: [u8; 32],
}

/// Reads an IDX file of unsigned bytes, gzipped or not. Nothing is allocated on the header's word alone.
fn read<const DIMENSIONS: usize>(
    name: &str,
    content: &[u8],
    max_bytes: u64,
) -> Result<Values<DIMENSIONS>, DatasetError> {
    if content.starts_with(&[0x1F, 0x8B]) {
        read_from(name, MultiGzDecoder::new(content), max_bytes)
    } else {
        read_from(name, content, max_bytes)
    }
}

fn read_from<const DIMENSIONS: usize>(
    name: &str,
    mut reader: impl Read,
    max_bytes: u64,
) -> Result<Values<DIMENSIONS>, DatasetError> {
    let refused = |reason| DatasetError::Idx {
        name: name.to_owned(),
        reason,
    };
    let mut header = Vec::new();
    let header_length = 4 + 4 * DIMENSIONS;
    let read = reader
        .by_ref()
        .take(header_length as u64)
        .read_to_end(&mut header);
    read.map_err(|error| refused(error.to_string()))?;
    if header.len() < header_length {
        return Err(refused(format!(
            "it ends within its header of {header_length} bytes"
        )));
    }
    let (magic, sizes) = header.split_at(4);
    if magic != [0, 0, 8, DIMENSIONS as u8] {
        return Err(refused(format!(
            "it starts with the bytes {magic:02x?}, not with [00, 00, 08, {DIMENSIONS:02x}] (unsigned bytes in {DIMENSIONS} dimensions)"
        )));
    }
    let mut dimensions = [0usize; DIMENSIONS];
    let mut expected = 1u64;
    for (dimension, size) in dimensions.iter_mut().zip(sizes.as_chunks::<4>().0) {
        let size = u32::from_be_bytes(*size);
        *dimension = usize::try_from(size).unwrap_or(usize::MAX);
        expected = expected.saturating_mul(u64::from(size));
    }
    if expected > max_bytes {
        return Err(DatasetError::UnpackedTooLarge { allowed: max_bytes });
    }
    let mut values = Vec::new();
    let read = reader.take(expected + 1).read_to_end(&mut values);
    read.map_err(|error| refused(error.to_string()))?;
    if values.len() as u64 != expected {
        let found = match values.len() as u64 {
            more if more > expected => "more".to_owned(),
            fewer => fewer.to_string(),
        };
        return Err(refused(format!(
            "its header announces {dimensions:?} = {expected} values and there are {found}"
        )));
    }
    let mut digest = Sha256::new();
    digest.update(&header);
    digest.update(&values);
    Ok(Values {
        dimensions,
        bytes: (header.len() + values.len()) as u64,
        values,
        digest: digest.finalize().into(),
    })
}
