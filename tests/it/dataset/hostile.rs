//! Archives that mean harm, and those that are damaged.

use std::io::Cursor;
use std::time::{Duration, Instant};

use irori::dataset::{Options, describe};
use proptest::prelude::*;
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::idx::idx_header;
use super::{code, described, digit, digits, gzipped, named, small, tarred, zipped};

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

proptest! {
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
