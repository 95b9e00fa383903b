//! Safetensors files, read and refused.

use irori::interchange::{import, read_safetensors, write_safetensors};
use irori::network::Parameter;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::*;

#[test]
fn safetensors_of_every_float_are_read() {
    let f16 = half::f16::from_f32(0.1);
    let bf16 = half::bf16::from_f32(0.1);
    let tensors = [
        (
            "a/f16",
            Dtype::F16,
            f16.to_le_bytes().to_vec(),
            f16.to_f32(),
        ),
        (
            "b/bf16",
            Dtype::BF16,
            bf16.to_le_bytes().to_vec(),
            bf16.to_f32(),
        ),
        ("c/f32", Dtype::F32, 0.1f32.to_le_bytes().to_vec(), 0.1),
        ("d/f64", Dtype::F64, 0.1f64.to_le_bytes().to_vec(), 0.1),
    ];
    let views = tensors
        .iter()
        .map(|(name, dtype, data, _)| (*name, TensorView::new(*dtype, vec![1, 1], data).unwrap()));
    let parameters = read_safetensors(&safetensors::serialize(views, None).unwrap()).unwrap();
    for (name, _, _, value) in &tensors {
        assert_eq!(
            parameters.get(name),
            Some(&Parameter {
                shape: vec![1, 1],
                values: vec![*value]
            })
        );
    }
}

#[test]
fn safetensors_that_are_none_are_refused() {
    let integers = safetensors::serialize(
        [("n", TensorView::new(Dtype::I32, vec![1], &[0; 4]).unwrap())],
        None,
    )
    .unwrap();
    assert_eq!(
        read_safetensors(&integers).unwrap_err().code(),
        "weights_not_float"
    );

    let whole = write_safetensors(&import(fixture("keras1.h5"), None).unwrap().parameters).unwrap();
    for length in 0..whole.len() {
        assert_eq!(
            read_safetensors(&whole[..length]).unwrap_err().code(),
            "safetensors_malformed",
            "{length}"
        );
    }
    // A shape whose product overflows.
    let header = r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,0]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    assert_eq!(
        read_safetensors(&bytes).unwrap_err().code(),
        "safetensors_malformed"
    );
}

#[test]
fn safetensors_of_another_model_are_refused() {
    let weights =
        write_safetensors(&import(fixture("keras1.h5"), None).unwrap().parameters).unwrap();
    assert_eq!(code(import(weights.clone(), None)), "architecture_missing");
    assert_eq!(
        code(import(weights, Some(architecture("keras3.json")))),
        "weights_mismatch"
    );
}
