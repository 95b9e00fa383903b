//! A zip archive as the source of a data set.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;

use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::source::{Entry, Listing, Visit, is_litter, read_exactly};
use super::{DatasetError, Options, entry_name};

pub(super) type ZipFile = ZipArchive<BufReader<File>>;

pub(super) fn open(file: BufReader<File>) -> Result<ZipFile, DatasetError> {
    let mut archive = ZipArchive::new(file).map_err(|error| refused(error, "the archive"))?;
    if archive
        .has_overlapping_files()
        .map_err(|error| refused(error, "the archive"))?
    {
        return Err(DatasetError::Overlap);
    }
    Ok(archive)
}

pub(super) fn list(archive: &ZipFile, options: &Options) -> Result<Listing, DatasetError> {
    let directory = archive.metadata();
    let mut listing = Listing::default();
    let mut total = 0;
    let mut seen = HashSet::new();
    for place in 0..directory.len() {
        let entry = directory
            .entry(place)
            .map_err(|error| refused(error, "the archive"))?;
        let name = entry.name().map_err(|error| refused(error, "a name"))?;
        let name = entry_name::checked(&name)?;
        if entry.is_symlink() {
            return Err(DatasetError::Link { name });
        }
        if is_litter(&name) {
            continue;
        }
        if entry.is_dir() {
            listing.folders.push(name);
            continue;
        }
        if !seen.insert(name.clone()) {
            return Err(DatasetError::DuplicateName { name });
        }
        if entry.encrypted() {
            return Err(DatasetError::Encrypted { name });
        }
        let method = entry.compression();
        if !matches!(
            method,
            CompressionMethod::Stored | CompressionMethod::Deflated
        ) {
            return Err(DatasetError::UnsupportedPacking {
                name,
                reason: format!("compression {method}"),
            });
        }
        if entry_name::is_archive(&name) {
            return Err(DatasetError::Nested { name });
        }
        let size = entry.size();
        listing.push(Entry { name, size, place }, options, &mut total)?;
    }
    if archive.has_duplicate_names() {
        // The reader keeps the last of each name and no longer knows which one it was.
        return Err(DatasetError::DuplicateName {
            name: "(one of its files)".to_owned(),
        });
    }
    Ok(listing)
}

pub(super) fn read(
    archive: &mut ZipFile,
    listing: &Listing,
    wanted: &dyn Fn(usize) -> bool,
    visit: Visit<'_>,
) -> Result<(), DatasetError> {
    for (index, entry) in listing.files.iter().enumerate() {
        if wanted(index) {
            let opened = archive.by_index(entry.place);
            let mut file = opened.map_err(|error| refused(error, &entry.name))?;
            visit(index, read_exactly(&mut file, entry)?)?;
        }
    }
    Ok(())
}

fn refused(error: ZipError, name: &str) -> DatasetError {
    match error {
        ZipError::UnsupportedArchive(reason) => DatasetError::UnsupportedPacking {
            name: name.to_owned(),
            reason: reason.to_owned(),
        },
        error => DatasetError::Corrupt {
            reason: error.to_string(),
        },
    }
}
