//! Data sets: however they are packed they are the same, and nothing in an archive does harm.

mod folders;
mod hostile;
mod idx;
mod limits;
mod split;

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use irori::dataset::{Dataset, DatasetError, Description, Format, Options, describe, load};
use irori::imaging::{Dimensions, Preprocessing};
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
