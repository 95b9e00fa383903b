//! Data sets: however they are packed they are the same, and nothing in an archive does harm.

use std::collections::HashSet;
use std::fs;
use std::io::{Cursor, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use irori::dataset::{
    BadFiles, Dataset, DatasetError, Description, Format, Options, Samples, describe, load,
};
use irori::imaging::{Dimensions, Preprocessing};
use proptest::prelude::*;
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

const DIGIT: Dimensions = Dimensions {
    height: 28,
    width: 28,
    channels: 1,
};

fn described(path: &Path) -> Result<Description, DatasetError> {
    describe(path, &Options::default())
}

fn loaded(path: &Path) -> Dataset {
    load(
        path,
        &Options::default(),
        &Preprocessing::for_channels(1),
        DIGIT,
    )
    .unwrap()
}

fn code(path: &Path) -> &'static str {
    described(path).expect_err("must be refused").code()
}

/// Some real images: `(path in the digits folder, bytes)`.
fn digits() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for class in fs::read_dir(fixture("digits")).unwrap() {
        for file in fs::read_dir(class.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path
                .strip_prefix(fixture("digits"))
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            files.push((name, fs::read(path).unwrap()));
        }
    }
    files
}

fn digit(label: usize, which: usize) -> Vec<u8> {
    let mut files = digits();
    files.retain(|(name, _)| name.starts_with(&format!("{label}/")));
    files.sort();
    files.swap_remove(which).1
}

fn named(folder: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

fn zipped(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(name.as_str(), SimpleFileOptions::default())
            .unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn tarred(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content.as_slice())
            .unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzipped(content: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(content).unwrap();
    gz.finish().unwrap()
}

fn renamed(files: &[(String, Vec<u8>)], rename: impl Fn(&str) -> String) -> Vec<(String, Vec<u8>)> {
    files
        .iter()
        .map(|(name, content)| (rename(name), content.clone()))
        .collect()
}

/// Two classes of two images each, under these names.
fn small(names: [&str; 4]) -> Vec<(String, Vec<u8>)> {
    let images = [digit(3, 0), digit(3, 1), digit(7, 0), digit(7, 1)];
    names.into_iter().map(str::to_owned).zip(images).collect()
}

fn a_zip(files: &[(String, Vec<u8>)]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = named(&folder, "set.zip", &zipped(files));
    (folder, path)
}

#[test]
fn a_folder_of_folders_is_described_and_loaded() {
    let description = described(&fixture("digits")).unwrap();
    assert_eq!(description.format, Format::Folder);
    assert_eq!(
        (description.images, description.train, description.test),
        (100, 100, 0)
    );
    assert!(
        description
            .classes
            .iter()
            .map(|class| (class.name.as_str(), class.train))
            .eq(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"].map(|name| (name, 10)))
    );
    assert_eq!(
        (description.sizes.min_width, description.sizes.max_height),
        (28, 28)
    );
    assert_eq!(
        (description.bad_file_count, description.bad_files.len()),
        (0, 0)
    );
    assert_eq!(
        description.bytes,
        digits()
            .iter()
            .map(|(_, content)| content.len() as u64)
            .sum::<u64>()
    );
    assert!(description.digest.starts_with("sha256:") && description.digest.len() == 7 + 64);

    let dataset = loaded(&fixture("digits"));
    assert_eq!(dataset.description, description);
    assert_eq!(dataset.classes.len(), 10);
    assert!(dataset.test.is_none());
    assert_eq!(dataset.train.len(), 100);
    assert!(
        dataset
            .train
            .labels()
            .iter()
            .copied()
            .eq((0..10).flat_map(|label| [label; 10]))
    );
    let seven = image::load_from_memory(&digit(7, 0)).unwrap().into_luma8();
    assert_eq!(dataset.train.image(70), seven.as_raw().as_slice());
}

#[test]
fn the_packing_does_not_matter() {
    let folder = TempDir::new().unwrap();
    let mut files = digits();
    let unpacked = loaded(&fixture("digits"));
    files.reverse();
    let wrapped = renamed(&files, |name| format!("my digits/{name}"));
    let backslashes = renamed(&files, |name| name.replace('/', "\\"));
    let long = renamed(&files, |name| format!("{}/{name}", "wrapper ".repeat(20)));
    for (name, content, format) in [
        ("a.zip", zipped(&files), Format::Zip),
        ("wrapped.zip", zipped(&wrapped), Format::Zip),
        ("backslashes.zip", zipped(&backslashes), Format::Zip),
        ("a.tar", tarred(&files), Format::Tar),
        ("long.tar", tarred(&long), Format::Tar),
        // The content decides, not the name.
        ("a.tgz.jpg", gzipped(&tarred(&wrapped)), Format::TarGz),
    ] {
        let dataset = loaded(&named(&folder, name, &content));
        assert_eq!(
            dataset.description,
            Description {
                format,
                ..unpacked.description.clone()
            },
            "{name}"
        );
        assert_eq!(dataset.train, unpacked.train, "{name}");
    }
}

#[test]
fn folders_of_parts_are_told_from_classes() {
    let counts = |files: &[(String, Vec<u8>)]| {
        let (_folder, path) = a_zip(files);
        let description = described(&path).unwrap();
        let classes = description.classes.into_iter();
        classes
            .map(|class| (class.name, class.train, class.test))
            .collect::<Vec<_>>()
    };
    let expected = |train, test| {
        vec![
            ("cat".to_owned(), train, test),
            ("dog".to_owned(), train, test),
        ]
    };
    for (a, b) in [
        ("train", "test"),
        ("Training", "VAL"),
        ("data/train", "data/validation"),
    ] {
        let names = [
            format!("{a}/cat/1.png"),
            format!("{b}/cat/1.png"),
            format!("{a}/dog/1.png"),
            format!("{b}/dog/deep/1.png"),
        ];
        assert_eq!(
            counts(&small(names.each_ref().map(String::as_str))),
            expected(1, 1),
            "{a} {b}"
        );
    }
    let three = [
        small([
            "train/cat/1.png",
            "test/cat/1.png",
            "train/dog/1.png",
            "test/dog/1.png",
        ]),
        small([
            "val/cat/2.png",
            "val/cat/3.png",
            "val/dog/2.png",
            "val/dog/3.png",
        ]),
    ]
    .concat();
    assert_eq!(counts(&three), expected(3, 1));
    assert_eq!(
        counts(&small([
            "test/cat/1.png",
            "test/cat/2.png",
            "test/dog/1.png",
            "test/dog/2.png"
        ])),
        expected(2, 0)
    );
    let classes = counts(&small([
        "test/1.png",
        "test/2.png",
        "exam/1.png",
        "exam/2.png",
    ]));
    assert_eq!(
        classes,
        [("exam".to_owned(), 2, 0), ("test".to_owned(), 2, 0)]
    );
}

#[test]
fn a_test_part_is_loaded_by_itself() {
    let files = small([
        "train/a/1.png",
        "test/a/1.png",
        "train/b/1.png",
        "test/b/1.png",
    ]);
    let (_folder, path) = a_zip(&files);
    let dataset = loaded(&path);
    let test = dataset.test.unwrap();
    assert_eq!(
        (dataset.train.labels(), test.labels()),
        (&[0, 1][..], &[0, 1][..])
    );
    let pixels = |content: &[u8]| {
        image::load_from_memory(content)
            .unwrap()
            .into_luma8()
            .into_raw()
    };
    assert_eq!(test.image(0), pixels(&files[1].1));
    assert_eq!(dataset.train.image(1), pixels(&files[2].1));
}

#[test]
fn litter_is_ignored_and_bad_files_are_named() {
    let mut files = small(["a/2.png", "a/9.png", "b/2.png", "b/3.png"]);
    let clean = {
        let (_folder, path) = a_zip(&files);
        loaded(&path)
    };
    for litter in [
        "__MACOSX/a/._2.png",
        "a/.DS_Store",
        "a/Thumbs.db",
        ".git/config",
        "b/desktop.ini",
    ] {
        files.push((litter.to_owned(), b"litter".to_vec()));
    }
    let (_folder, path) = a_zip(&files);
    assert_eq!(loaded(&path).description, clean.description);

    files.push(("a/1.png".to_owned(), b"not an image".to_vec()));
    files.push(("b/1.jpg".to_owned(), digit(1, 0)[..60].to_vec()));
    files.push(("README.md".to_owned(), b"# Read me".to_vec()));
    let (_folder, path) = a_zip(&files);
    let dataset = loaded(&path);
    let bad: Vec<_> = dataset
        .description
        .bad_files
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    assert_eq!(bad, ["README.md", "a/1.png", "b/1.jpg"]);
    assert!(
        dataset.description.bad_files[1]
            .reason
            .contains("looks like text")
    );
    assert_eq!(dataset.description.bad_file_count, 3);
    assert_eq!(dataset.train, clean.train, "the gaps close up");
    assert_eq!(
        dataset.description.digest, clean.description.digest,
        "what is not used does not count"
    );

    let options = Options {
        bad_files: BadFiles::Refuse,
        ..Options::default()
    };
    assert_eq!(
        describe(&path, &options).unwrap_err().code(),
        "dataset_bad_file"
    );
    let largest = usize::try_from(clean.description.bytes).unwrap();
    let mut files = small(["a/2.png", "a/9.png", "b/2.png", "b/3.png"]);
    files.push(("b/huge.png".to_owned(), vec![0; largest + 1]));
    let (_folder, path) = a_zip(&files);
    let mut options = Options::default();
    options.limits.max_bytes = largest;
    let description = describe(&path, &options).unwrap();
    assert_eq!(description.digest, clean.description.digest);
    assert!(
        description.bad_files[0]
            .reason
            .contains("send a smaller file")
    );
}

#[test]
fn classes_that_cannot_be_learnt_are_refused() {
    let of = |files: &[(String, Vec<u8>)]| {
        let (_folder, path) = a_zip(files);
        code(&path)
    };
    assert_eq!(of(&[]), "dataset_no_images");
    assert_eq!(
        of(&small(["1.png", "2.png", "3.png", "4.png"])),
        "dataset_no_images"
    );
    assert_eq!(
        of(&small(["a/1.png", "a/2.png", "a/3.png", "a/4.png"])),
        "dataset_single_class"
    );
    let mut bad = small(["a/1.png", "a/2.png", "b/1.png", "b/2.png"]);
    bad.push(("c/1.png".to_owned(), b"no image".to_vec()));
    assert_eq!(of(&bad), "dataset_empty_class");
    assert_eq!(
        of(&small([
            "train/a/1.png",
            "train/b/1.png",
            "test/a/1.png",
            "test/c/1.png"
        ])),
        "dataset_empty_class"
    );

    let folder = TempDir::new().unwrap();
    for (name, content) in small(["a/1.png", "a/2.png", "b/1.png", "b/2.png"]) {
        named(&folder, &name, &content);
    }
    assert!(described(folder.path()).is_ok());
    fs::create_dir(folder.path().join("empty")).unwrap();
    let error = described(folder.path()).unwrap_err();
    assert!(
        error.code() == "dataset_empty_class" && error.to_string().contains("\"empty\""),
        "{error}"
    );
    assert_eq!(code(&folder.path().join("nowhere")), "dataset_unreadable");
    assert_eq!(
        code(&named(&folder, "a/notes.txt", b"just text")),
        "dataset_unrecognised"
    );
    assert_eq!(
        code(&named(&folder, "a/notes.gz", &gzipped(b"just text"))),
        "dataset_unrecognised"
    );
}

#[test]
fn limits_are_held_before_reading() {
    let path = fixture("digits");
    let refused = |options: Options| describe(&path, &options).unwrap_err().code();
    let usual = Options::default;
    assert_eq!(
        refused(Options {
            max_images: 99,
            ..usual()
        }),
        "dataset_too_many_images"
    );
    assert_eq!(
        refused(Options {
            max_classes: 9,
            ..usual()
        }),
        "dataset_too_many_classes"
    );
    assert_eq!(
        refused(Options {
            max_unpacked_bytes: 10_000,
            ..usual()
        }),
        "archive_too_large"
    );
    let load_with = |max_loaded_bytes, to| {
        let options = Options {
            max_loaded_bytes,
            ..usual()
        };
        load(&path, &options, &Preprocessing::for_channels(1), to)
            .map(|dataset| dataset.train.len())
            .map_err(|error| error.code())
    };
    assert_eq!(load_with(100 * 784, DIGIT), Ok(100));
    assert_eq!(
        load_with(100 * 784 - 1, DIGIT),
        Err("dataset_too_large_in_memory")
    );
    assert_eq!(
        load_with(
            u64::MAX,
            Dimensions {
                height: usize::MAX,
                ..DIGIT
            }
        ),
        Err("dataset_dimensions_invalid")
    );
    assert_eq!(
        load_with(
            1 << 30,
            Dimensions {
                height: 1 << 40,
                ..DIGIT
            }
        ),
        Err("dataset_too_large_in_memory")
    );
}

#[test]
fn progress_is_told_and_can_stop_the_reading() {
    let seen = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&seen);
    let progress = Some(Arc::new(move |done: usize, all: usize| {
        assert_eq!(all, 100);
        told.store(done, Ordering::Relaxed);
        ControlFlow::Continue(())
    }) as Arc<_>);
    describe(
        &fixture("digits"),
        &Options {
            progress,
            ..Options::default()
        },
    )
    .unwrap();
    assert_eq!(seen.load(Ordering::Relaxed), 100);
    for path in ["digits", "fashion-mnist-small"] {
        let stop = Some(Arc::new(|_, _| ControlFlow::Break(())) as Arc<_>);
        let error = describe(
            &fixture(path),
            &Options {
                progress: stop,
                ..Options::default()
            },
        )
        .unwrap_err();
        assert_eq!(error.code(), "dataset_cancelled");
    }
}

#[test]
fn archives_cannot_reach_outside() {
    let folder = TempDir::new().unwrap();
    for name in [
        "../evil/1.png",
        "a/../../evil.png",
        "/etc/a/1.png",
        "C:\\a\\1.png",
        "..\\evil\\1.png",
        "a/\u{7}/1.png",
    ] {
        let mut files = small(["a/1.png", "a/2.png", "b/1.png", "b/2.png"]);
        files.push((name.to_owned(), digit(0, 0)));
        assert_eq!(
            code(&named(&folder, "set.zip", &zipped(&files))),
            "archive_unsafe_path",
            "{name}"
        );
    }
    for name in ["../evil/1.png", "/etc/a/1.png"] {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(0);
        header.set_cksum();
        let mut tar = tar::Builder::new(Vec::new());
        tar.append(&header, &b""[..]).unwrap();
        assert_eq!(
            code(&named(&folder, "set.tar", &tar.into_inner().unwrap())),
            "archive_unsafe_path",
            "{name}"
        );
    }
}

#[test]
fn links_devices_and_archives_within_are_refused() {
    let folder = TempDir::new().unwrap();
    for (kind, expected) in [
        (tar::EntryType::Symlink, "archive_link"),
        (tar::EntryType::Link, "archive_link"),
        (tar::EntryType::Char, "archive_special_file"),
        (tar::EntryType::Fifo, "archive_special_file"),
        (tar::EntryType::GNUSparse, "archive_unsupported"),
    ] {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_path("a/passwd.png").unwrap();
        header.set_link_name("/etc/passwd").unwrap();
        header.set_size(0);
        header.set_cksum();
        tar.append(&header, &b""[..]).unwrap();
        assert_eq!(
            code(&named(&folder, "set.tar", &tar.into_inner().unwrap())),
            expected,
            "{kind:?}"
        );
    }
    let mut zip = ZipWriter::new_append(Cursor::new(zipped(&small([
        "a/1.png", "a/2.png", "b/1.png", "b/2.png",
    ]))))
    .unwrap();
    zip.add_symlink("a/passwd.png", "/etc/passwd", SimpleFileOptions::default())
        .unwrap();
    assert_eq!(
        code(&named(
            &folder,
            "set.zip",
            &zip.finish().unwrap().into_inner()
        )),
        "archive_link"
    );

    let mut files = small(["a/1.png", "a/2.png", "b/1.png", "b/2.png"]);
    files.push(("a/more.zip".to_owned(), zipped(&files)));
    assert_eq!(
        code(&named(&folder, "set.zip", &zipped(&files))),
        "archive_nested"
    );
    assert_eq!(
        code(&named(&folder, "set.tar", &tarred(&files))),
        "archive_nested"
    );
    files.pop();
    files.push(files[0].clone());
    assert_eq!(
        code(&named(&folder, "set.tar", &tarred(&files))),
        "archive_duplicate_name"
    );
    // The zip writer refuses to repeat a name, so that one is made equal afterwards.
    let mut twice = zipped(&small(["a/1.png", "a/2.png", "b/1.png", "b/2.png"]));
    for at in 0..twice.len() - 7 {
        if &twice[at..at + 7] == b"a/2.png" {
            twice[at + 2] = b'1';
        }
    }
    assert_eq!(
        code(&named(&folder, "set.zip", &twice)),
        "archive_duplicate_name"
    );
}

#[test]
fn bombs_are_refused_at_once() {
    let folder = TempDir::new().unwrap();
    let start = Instant::now();
    let mut files = small(["a/1.png", "a/2.png", "b/1.png", "b/2.png"]);
    files.push(("a/zeros.png".to_owned(), vec![0; 30 << 20]));
    let limit = || Options {
        max_unpacked_bytes: 16 << 20,
        ..Options::default()
    };
    for (name, content) in [
        ("set.zip", zipped(&files)),
        ("set.tar.gz", gzipped(&tarred(&files))),
    ] {
        assert!(content.len() < 1 << 20);
        assert_eq!(
            describe(&named(&folder, name, &content), &limit())
                .unwrap_err()
                .code(),
            "archive_too_large"
        );
    }

    // A zip whose directory says that 30 MiB of zeros are 5 bytes.
    let mut lying = zipped(&files);
    for at in 0..lying.len() - 4 {
        if lying[at..at + 4] == (30u32 << 20).to_le_bytes() {
            lying[at..at + 4].copy_from_slice(&5u32.to_le_bytes());
        }
    }
    assert_eq!(
        describe(&named(&folder, "lying.zip", &lying), &limit())
            .unwrap_err()
            .code(),
        "archive_corrupt"
    );

    // A tar whose long name claims gigabytes.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(4 << 30);
    header.set_cksum();
    let tar = [&header.as_bytes()[..], &[b'a'; 4096]].concat();
    assert_eq!(code(&named(&folder, "name.tar", &tar)), "archive_corrupt");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn fashion_mnist_is_read_from_its_own_files() {
    let path = fixture("fashion-mnist-small");
    let dataset = loaded(&path);
    let description = &dataset.description;
    assert_eq!(
        (description.format, description.train, description.test),
        (Format::Idx, 1000, 500)
    );
    assert_eq!(
        dataset.classes,
        ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
    );
    assert_eq!(&dataset.train.labels()[..5], [9, 0, 0, 3, 0]);
    let test = dataset.test.as_ref().unwrap();
    assert_eq!(&test.labels()[..5], [9, 2, 1, 1, 6]);
    let ink: Vec<u32> = [0, 999]
        .map(|index| {
            dataset
                .train
                .image(index)
                .iter()
                .map(|&pixel| u32::from(pixel))
                .sum()
        })
        .to_vec();
    assert!(ink.iter().all(|&ink| ink > 1000), "{ink:?}");

    // Unpacked, with dots, in an archive: all the same.
    let folder = TempDir::new().unwrap();
    let files: Vec<_> = ["train-images", "train-labels", "t10k-images", "t10k-labels"]
        .map(|name| {
            let kind = if name.ends_with("images") {
                "idx3"
            } else {
                "idx1"
            };
            let packed = fs::read(path.join(format!("{name}-{kind}-ubyte.gz"))).unwrap();
            let mut content = Vec::new();
            std::io::copy(
                &mut flate2::read::GzDecoder::new(packed.as_slice()),
                &mut content,
            )
            .unwrap();
            (format!("raw/{name}.{kind}-ubyte"), content)
        })
        .into();
    let again = loaded(&named(&folder, "set.tar.gz", &gzipped(&tarred(&files))));
    assert_eq!(again.description, *description);
    assert_eq!((again.train, again.test), (dataset.train, dataset.test));
}

/// The header of an IDX file.
fn idx_header(kind: u8, sizes: &[u32]) -> Vec<u8> {
    let mut header = vec![0, 0, kind, u8::try_from(sizes.len()).unwrap()];
    header.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    header
}

#[test]
fn idx_files_that_lie_are_refused() {
    let set = |images: Vec<u8>, labels: Vec<u8>| {
        let files = [
            ("train-images-idx3-ubyte".to_owned(), images),
            ("train-labels-idx1-ubyte.gz".to_owned(), gzipped(&labels)),
        ];
        let (_folder, path) = a_zip(&files);
        described(&path)
            .map(|description| description.images)
            .map_err(|error| (error.code(), error.to_string()))
    };
    let images = |sizes: &[u32], values| [idx_header(8, sizes), vec![7; values]].concat();
    let labels = |count, values: &[u8]| [idx_header(8, &[count]), values.to_vec()].concat();
    assert_eq!(set(images(&[3, 2, 2], 12), labels(3, &[0, 1, 255])), Ok(3));
    for (images, labels, says) in [
        (
            images(&[3, 2, 2], 11),
            labels(3, &[0, 1, 0]),
            "12 values and there are 11",
        ),
        (
            images(&[3, 2, 2], 13),
            labels(3, &[0, 1, 0]),
            "12 values and there are more",
        ),
        (
            images(&[3, 2, 2], 12),
            labels(2, &[0, 1]),
            "2 labels for 3 images",
        ),
        (
            images(&[3, 0, 2], 0),
            labels(3, &[0, 1, 0]),
            "images are 2×0",
        ),
        (
            images(&[6, 2], 12),
            labels(3, &[0, 1, 0]),
            "starts with the bytes",
        ),
        (
            [idx_header(13, &[3, 2, 2]), vec![0; 48]].concat(),
            labels(3, &[0, 1, 0]),
            "unsigned bytes in 3 dimensions",
        ),
        (vec![0, 0, 8], labels(3, &[0, 1, 0]), "within its header"),
        (images(&[3, 2, 2], 12), vec![1, 2, 3], "within its header"),
    ] {
        let (code, message) = set(images, labels).unwrap_err();
        assert!(
            code == "idx_invalid" && message.contains(says),
            "{code}: {message}"
        );
    }
    let start = Instant::now();
    let huge = set(
        images(&[u32::MAX, u32::MAX, u32::MAX], 12),
        labels(3, &[0, 1, 0]),
    );
    assert_eq!(huge.unwrap_err().0, "archive_too_large");
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(
        set(images(&[2, 2, 2], 8), labels(2, &[0, 0]))
            .unwrap_err()
            .0,
        "dataset_single_class"
    );
    assert_eq!(
        set(images(&[0, 2, 2], 0), labels(0, &[])).unwrap_err().0,
        "dataset_no_images"
    );
    let (_folder, path) = a_zip(&[("t10k-labels-idx1-ubyte".to_owned(), labels(1, &[0]))]);
    assert_eq!(code(&path), "idx_unpaired");
}

#[test]
fn archives_cut_short_are_refused() {
    let folder = TempDir::new().unwrap();
    let files = digits();
    for (name, content) in [
        ("a.zip", zipped(&files)),
        ("a.tar", tarred(&files)),
        ("a.tar.gz", gzipped(&tarred(&files))),
    ] {
        for part in 1..6 {
            let cut = &content[..content.len() * part / 6];
            let found = code(&named(&folder, name, cut));
            assert_eq!(found, "archive_corrupt", "{name} cut to {part}/6");
        }
    }
}

fn samples_of(labels: Vec<u32>) -> Samples {
    let dimensions = Dimensions {
        height: 1,
        width: 1,
        channels: 1,
    };
    Samples::new(dimensions, vec![0; labels.len()], labels).unwrap()
}

#[test]
fn a_split_asks_for_two_images_of_each_class() {
    let samples = samples_of(vec![0, 0, 1]);
    assert_eq!(samples.split(0.5, 1).unwrap_err().code(), "class_too_small");
    assert_eq!(samples.split(0.0, 1).unwrap(), (vec![0, 1, 2], vec![]));
    for fraction in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(
            samples.split(fraction, 1).unwrap_err().code(),
            "split_fraction_invalid"
        );
    }
}

proptest! {
    #[test]
    fn a_split_is_a_stratified_partition(labels in prop::collection::vec(0u32..5, 0..200), fraction in 0.001f64..0.999, seed: u64) {
        let labels = [labels, (0..5).chain(0..5).collect()].concat();
        let samples = samples_of(labels.clone());
        let (rest, held_out) = samples.split(fraction, seed).unwrap();
        prop_assert_eq!(samples.split(fraction, seed).unwrap(), (rest.clone(), held_out.clone()));
        prop_assert!(rest.is_sorted() && held_out.is_sorted());
        let all: HashSet<_> = rest.iter().chain(&held_out).collect();
        prop_assert_eq!((all.len(), rest.len() + held_out.len()), (labels.len(), labels.len()));
        for label in 0..5 {
            let count = |side: &[usize]| side.iter().filter(|&&index| labels[index] == label).count();
            let (kept, held) = (count(&rest), count(&held_out));
            prop_assert!(kept >= 1 && held >= 1);
            let wish = (kept + held) as f64 * fraction;
            prop_assert!((held as f64 - wish).abs() <= 1.0, "{} of {}", held, kept + held);
        }
    }

    #[test]
    fn damaged_archives_are_answered(
        kind in 0usize..4,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let files = small(["train/a/1.png", "train/a/2.png", "test/b/1.png", "train/b/2.png"]);
        let mut content = match kind {
            0 => zipped(&files),
            1 => tarred(&files),
            2 => gzipped(&tarred(&files)),
            _ => zipped(&[
                ("train-images-idx3-ubyte".to_owned(), [idx_header(8, &[3, 2, 2]), vec![9; 12]].concat()),
                ("train-labels-idx1-ubyte".to_owned(), [idx_header(8, &[3]), vec![0, 1, 2]].concat()),
            ]),
        };
        for (at, value) in damage {
            let at = at.index(content.len());
            content[at] = value;
        }
        let folder = TempDir::new().unwrap();
        let start = Instant::now();
        let _ = described(&named(&folder, "set", &content));
        prop_assert!(start.elapsed() < Duration::from_secs(2));
    }
}
