//! Folders, archives and MNIST files → labelled images.
//!
//! A data set is a folder with a sub-folder per class, as Keras' `image_dataset_from_directory` reads it, or an archive (zip,
//! tar, tar.gz) of such a folder; or the four IDX files of MNIST and its kin, in a folder or an archive. Archives are read
//! where they lie: nothing in them is ever written to disk.
//!
//! [`describe`] tells what is there; [`load`] brings the images into memory as a model wants them.

mod entry_name;
mod error;
mod fitted;
mod idx;
mod layout;
mod samples;
mod scan;
mod source;
mod store;
mod tally;
mod tarball;
mod zipfile;

pub use error::DatasetError;
pub use samples::Samples;
pub use store::{Store, StoreError, StoredDataset, Upload};

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::imaging::{self, Dimensions, Preprocessing};
use fitted::Recipe;
use scan::Scan;

/// What a data set may ask for, and what happens to files that are no images.
#[derive(Clone)]
pub struct Options {
    /// What becomes of files that cannot be used. [`BadFiles::Skip`] unless stated.
    pub bad_files: BadFiles,
    /// The limits of each image.
    pub limits: imaging::Limits,
    /// The most files: 1,000,000.
    pub max_images: usize,
    /// The most classes: 10,000.
    pub max_classes: usize,
    /// The most bytes that all files together may have, unpacked: 8 GiB.
    pub max_unpacked_bytes: u64,
    /// The most bytes that [`load`] may fill with images fitted to the model's size: 2 GiB.
    pub max_loaded_bytes: u64,
    /// Told how many of how many images are done, from the calling thread; it may stop the reading with
    /// [`ControlFlow::Break`].
    pub progress: Option<Progress>,
}

/// Told how many of how many images are done.
pub type Progress = Arc<dyn Fn(usize, usize) -> ControlFlow<()> + Send + Sync>;

/// What becomes of files that are no readable image, or are in no class folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BadFiles {
    /// They are left out, and listed in [`Description::bad_files`].
    #[default]
    Skip,
    /// The first of them is an error.
    Refuse,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bad_files: BadFiles::default(),
            limits: imaging::Limits::default(),
            max_images: 1_000_000,
            max_classes: 10_000,
            max_unpacked_bytes: 8 << 30,
            max_loaded_bytes: 2 << 30,
            progress: None,
        }
    }
}

/// What a data set is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Description {
    /// How it is packed.
    pub format: Format,
    /// Every class, in the order of its label, and its images.
    pub classes: Vec<ClassCount>,
    /// Usable images.
    pub images: usize,
    /// Those to train on.
    pub train: usize,
    /// Those of a test part; 0 where there is none.
    pub test: usize,
    /// The smallest and largest sizes of the images as they come.
    pub sizes: Sizes,
    /// Bytes of the usable files, unpacked.
    pub bytes: u64,
    /// `sha256:` and 64 hexadecimal digits, over the names and contents of the usable files in the order of their names: the
    /// same however they are packed.
    pub digest: String,
    /// The first 100 files that are left out, and why.
    pub bad_files: Vec<BadFile>,
    /// How many are left out.
    pub bad_file_count: usize,
}

/// How a data set is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Format {
    /// A folder with a sub-folder per class.
    #[serde(rename = "folder")]
    Folder,
    /// A zip archive of one.
    #[serde(rename = "zip")]
    Zip,
    /// A tar archive of one.
    #[serde(rename = "tar")]
    Tar,
    /// A gzipped tar archive of one.
    #[serde(rename = "tar.gz")]
    TarGz,
    /// The files of MNIST, in a folder or archive.
    #[serde(rename = "idx")]
    Idx,
}

/// A class and its images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClassCount {
    /// The name of its folder, or its number in IDX files.
    pub name: String,
    /// Images to train on.
    pub train: usize,
    /// Images of the test part.
    pub test: usize,
}

/// The smallest and largest sizes of some images, in pixels, upright.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sizes {
    /// Columns of the narrowest image.
    pub min_width: usize,
    /// Columns of the widest image.
    pub max_width: usize,
    /// Rows of the lowest image.
    pub min_height: usize,
    /// Rows of the highest image.
    pub max_height: usize,
}

/// A file that is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BadFile {
    /// Its path in the folder or archive.
    pub name: String,
    /// Why it is left out.
    pub reason: String,
}

/// A data set in memory.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// What it is made of.
    pub description: Description,
    /// The names of the classes: label `i` is `classes[i]`.
    pub classes: Vec<String>,
    /// The images to train on.
    pub train: Samples,
    /// The images of a test part, where there is one.
    pub test: Option<Samples>,
}

/// Reads a data set, decodes every image, and tells what is there.
///
/// Decoding runs on the `rayon` pool of the caller.
///
/// # Errors
/// A source that cannot be read or is hostile, one over the limits of `options`, one without two classes or with a class that
/// has nothing to train on; a bad file where `options` refuse them.
pub fn describe(path: &Path, options: &Options) -> Result<Description, DatasetError> {
    Scan::of(path, options, None).map(|scan| scan.description)
}

/// Reads a data set with every image fitted to `to` by `preprocessing`, `height × width × channels` bytes each.
///
/// Images and labels come in the order of the files' names, whatever the order of the archive. Decoding runs on the `rayon`
/// pool of the caller.
///
/// # Errors
/// As [`describe`]; [`DatasetError::TooLargeInMemory`], told from the number of files before any is read.
pub fn load(
    path: &Path,
    options: &Options,
    preprocessing: &Preprocessing,
    to: Dimensions,
) -> Result<Dataset, DatasetError> {
    Scan::of(path, options, Some(Recipe { preprocessing, to }))?.into_dataset(to)
}
