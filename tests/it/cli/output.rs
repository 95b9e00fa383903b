//! What becomes of output that nobody reads any more.

use std::process::Stdio;

use super::irori;

#[test]
fn a_reader_that_has_seen_enough_ends_a_command_quietly() {
    let image = "tests/fixtures/digits/3";
    let image = std::fs::read_dir(image).unwrap().next().unwrap().unwrap();
    let image = image.path();
    let image = image.to_str().unwrap();
    for arguments in [
        &["predict", "--model", "digits", image][..],
        &["predict", "--model", "digits", "--json", image],
        &["summary", "--model", "digits"],
        &["models"],
        &["openapi"],
        &[
            "bench",
            "--model",
            "digits",
            "--batch",
            "1",
            "--seconds",
            "0.01",
        ],
    ] {
        let mut child = irori()
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The reader has gone before anything is written.
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.is_empty(),
            "{arguments:?}: {said}"
        );
    }
}

#[test]
fn a_refusal_that_nobody_reads_is_still_a_refusal() {
    let mut child = irori()
        .args(["predict", "--model", "digits", "nothing.png"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}
