//! Files made to harm, and files that came to harm.

use std::time::{Duration, Instant};

use irori::interchange::import;
use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn what_is_no_model_file_is_told_so() {
    for bytes in [
        &b""[..],
        b"{}",
        b"GIF89a\x01\x00\x01\x00",
        b"PK\x05\x06",
        &[0; 64],
    ] {
        assert_eq!(
            code(import(bytes.to_vec(), None)),
            "model_file_unrecognized",
            "{bytes:?}"
        );
    }
    let mut empty = FileBuilder::new();
    empty.create_dataset("x").with_f32_data(&[1.0]);
    assert_eq!(
        code(import(empty.finish().unwrap(), None)),
        "hdf5_not_keras"
    );
}

#[test]
fn a_file_cut_short_is_refused_wherever_it_is_cut() {
    for file in ["keras2_0.h5", "float16.keras", "deflated.keras"] {
        let whole = fixture(file);
        for length in (0..whole.len()).step_by(97) {
            let _ = code(import(whole[..length].to_vec(), None));
        }
    }
}

#[test]
fn a_document_nested_without_end_is_refused() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let config = format!(r#"{{"class_name":"Sequential","config":{deep}}}"#);
    assert_eq!(
        code(import(h5_with_config(&config), None)),
        "model_file_json_malformed"
    );
    assert_eq!(
        code(import(archive(&[("config.json", config.as_bytes())]), None)),
        "model_file_json_malformed"
    );
}

#[test]
fn an_archive_without_its_parts_is_refused() {
    assert_eq!(
        code(import(archive(&[("readme.txt", b"hello")]), None)),
        "keras_archive_malformed"
    );
}

#[test]
fn a_zip_bomb_is_not_unpacked() {
    let model = import(fixture("float64.keras"), None).unwrap();
    let document = model.architecture.to_json().to_string();
    let zeros = vec![0; 64 << 20];
    let bomb = archive(&[
        ("config.json", document.as_bytes()),
        ("metadata.json", b"{}"),
        ("model.weights.h5", &zeros),
    ]);
    assert!(bomb.len() < 100_000);
    let started = Instant::now();
    assert_eq!(code(import(bomb, None)), "model_file_too_large");
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn storage_that_was_never_written_takes_no_memory() {
    // 20,000 × 20,000 weights, all of them the fill value: 1.6 GB from a file of a few kilobytes.
    let started = Instant::now();
    assert_eq!(
        code(import(fixture("unwritten.h5"), None)),
        "model_file_too_large"
    );
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn links_that_run_in_circles_end() {
    let _ = code(import(fixture("circular.h5"), None));
}

#[test]
fn weights_that_are_no_floats_are_refused() {
    let config = json!({"class_name": "Sequential", "config": {"name": "s", "layers": [
        {"class_name": "Dense", "config": {"name": "d", "units": 1, "use_bias": false, "batch_input_shape": [null, 2]}}]}});
    let mut file = FileBuilder::new();
    file.set_attr("model_config", AttrValue::VarLenString(config.to_string()));
    let mut weights = file.create_group("model_weights");
    weights.set_attr("layer_names", AttrValue::StringArray(vec!["d".into()]));
    let mut layer = weights.create_group("d");
    layer.set_attr("weight_names", AttrValue::StringArray(vec!["k".into()]));
    layer
        .create_dataset("k")
        .with_i32_data(&[1, 2])
        .with_shape(&[2, 1]);
    weights.add_group(layer.finish());
    file.add_group(weights.finish());
    assert_eq!(
        code(import(file.finish().unwrap(), None)),
        "weights_not_float"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Damaged files get an answer: a model if the damage did no harm, or an error. Never a panic, and soon.
    #[test]
    fn damage_is_survived(
        file in prop::sample::select(vec![
            "keras2_0.h5", "keras2_0_split.h5", "keras1_theano.h5", "bfloat16.h5",
            "float16.keras", "deflated.keras", "lambda.h5",
        ]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = fixture(file);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let started = Instant::now();
        if let Ok(imported) = import(bytes, None) {
            prop_assert_eq!(imported.parameters.check(&imported.architecture), Ok(()));
        }
        prop_assert!(started.elapsed() < Duration::from_secs(5));
    }
}
