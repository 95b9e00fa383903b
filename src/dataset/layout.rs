//! Which file is an example of which class, and in which part of the data set.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Listing;

/// The part of a data set that an image belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Train,
    Test,
}

/// Class folders, and the files in them.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// The names of the class folders, sorted by their bytes as Keras' `image_dataset_from_directory` sorts them.
    pub classes: Vec<String>,
    /// The files in class folders, sorted by [`Example::name`], so that no archive's order shows.
    pub examples: Vec<Example>,
    /// Indices of files outside any class folder.
    pub strays: Vec<usize>,
}

/// A file in a class folder.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Example {
    /// Its path without what wraps the whole data set: `[part/]class/file`.
    pub name: String,
    pub part: Part,
    /// Index into [`Layout::classes`].
    pub label: u32,
    /// Index into the listing.
    pub file: usize,
}

impl Layout {
    /// Finds the classes: the sub-folders of the root, or of one folder that holds everything, or of `train` and `test` in these.
    ///
    /// `validation` or `val` stands in for a missing `test`. Where both are there, its images join those to train on, from
    /// which training splits its own. A lone test part is all that there is, and counts as the images to train on. Deeper
    /// folders belong to the class that they are in.
    pub(super) fn of(listing: &Listing) -> Self {
        let files = listing.files.iter().map(|file| file.name.as_str());
        let folders = listing.folders.iter().map(String::as_str);
        let wrapper = wrapper(files.clone());
        let inside = |name| match wrapper {
            Some(wrapper) => strip_folder(name, wrapper),
            None => Some(name),
        };

        let mut tops = BTreeSet::new();
        for name in files.clone().filter_map(inside) {
            tops.extend(name.split_once('/').map(|(top, _)| top));
        }
        for name in folders
            .clone()
            .filter_map(inside)
            .filter(|name| !name.is_empty())
        {
            tops.insert(name.split('/').next().unwrap_or(name));
        }
        let parts = Parts::of(&tops);
        let class_of = |name| {
            let (part, rest) = parts.locate(name)?;
            let (class, file) = rest.split_once('/').unwrap_or((rest, ""));
            (!class.is_empty()).then_some((part, class, file))
        };

        let mut layout = Self::default();
        let mut placed = Vec::new();
        let mut classes = BTreeSet::new();
        for (index, name) in files.enumerate() {
            match inside(name).and_then(|name| Some((name, class_of(name)?))) {
                Some((name, (part, class, file))) if !file.is_empty() => {
                    classes.insert(class);
                    placed.push((name, part, class, index));
                }
                _ => layout.strays.push(index),
            }
        }
        classes.extend(
            folders
                .filter_map(inside)
                .filter_map(class_of)
                .map(|(_, class, _)| class),
        );

        let labels: BTreeMap<_, _> = classes.iter().copied().zip(0u32..).collect();
        layout.examples = placed
            .into_iter()
            .filter_map(|(name, part, class, file)| {
                Some(Example {
                    name: name.to_owned(),
                    part,
                    label: *labels.get(class)?,
                    file,
                })
            })
            .collect();
        layout.examples.sort();
        layout.classes = classes.into_iter().map(str::to_owned).collect();
        layout
    }
}

/// The one folder around the whole data set, if there is one: all files in folders are in folders of its own.
fn wrapper<'a>(files: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut found = None;
    let mut deep = false;
    for name in files {
        let Some((top, rest)) = name.split_once('/') else {
            continue;
        };
        if found.is_some_and(|found| found != top) {
            return None;
        }
        found = Some(top);
        deep |= rest.contains('/');
    }
    found.filter(|top| deep && Role::of(top).is_none())
}

fn strip_folder<'a>(name: &'a str, folder: &str) -> Option<&'a str> {
    match name.strip_prefix(folder)? {
        "" => Some(""),
        rest => rest.strip_prefix('/'),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Train,
    Validation,
    Test,
}

impl Role {
    fn of(folder: &str) -> Option<Self> {
        match folder.to_ascii_lowercase().as_str() {
            "train" | "training" => Some(Self::Train),
            "val" | "valid" | "validation" => Some(Self::Validation),
            "test" | "testing" => Some(Self::Test),
            _ => None,
        }
    }
}

/// Whether the top folders are parts rather than classes.
#[derive(Clone, Copy)]
enum Parts {
    None,
    Named { has_train: bool, has_test: bool },
}

impl Parts {
    /// All top folders must be parts: beside others, `test` is a class like any.
    fn of(tops: &BTreeSet<&str>) -> Self {
        let roles: Option<Vec<_>> = tops.iter().map(|top| Role::of(top)).collect();
        match roles {
            Some(roles) if !roles.is_empty() => Self::Named {
                has_train: roles.contains(&Role::Train),
                has_test: roles.contains(&Role::Test),
            },
            _ => Self::None,
        }
    }

    fn locate(self, name: &str) -> Option<(Part, &str)> {
        let Self::Named {
            has_train,
            has_test,
        } = self
        else {
            return Some((Part::Train, name));
        };
        let (top, rest) = name.split_once('/')?;
        let part = match Role::of(top)? {
            Role::Train => Part::Train,
            Role::Validation if has_test => Part::Train,
            Role::Validation | Role::Test if !has_train => Part::Train,
            Role::Validation | Role::Test => Part::Test,
        };
        Some((part, rest))
    }
}
