//! The counts of a description, while its files go by.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::layout::Part;
use super::{BadFile, BadFiles, ClassCount, DatasetError, Description, Format, Sizes};

/// Counts of usable images, and the digest of their files.
pub(super) struct Tally {
    classes: Vec<ClassCount>,
    sizes: Option<Sizes>,
    bytes: u64,
    digest: Sha256,
}

impl Tally {
    pub(super) fn new(classes: Vec<String>) -> Self {
        let classes = classes.into_iter().map(|name| ClassCount {
            name,
            train: 0,
            test: 0,
        });
        Self {
            classes: classes.collect(),
            sizes: None,
            bytes: 0,
            digest: Sha256::new(),
        }
    }

    /// Counts a file's content. The digest depends on the order of the calls.
    pub(super) fn file(&mut self, name: &str, bytes: u64, digest: &[u8; 32]) {
        self.bytes += bytes;
        // The length keeps two names from being told apart only by where one ends.
        self.digest.update((name.len() as u64).to_le_bytes());
        self.digest.update(name);
        self.digest.update(digest);
    }

    pub(super) fn image(&mut self, part: Part, label: u32, height: usize, width: usize) {
        if let Some(class) = self.classes.get_mut(label as usize) {
            match part {
                Part::Train => class.train += 1,
                Part::Test => class.test += 1,
            }
        }
        let sizes = self.sizes.get_or_insert(Sizes {
            min_width: width,
            max_width: width,
            min_height: height,
            max_height: height,
        });
        sizes.min_width = sizes.min_width.min(width);
        sizes.max_width = sizes.max_width.max(width);
        sizes.min_height = sizes.min_height.min(height);
        sizes.max_height = sizes.max_height.max(height);
    }

    pub(super) fn class_without_training(&self) -> Option<String> {
        let class = self.classes.iter().find(|class| class.train == 0);
        class.map(|class| class.name.clone())
    }

    pub(super) fn finish(self, format: Format, bad: BadList) -> Result<Description, DatasetError> {
        let train = self.classes.iter().map(|class| class.train).sum();
        let test = self.classes.iter().map(|class| class.test).sum();
        Ok(Description {
            format,
            images: train + test,
            train,
            test,
            classes: self.classes,
            sizes: self.sizes.ok_or(DatasetError::NoImages)?,
            bytes: self.bytes,
            digest: format!("sha256:{}", hex::encode(self.digest.finalize())),
            bad_files: bad.first.into_values().collect(),
            bad_file_count: bad.count,
        })
    }
}

/// Files that are left out: all are counted, the first are named.
pub(super) struct BadList {
    policy: BadFiles,
    /// By their rank, as they may come in another order.
    first: BTreeMap<usize, BadFile>,
    count: usize,
}

impl BadList {
    /// How many are named.
    const NAMED: usize = 100;

    pub(super) fn new(policy: BadFiles) -> Self {
        Self {
            policy,
            first: BTreeMap::new(),
            count: 0,
        }
    }

    pub(super) fn add(
        &mut self,
        rank: usize,
        name: &str,
        reason: String,
    ) -> Result<(), DatasetError> {
        let name = name.to_owned();
        if self.policy == BadFiles::Refuse {
            return Err(DatasetError::BadFile { name, reason });
        }
        self.count += 1;
        self.first.insert(rank, BadFile { name, reason });
        if self.first.len() > Self::NAMED {
            self.first.pop_last();
        }
        Ok(())
    }
}
