//! Folders of images: their parts, their classes, and what lies about in them.

use std::fs;

use irori::dataset::{BadFiles, Format, Options, describe};
use tempfile::TempDir;

use super::{a_zip, code, described, digit, digits, fixture, gzipped, loaded, named, small};

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
