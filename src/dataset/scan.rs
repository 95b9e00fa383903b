//! One reading of a data set: every file checked, decoded, counted and, where a model is waiting for it, fitted.

use std::path::Path;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::fitted::{Fitted, Recipe};
use super::layout::{Example, Layout, Part};
use super::samples::Samples;
use super::source::{Listing, Source};
use super::tally::{BadList, Tally};
use super::{Dataset, DatasetError, Description, Format, Options, idx};
use crate::imaging::{Dimensions, Image, ImagingError, Limits, decode};

/// Files are decoded in parallel, in batches of so many files or bytes: this bounds what is held at once.
const BATCH_FILES: usize = 512;
const BATCH_BYTES: usize = 64 << 20;

pub(super) struct Scan {
    pub description: Description,
    /// For each [`Part`], the labels of its usable images.
    labels: [Vec<u32>; 2],
    /// For each [`Part`], its images at the model's size; nothing where no model waits.
    pixels: [Vec<u8>; 2],
}

impl Scan {
    pub(super) fn of(
        path: &Path,
        options: &Options,
        recipe: Option<Recipe<'_>>,
    ) -> Result<Self, DatasetError> {
        let mut source = Source::open(path)?;
        let listing = source.list(options)?;
        let (train, test) = idx::pairs(&listing)?;
        match (train, test) {
            (None, None) => Self::of_folders(&mut source, &listing, options, recipe),
            (train, test) => {
                let pairs = train.into_iter().chain(test);
                Self::of_idx(&mut source, &listing, pairs, options, recipe)
            }
        }
    }

    pub(super) fn into_dataset(self, to: Dimensions) -> Result<Dataset, DatasetError> {
        let Self {
            description,
            labels: [train_labels, test_labels],
            pixels: [train_pixels, test_pixels],
        } = self;
        let samples =
            |pixels, labels| Samples::new(to, pixels, labels).ok_or(DatasetError::Dimensions(to));
        let has_test = !test_labels.is_empty();
        let classes = description.classes.iter();
        Ok(Dataset {
            classes: classes.map(|class| class.name.clone()).collect(),
            train: samples(train_pixels, train_labels)?,
            test: has_test
                .then(|| samples(test_pixels, test_labels))
                .transpose()?,
            description,
        })
    }

    fn of_folders(
        source: &mut Source,
        listing: &Listing,
        options: &Options,
        recipe: Option<Recipe<'_>>,
    ) -> Result<Self, DatasetError> {
        let layout = Layout::of(listing);
        let mut bad = BadList::new(options.bad_files);
        for &file in &layout.strays {
            let reason = "it is not in the folder of a class".to_owned();
            bad.add(file, &listing.files[file].name, reason)?;
        }
        if layout.examples.is_empty() {
            return Err(DatasetError::NoImages);
        }
        if layout.classes.len() > options.max_classes {
            return Err(DatasetError::TooManyClasses {
                found: layout.classes.len(),
                allowed: options.max_classes,
            });
        }
        if let [class] = layout.classes.as_slice() {
            return Err(DatasetError::SingleClass {
                class: class.clone(),
            });
        }

        let mut images = [0, 0];
        let place_of = |example: &Example| {
            let next = &mut images[example.part as usize];
            *next += 1;
            *next - 1
        };
        let places: Vec<usize> = layout.examples.iter().map(place_of).collect();
        let mut fitted = recipe
            .map(|recipe| Fitted::reserve(recipe.to, images, options))
            .transpose()?;
        let usable = read_images(
            source,
            listing,
            &layout,
            options,
            recipe,
            &mut bad,
            |index, pixels| {
                if let Some(fitted) = &mut fitted {
                    fitted.put(layout.examples[index].part, places[index], pixels);
                }
            },
        )?;

        let mut tally = Tally::new(layout.classes);
        let mut labels = [Vec::new(), Vec::new()];
        for ((example, place), usable) in layout.examples.iter().zip(places).zip(usable) {
            let Some(usable) = usable else { continue };
            let labels = &mut labels[example.part as usize];
            if let Some(fitted) = &mut fitted {
                fitted.close_gap(example.part, place, labels.len());
            }
            labels.push(example.label);
            tally.file(&example.name, usable.bytes, &usable.digest);
            tally.image(example.part, example.label, usable.height, usable.width);
        }
        if let Some(class) = tally.class_without_training() {
            return Err(DatasetError::EmptyClass { class });
        }
        let images = [labels[0].len(), labels[1].len()];
        Ok(Self {
            description: tally.finish(source.format(), bad)?,
            labels,
            pixels: fitted.map_or_else(Default::default, |fitted| fitted.into_pixels(images)),
        })
    }

    /// Of one pair or two: to train on, and to test on.
    fn of_idx(
        source: &mut Source,
        listing: &Listing,
        pairs: impl Iterator<Item = idx::Pair>,
        options: &Options,
        recipe: Option<Recipe<'_>>,
    ) -> Result<Self, DatasetError> {
        let mut sets = Vec::new();
        for (pair, part) in pairs.zip([Part::Train, Part::Test]) {
            sets.push((part, idx::read_pair(source, listing, pair, options)?));
        }
        let mut images = [0, 0];
        for (part, set) in &sets {
            images[*part as usize] = set.labels.len();
        }
        let all = images[0] + images[1];
        if all > options.max_images {
            return Err(DatasetError::TooManyImages {
                allowed: options.max_images,
            });
        }
        let most = sets.iter().flat_map(|(_, set)| &set.labels).max();
        let Some(&most) = most else {
            return Err(DatasetError::NoImages);
        };
        let classes: Vec<String> = (0..=most).map(|label| label.to_string()).collect();
        if classes.len() > options.max_classes {
            return Err(DatasetError::TooManyClasses {
                found: classes.len(),
                allowed: options.max_classes,
            });
        }
        if let [class] = classes.as_slice() {
            return Err(DatasetError::SingleClass {
                class: class.clone(),
            });
        }

        let mut fitted = recipe
            .map(|recipe| Fitted::reserve(recipe.to, images, options))
            .transpose()?;
        let mut tally = Tally::new(classes);
        let mut labels = [Vec::new(), Vec::new()];
        let mut done = 0;
        for (part, set) in sets {
            for file in &set.files {
                tally.file(file.name, file.bytes, &file.digest);
            }
            for &label in &set.labels {
                tally.image(part, u32::from(label), set.image.height, set.image.width);
            }
            let image_bytes = set.image.height * set.image.width;
            for (batch, pixels) in set.pixels.chunks(image_bytes * BATCH_FILES).enumerate() {
                if let (Some(recipe), Some(fitted)) = (recipe, &mut fitted) {
                    let fit = |pixels: &[u8]| {
                        Image::new(set.image, pixels.to_vec()).map(|image| recipe.fit(&image))
                    };
                    let batch_fitted: Vec<_> =
                        pixels.par_chunks(image_bytes).filter_map(fit).collect();
                    for (index, pixels) in batch_fitted.iter().enumerate() {
                        fitted.put(part, batch * BATCH_FILES + index, pixels);
                    }
                }
                done += pixels.len() / image_bytes;
                report(options, done, all)?;
            }
            labels[part as usize] = set.labels.into_iter().map(u32::from).collect();
        }
        Ok(Self {
            description: tally.finish(Format::Idx, BadList::new(options.bad_files))?,
            labels,
            pixels: fitted.map_or_else(Default::default, |fitted| fitted.into_pixels(images)),
        })
    }
}

/// What is kept of a file that is an image.
struct Usable {
    height: usize,
    width: usize,
    bytes: u64,
    digest: [u8; 32],
}

/// Reads and decodes every example, and hands each one's fitted pixels to `keep`. Bad ones leave `None`.
fn read_images(
    source: &mut Source,
    listing: &Listing,
    layout: &Layout,
    options: &Options,
    recipe: Option<Recipe<'_>>,
    bad: &mut BadList,
    mut keep: impl FnMut(usize, &[u8]),
) -> Result<Vec<Option<Usable>>, DatasetError> {
    let all = layout.examples.len();
    let mut example_of = vec![None; listing.files.len()];
    let mut usable: Vec<Option<Usable>> = Vec::new();
    usable.resize_with(all, || None);
    let mut done = 0;
    for (index, example) in layout.examples.iter().enumerate() {
        let file = &listing.files[example.file];
        let bytes = usize::try_from(file.size).unwrap_or(usize::MAX);
        if bytes > options.limits.max_bytes {
            let error = ImagingError::TooLarge {
                bytes,
                allowed: options.limits.max_bytes,
            };
            bad.add(listing.files.len() + index, &file.name, error.to_string())?;
            done += 1;
        } else {
            example_of[example.file] = Some(index);
        }
    }

    let mut flush = |batch: &mut Vec<(usize, Vec<u8>)>| {
        let look = |(index, content): (usize, Vec<u8>)| {
            (index, examine(&content, &options.limits, recipe))
        };
        let examined: Vec<_> = batch.par_drain(..).map(look).collect();
        for (index, examined) in examined {
            match examined {
                Ok((image, pixels)) => {
                    keep(index, &pixels);
                    usable[index] = Some(image);
                }
                Err(error) => {
                    let name = &listing.files[layout.examples[index].file].name;
                    bad.add(listing.files.len() + index, name, error.to_string())?;
                }
            }
            done += 1;
        }
        report(options, done, all)
    };
    let mut batch = Vec::new();
    let mut batch_bytes = 0;
    source.read(
        listing,
        &|file| example_of[file].is_some(),
        &mut |file, content| {
            if let Some(index) = example_of[file] {
                batch_bytes += content.len();
                batch.push((index, content));
            }
            if batch.len() >= BATCH_FILES || batch_bytes >= BATCH_BYTES {
                batch_bytes = 0;
                flush(&mut batch)?;
            }
            Ok(())
        },
    )?;
    flush(&mut batch)?;
    Ok(usable)
}

fn examine(
    content: &[u8],
    limits: &Limits,
    recipe: Option<Recipe<'_>>,
) -> Result<(Usable, Vec<u8>), ImagingError> {
    let image = decode(content, limits)?;
    let Dimensions { height, width, .. } = image.dimensions();
    let usable = Usable {
        height,
        width,
        bytes: content.len() as u64,
        digest: Sha256::digest(content).into(),
    };
    let pixels = recipe.map(|recipe| recipe.fit(&image));
    Ok((usable, pixels.unwrap_or_default()))
}

fn report(options: &Options, done: usize, all: usize) -> Result<(), DatasetError> {
    match &options.progress {
        Some(progress) if progress(done, all).is_break() => Err(DatasetError::Cancelled),
        _ => Ok(()),
    }
}
