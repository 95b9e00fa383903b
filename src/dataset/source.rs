//! Where the files of a data set come from: a folder, or an archive that is never unpacked to disk.
//!
//! A source is listed first and read after: what it holds is checked and bounded from the names and sizes alone, before a
//! file's content is looked at.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::tarball::{self, Tarball};
use super::zipfile::{self, ZipFile};
use super::{DatasetError, Format, Options};

/// A file in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its path from the root of the source, with `/` between the parts.
    pub name: String,
    /// Its size in bytes, as the source says.
    pub size: u64,
    /// Where it stands among everything in the source.
    pub place: usize,
}

/// What a source holds, in the source's own order.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub files: Vec<Entry>,
    /// Every folder that the source names, for classes that are empty.
    pub folders: Vec<String>,
}

impl Listing {
    /// Adds a file, unless that makes too many or too much.
    pub(super) fn push(
        &mut self,
        entry: Entry,
        options: &Options,
        total: &mut u64,
    ) -> Result<(), DatasetError> {
        *total = total.saturating_add(entry.size);
        if *total > options.max_unpacked_bytes {
            return Err(DatasetError::UnpackedTooLarge {
                allowed: options.max_unpacked_bytes,
            });
        }
        if self.files.len() >= options.max_images {
            return Err(DatasetError::TooManyImages {
                allowed: options.max_images,
            });
        }
        self.files.push(entry);
        Ok(())
    }
}

/// Receives the index of a file in the listing, and its content.
pub(super) type Visit<'a> = &'a mut dyn FnMut(usize, Vec<u8>) -> Result<(), DatasetError>;

/// A folder or archive, told apart by its content.
pub(super) enum Source {
    Folder(PathBuf),
    Zip(Box<ZipFile>),
    Tar(Tarball),
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, DatasetError> {
        if fs::metadata(path).map_err(unreadable(path))?.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        let mut file = BufReader::new(File::open(path).map_err(unreadable(path))?);
        let mut start = Vec::new();
        file.by_ref()
            .take(tarball::HEADER)
            .read_to_end(&mut start)
            .map_err(unreadable(path))?;
        if start.starts_with(b"PK") {
            file.rewind().map_err(unreadable(path))?;
            Ok(Self::Zip(Box::new(zipfile::open(file)?)))
        } else if start.starts_with(&[0x1F, 0x8B]) {
            let mut unpacked = Vec::new();
            file.rewind().map_err(unreadable(path))?;
            let opened = MultiGzDecoder::new(file)
                .take(tarball::HEADER)
                .read_to_end(&mut unpacked);
            opened.map_err(tarball::corrupt)?;
            if !tarball::is_header(&unpacked) {
                return Err(DatasetError::Unrecognised);
            }
            Ok(Self::Tar(Tarball::new(path, true)))
        } else if tarball::is_header(&start) {
            Ok(Self::Tar(Tarball::new(path, false)))
        } else {
            Err(DatasetError::Unrecognised)
        }
    }

    pub(super) fn format(&self) -> Format {
        match self {
            Self::Folder(_) => Format::Folder,
            Self::Zip(_) => Format::Zip,
            Self::Tar(tarball) if tarball.gzipped() => Format::TarGz,
            Self::Tar(_) => Format::Tar,
        }
    }

    /// What there is, without the litter of operating systems.
    pub(super) fn list(&self, options: &Options) -> Result<Listing, DatasetError> {
        match self {
            Self::Folder(root) => list_folder(root, options),
            Self::Zip(archive) => zipfile::list(archive, options),
            Self::Tar(tarball) => tarball.list(options),
        }
    }

    /// Reads the files whose index `wanted` accepts, one after the other.
    pub(super) fn read(
        &mut self,
        listing: &Listing,
        wanted: &dyn Fn(usize) -> bool,
        visit: Visit<'_>,
    ) -> Result<(), DatasetError> {
        match self {
            Self::Folder(root) => read_folder(root, listing, wanted, visit),
            Self::Zip(archive) => zipfile::read(archive, listing, wanted, visit),
            Self::Tar(tarball) => tarball.read(listing, wanted, visit),
        }
    }
}

/// Names that no person gave: hidden files, and what macOS and Windows leave behind.
pub(super) fn is_litter(name: &str) -> bool {
    name.split('/').any(|part| {
        part.starts_with('.')
            || part == "__MACOSX"
            || part.eq_ignore_ascii_case("thumbs.db")
            || part.eq_ignore_ascii_case("desktop.ini")
    })
}

/// Reads a file that has exactly the bytes that its source announced.
pub(super) fn read_exactly(reader: &mut dyn Read, entry: &Entry) -> Result<Vec<u8>, DatasetError> {
    // A size is only believed once the bytes are there: capacity grows with what is read.
    let mut content = Vec::new();
    let read = reader
        .take(entry.size.saturating_add(1))
        .read_to_end(&mut content);
    let lies = |found: &str| DatasetError::Corrupt {
        reason: format!(
            "{:?} has {found} than the {} bytes announced",
            entry.name, entry.size
        ),
    };
    read.map_err(|error| DatasetError::Corrupt {
        reason: format!("{:?}: {error}", entry.name),
    })?;
    match (content.len() as u64).cmp(&entry.size) {
        std::cmp::Ordering::Less => Err(lies("fewer")),
        std::cmp::Ordering::Equal => Ok(content),
        std::cmp::Ordering::Greater => Err(lies("more")),
    }
}

pub(super) fn unreadable(path: &Path) -> impl Fn(io::Error) -> DatasetError {
    let path = path.display().to_string();
    move |error| DatasetError::Io {
        path: path.clone(),
        error,
    }
}

/// Folders within folders, without following links to folders, which may lead round in circles.
fn list_folder(root: &Path, options: &Options) -> Result<Listing, DatasetError> {
    let mut listing = Listing::default();
    let mut total = 0;
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        for child in fs::read_dir(&path).map_err(unreadable(&path))? {
            let child = child.map_err(unreadable(&path))?;
            let part = child.file_name().to_string_lossy().into_owned();
            if is_litter(&part) {
                continue;
            }
            let name = match folder.as_str() {
                "" => part,
                folder => format!("{folder}/{part}"),
            };
            if child
                .file_type()
                .map_err(unreadable(&child.path()))?
                .is_dir()
            {
                listing.folders.push(name.clone());
                folders.push(name);
                continue;
            }
            let metadata = fs::metadata(child.path()).map_err(unreadable(&child.path()))?;
            if metadata.is_file() {
                let entry = Entry {
                    name,
                    size: metadata.len(),
                    place: listing.files.len(),
                };
                listing.push(entry, options, &mut total)?;
            }
        }
    }
    Ok(listing)
}

fn read_folder(
    root: &Path,
    listing: &Listing,
    wanted: &dyn Fn(usize) -> bool,
    visit: Visit<'_>,
) -> Result<(), DatasetError> {
    for (index, entry) in listing.files.iter().enumerate() {
        if wanted(index) {
            let path = root.join(&entry.name);
            let mut file = File::open(&path).map_err(unreadable(&path))?;
            visit(index, read_exactly(&mut file, entry)?)?;
        }
    }
    Ok(())
}
