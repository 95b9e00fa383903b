//! Why a data set is refused.

use std::io;

use thiserror::Error;

use crate::imaging::Dimensions;

/// Why [`describe`](super::describe), [`load`](super::load) or [`Samples::split`](super::Samples::split) refused.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// The path cannot be read.
    #[error("cannot read {path}: {error}")]
    Io {
        /// The file or folder.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// The progress callback asked to stop.
    #[error("reading the data set was cancelled")]
    Cancelled,
    /// The file is no folder, zip, tar or gzip file.
    #[error(
        "this is no data set that can be read; give a folder with a sub-folder per class, a zip, tar or tar.gz of one, or a folder or archive with the MNIST files (train-images-idx3-ubyte, …)"
    )]
    Unrecognised,

    /// A name in an archive leads out of it, or is no name.
    #[error(
        "the archive holds the name {name:?}, {reason}; pack the folder again with plain relative names"
    )]
    UnsafePath {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An archive holds a symbolic or hard link.
    #[error("the archive holds a link, {name:?}; pack the file itself (tar -h, zip without -y)")]
    Link {
        /// The name.
        name: String,
    },
    /// An archive holds a device, a pipe or another thing that is no file.
    #[error("the archive holds {name:?}, which is neither file nor folder; pack only files")]
    Special {
        /// The name.
        name: String,
    },
    /// An archive says the same name twice.
    #[error(
        "the archive holds the name {name:?} twice; which of the two counts is anyone's guess, so pack it again"
    )]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// An archive within the archive.
    #[error("the archive holds another archive, {name:?}; unpack it and pack its images")]
    Nested {
        /// The name.
        name: String,
    },
    /// An entry is encrypted.
    #[error("{name:?} is encrypted; pack it without a password")]
    Encrypted {
        /// The name.
        name: String,
    },
    /// An entry is packed in a way that is not read.
    #[error(
        "{name:?} is packed in a way that cannot be read ({reason}); pack it again, a zip with stored or deflated files"
    )]
    UnsupportedPacking {
        /// The name.
        name: String,
        /// What is not read.
        reason: String,
    },
    /// Unpacked, the contents exceed [`Options::max_unpacked_bytes`](super::Options::max_unpacked_bytes).
    #[error(
        "unpacked, the data set has more than the {allowed} bytes allowed; give fewer or smaller images"
    )]
    UnpackedTooLarge {
        /// Bytes allowed.
        allowed: u64,
    },
    /// Files in an archive share bytes, which multiplies what they unpack to.
    #[error(
        "files in the archive share the same bytes, as only an archive made to overwhelm its reader does; pack it again"
    )]
    Overlap,
    /// The archive contradicts its format, or ends early.
    #[error("the archive is damaged or incomplete: {reason}; pack and send it again")]
    Corrupt {
        /// What is wrong.
        reason: String,
    },

    /// More files than [`Options::max_images`](super::Options::max_images).
    #[error("the data set has more than the {allowed} files allowed")]
    TooManyImages {
        /// Files allowed.
        allowed: usize,
    },
    /// More classes than [`Options::max_classes`](super::Options::max_classes).
    #[error(
        "the data set has {found} classes and at most {allowed} are allowed; the sub-folders of its folder are the classes"
    )]
    TooManyClasses {
        /// Classes found.
        found: usize,
        /// Classes allowed.
        allowed: usize,
    },
    /// Fitted to the model's size, the images exceed [`Options::max_loaded_bytes`](super::Options::max_loaded_bytes).
    #[error(
        "{images} images of {bytes_each} bytes take more memory than the {allowed} bytes allowed; use fewer images or a smaller input"
    )]
    TooLargeInMemory {
        /// Images found.
        images: usize,
        /// Bytes of one image at the model's size.
        bytes_each: usize,
        /// Bytes allowed.
        allowed: u64,
    },
    /// The model's size is zero, or has neither 1 nor 3 channels.
    #[error(
        "images cannot be fitted to {height}×{width}×{channels}; a model reads 1 or 3 channels, and at least one pixel",
        height = .0.height, width = .0.width, channels = .0.channels
    )]
    Dimensions(Dimensions),

    /// No image in any class folder.
    #[error(
        "the data set has no images; put those of each class into a sub-folder named after the class"
    )]
    NoImages,
    /// One class only.
    #[error("the data set has the one class {class:?}; a classifier needs two, a sub-folder each")]
    SingleClass {
        /// The class.
        class: String,
    },
    /// A class without an image to train on.
    #[error(
        "the class {class:?} has no readable image to train on; add some, or remove its folder"
    )]
    EmptyClass {
        /// The class.
        class: String,
    },
    /// A file that is no readable image, with [`BadFiles::Refuse`](super::BadFiles::Refuse).
    #[error("{name:?} cannot be used: {reason}")]
    BadFile {
        /// The file.
        name: String,
        /// Why.
        reason: String,
    },

    /// One of the MNIST files has no partner.
    #[error("{name:?} has no {partner} file beside it; images and labels come as a pair")]
    IdxUnpaired {
        /// The file there.
        name: String,
        /// The file missing.
        partner: &'static str,
    },
    /// An IDX file contradicts itself or its partner.
    #[error("the IDX file {name:?} cannot be used: {reason}")]
    Idx {
        /// The file.
        name: String,
        /// What is wrong, with both numbers.
        reason: String,
    },

    /// The share to hold out is not between 0 and 1.
    #[error(
        "{fraction} of the images cannot be held out; give a number from 0 up to, but not including, 1"
    )]
    Fraction {
        /// The share asked for.
        fraction: f64,
    },
    /// A class cannot be on both sides of a split.
    #[error(
        "class {label} (counting from 0) has a single image, which cannot be both trained on and held out; add another, or hold out nothing"
    )]
    ClassTooSmall {
        /// The class's label.
        label: u32,
    },
}

impl DatasetError {
    /// The stable name of this refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "dataset_unreadable",
            Self::Cancelled => "dataset_cancelled",
            Self::Unrecognised => "dataset_unrecognised",
            Self::UnsafePath { .. } => "archive_unsafe_path",
            Self::Link { .. } => "archive_link",
            Self::Special { .. } => "archive_special_file",
            Self::DuplicateName { .. } => "archive_duplicate_name",
            Self::Nested { .. } => "archive_nested",
            Self::Encrypted { .. } => "archive_encrypted",
            Self::UnsupportedPacking { .. } => "archive_unsupported",
            Self::UnpackedTooLarge { .. } => "archive_too_large",
            Self::Overlap => "archive_overlap",
            Self::Corrupt { .. } => "archive_corrupt",
            Self::TooManyImages { .. } => "dataset_too_many_images",
            Self::TooManyClasses { .. } => "dataset_too_many_classes",
            Self::TooLargeInMemory { .. } => "dataset_too_large_in_memory",
            Self::Dimensions(_) => "dataset_dimensions_invalid",
            Self::NoImages => "dataset_no_images",
            Self::SingleClass { .. } => "dataset_single_class",
            Self::EmptyClass { .. } => "dataset_empty_class",
            Self::BadFile { .. } => "dataset_bad_file",
            Self::IdxUnpaired { .. } => "idx_unpaired",
            Self::Idx { .. } => "idx_invalid",
            Self::Fraction { .. } => "split_fraction_invalid",
            Self::ClassTooSmall { .. } => "class_too_small",
        }
    }
}
