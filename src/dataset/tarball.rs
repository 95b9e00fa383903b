//! A tar archive, gzipped or not, as the source of a data set.
//!
//! The archive is walked twice, to list and to read. Long names are assembled here rather than by the `tar` crate, which
//! reads them whole into memory, whatever size they claim.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tar::{Archive, PaxExtensions};

use super::source::{Entry, Listing, Visit, is_litter, read_exactly, unreadable};
use super::{DatasetError, Options, entry_name};

/// Bytes of a tar header.
pub(super) const HEADER: u64 = 512;

/// The longest extension header (a long name, owner, times, …) that is read.
const MAX_EXTENSION: u64 = 64 << 10;

pub(super) struct Tarball {
    path: PathBuf,
    gzipped: bool,
}

/// Whether these bytes are a tar header; those older than POSIX 1988 have no signature and are not recognised.
pub(super) fn is_header(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
}

pub(super) fn corrupt(error: io::Error) -> DatasetError {
    DatasetError::Corrupt {
        reason: error.to_string(),
    }
}

impl Tarball {
    pub(super) fn new(path: &Path, gzipped: bool) -> Self {
        Self {
            path: path.to_owned(),
            gzipped,
        }
    }

    pub(super) fn gzipped(&self) -> bool {
        self.gzipped
    }

    pub(super) fn list(&self, options: &Options) -> Result<Listing, DatasetError> {
        let mut listing = Listing::default();
        let mut total = 0;
        let mut seen = HashSet::new();
        // Folders and extensions count too: they cost time.
        let most_members = options.max_images.saturating_mul(4).saturating_add(10_000);
        self.walk(&mut |member, _| {
            if member.place >= most_members {
                return Err(DatasetError::TooManyImages {
                    allowed: options.max_images,
                });
            }
            let Member {
                place,
                kind,
                name,
                size,
            } = member;
            if is_litter(&name) {
                return Ok(());
            }
            if kind == Kind::Folder {
                listing.folders.push(name);
                return Ok(());
            }
            if !seen.insert(name.clone()) {
                return Err(DatasetError::DuplicateName { name });
            }
            if entry_name::is_archive(&name) {
                return Err(DatasetError::Nested { name });
            }
            listing.push(Entry { name, size, place }, options, &mut total)
        })?;
        Ok(listing)
    }

    pub(super) fn read(
        &self,
        listing: &Listing,
        wanted: &dyn Fn(usize) -> bool,
        visit: Visit<'_>,
    ) -> Result<(), DatasetError> {
        let mut files = listing.files.iter().enumerate().peekable();
        self.walk(&mut |member, content| {
            let Some((index, entry)) = files.next_if(|(_, entry)| entry.place == member.place)
            else {
                return Ok(());
            };
            if entry.size != member.size || entry.name != member.name {
                return Err(DatasetError::Corrupt {
                    reason: format!("{:?} changed while it was read", entry.name),
                });
            }
            if wanted(index) {
                visit(index, read_exactly(content, entry)?)?;
            }
            Ok(())
        })
    }

    /// Goes through the files and folders in order.
    fn walk(
        &self,
        visit: &mut dyn FnMut(Member, &mut dyn Read) -> Result<(), DatasetError>,
    ) -> Result<(), DatasetError> {
        let file = BufReader::new(File::open(&self.path).map_err(unreadable(&self.path))?);
        let reader: Box<dyn Read> = if self.gzipped {
            Box::new(MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        };
        let mut archive = Archive::new(reader);
        let mut long_name = None;
        for (place, entry) in archive.entries().map_err(corrupt)?.raw(true).enumerate() {
            let mut entry = entry.map_err(corrupt)?;
            let kind = entry.header().entry_type();
            if kind.is_pax_global_extensions() || kind.is_gnu_longlink() {
                continue;
            }
            if kind.is_gnu_longname() {
                let mut name = extension(&mut entry)?;
                // The name ends at its first zero byte.
                name.truncate(
                    name.iter()
                        .position(|&byte| byte == 0)
                        .unwrap_or(name.len()),
                );
                long_name = Some(name);
                continue;
            }
            if kind.is_pax_local_extensions() {
                if let Some(path) = pax_path(&extension(&mut entry)?)? {
                    long_name = Some(path);
                }
                continue;
            }
            let name = long_name
                .take()
                .unwrap_or_else(|| entry.path_bytes().into_owned());
            let name = String::from_utf8(name).map_err(|error| DatasetError::UnsafePath {
                name: String::from_utf8_lossy(error.as_bytes()).into_owned(),
                reason: "which is not UTF-8",
            })?;
            let name = entry_name::checked(&name)?;
            let kind = if kind.is_dir() {
                Kind::Folder
            } else if kind.is_file() || kind.is_contiguous() {
                Kind::File
            } else if kind.is_symlink() || kind.is_hard_link() {
                return Err(DatasetError::Link { name });
            } else if kind.is_gnu_sparse() {
                return Err(DatasetError::UnsupportedPacking {
                    name,
                    reason: "a sparse file".to_owned(),
                });
            } else {
                return Err(DatasetError::Special { name });
            };
            let size = entry.size();
            let member = Member {
                place,
                kind,
                name,
                size,
            };
            visit(member, &mut entry)?;
        }
        Ok(())
    }
}

/// A file or folder in the archive.
struct Member {
    place: usize,
    kind: Kind,
    name: String,
    size: u64,
}

#[derive(PartialEq, Eq)]
enum Kind {
    File,
    Folder,
}

fn extension(entry: &mut tar::Entry<'_, impl Read>) -> Result<Vec<u8>, DatasetError> {
    if entry.size() > MAX_EXTENSION {
        return Err(DatasetError::Corrupt {
            reason: format!("an extension header claims {} bytes", entry.size()),
        });
    }
    let mut content = Vec::new();
    entry.read_to_end(&mut content).map_err(corrupt)?;
    Ok(content)
}

/// The path that a pax header gives to the next member.
fn pax_path(content: &[u8]) -> Result<Option<Vec<u8>>, DatasetError> {
    let mut path = None;
    for pair in PaxExtensions::new(content) {
        let pair = pair.map_err(corrupt)?;
        match pair.key_bytes() {
            b"path" => path = Some(pair.value_bytes().to_vec()),
            key if key == b"size" || key.starts_with(b"GNU.sparse") => {
                return Err(DatasetError::UnsupportedPacking {
                    name: "a file".to_owned(),
                    reason: "a sparse file, or one of 8 GiB or more".to_owned(),
                });
            }
            _ => {}
        }
    }
    Ok(path)
}
