//! The form that serves, held against the network that trains.

use burn::tensor::Device;
use irori::architecture::Architecture;
use irori::network::{self, Network, Parameter, Parameters, Predictor, initialize};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

fn layer(class_name: &str, config: Value) -> Value {
    json!({"class_name": class_name, "config": config})
}

fn sequential(input: [usize; 3], layers: Vec<Value>) -> Architecture {
    let input = layer(
        "InputLayer",
        json!({"batch_shape": [null, input[0], input[1], input[2]]}),
    );
    let layers: Vec<Value> = std::iter::once(input).chain(layers).collect();
    Architecture::from_value(&json!({"class_name": "Sequential", "config": {"layers": layers}}))
        .unwrap()
}

fn conv(filters: usize, size: usize, padding: &str, activation: &str) -> Value {
    layer(
        "Conv2D",
        json!({"filters": filters, "kernel_size": size, "padding": padding, "activation": activation}),
    )
}

fn norm() -> Value {
    layer("BatchNormalization", json!({}))
}

fn pool() -> Value {
    layer("MaxPooling2D", json!({"pool_size": 2}))
}

fn dense(units: usize, activation: &str) -> Value {
    layer("Dense", json!({"units": units, "activation": activation}))
}

fn activation(name: &str) -> Value {
    layer("Activation", json!({"activation": name}))
}

/// Networks in which every kind of folding happens, or must not.
fn networks() -> Vec<(&'static str, Architecture)> {
    let flatten = || layer("Flatten", json!({}));
    vec![
        (
            "convolution, normalization, activation, pooling",
            sequential(
                [20, 20, 3],
                vec![
                    layer("Rescaling", json!({"scale": 0.5, "offset": -0.25})),
                    conv(32, 3, "valid", "linear"),
                    norm(),
                    activation("relu"),
                    conv(33, 3, "same", "linear"),
                    norm(),
                    layer("ReLU", json!({"max_value": 6.0})),
                    pool(),
                    flatten(),
                    dense(40, "relu"),
                    norm(),
                    layer("Dropout", json!({"rate": 0.5})),
                    dense(10, "softmax"),
                ],
            ),
        ),
        (
            "normalization before padding, which must stay",
            sequential(
                [9, 11, 2],
                vec![
                    norm(),
                    conv(17, 3, "same", "relu"),
                    norm(),
                    conv(8, 3, "valid", "tanh"),
                    norm(),
                    norm(),
                    layer("GlobalAveragePooling2D", json!({})),
                    dense(5, "sigmoid"),
                ],
            ),
        ),
        (
            "depthwise blocks with padding layers",
            sequential(
                [24, 24, 3],
                vec![
                    layer("ZeroPadding2D", json!({"padding": [[0, 1], [0, 1]]})),
                    layer(
                        "Conv2D",
                        json!({"filters": 16, "kernel_size": 3, "strides": 2, "use_bias": false}),
                    ),
                    norm(),
                    layer(
                        "DepthwiseConv2D",
                        json!({"kernel_size": 3, "padding": "same", "use_bias": false}),
                    ),
                    norm(),
                    activation("relu"),
                    conv(24, 1, "same", "linear"),
                    norm(),
                    activation("relu6"),
                    layer(
                        "SeparableConv2D",
                        json!({"filters": 20, "kernel_size": 3, "depth_multiplier": 2}),
                    ),
                    norm(),
                    layer("GlobalMaxPooling2D", json!({})),
                    dense(4, "softmax"),
                ],
            ),
        ),
        (
            "normalization in front of a flattened dense layer, and what has no kernel",
            sequential(
                [8, 8, 1],
                vec![
                    conv(12, 3, "same", "gelu"),
                    layer(
                        "AveragePooling2D",
                        json!({"pool_size": 2, "padding": "same"}),
                    ),
                    norm(),
                    flatten(),
                    dense(16, "silu"),
                    layer("LayerNormalization", json!({})),
                    dense(3, "log_softmax"),
                ],
            ),
        ),
        (
            "nothing but an activation",
            sequential([4, 4, 2], vec![activation("relu")]),
        ),
        (
            "groups",
            sequential(
                [10, 10, 8],
                vec![
                    norm(),
                    layer(
                        "Conv2D",
                        json!({"filters": 12, "kernel_size": 3, "groups": 4}),
                    ),
                    norm(),
                    activation("elu"),
                    flatten(),
                    dense(6, "linear"),
                ],
            ),
        ),
    ]
}

/// Weights as after training: no bias, mean or offset is zero, no variance or scale one.
fn trained(architecture: &Architecture, rng: &mut ChaCha8Rng) -> Parameters {
    let first = initialize(architecture, 3);
    let moved = first.iter().map(|(name, parameter)| {
        let is_variance = name.ends_with("variance");
        let values = parameter.values.iter().map(|&value| {
            let step: f32 = rng.random_range(-0.3..0.3);
            if is_variance {
                value + step.abs()
            } else {
                value + step
            }
        });
        let parameter = Parameter {
            values: values.collect(),
            shape: parameter.shape.clone(),
        };
        (name.to_owned(), parameter)
    });
    moved.collect()
}

fn predict(predictor: &Predictor, images: &[f32]) -> Vec<f32> {
    let mut scores = vec![0.0; images.len() / predictor.input() * predictor.outputs()];
    predictor.predict(images, &mut scores);
    scores
}

#[test]
fn a_folded_network_agrees_with_the_unfolded_one() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for (name, architecture) in networks() {
        let parameters = trained(&architecture, &mut rng);
        let network = Network::new(&architecture, &parameters, &Device::flex()).unwrap();
        let predictor = Predictor::new(&architecture, &parameters, &Device::flex()).unwrap();
        for count in [1, 3, 32] {
            let images: Vec<f32> = (0..count * predictor.input())
                .map(|_| rng.random_range(0.0..1.0))
                .collect();
            let expected = network.predict(images.clone(), count);
            let found = predict(&predictor, &images);
            for (found, expected) in found.iter().zip(&expected) {
                let difference = (found - expected).abs() / expected.abs().max(1.0);
                assert!(
                    difference <= 1e-5,
                    "{name}, {count} images: {found} for {expected}"
                );
            }
        }
    }
}

/// Whatever batch an image arrives in, whatever its place there, and however many threads compute.
#[test]
fn the_same_image_gets_the_same_bits() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let pool = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        (threads, pool.build().unwrap())
    };
    let pools = [1, 2, 4].map(pool);
    for (name, architecture) in networks() {
        let parameters = trained(&architecture, &mut rng);
        let predictor = Predictor::new(&architecture, &parameters, &Device::flex()).unwrap();
        let images: Vec<f32> = (0..64 * predictor.input())
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        let alone: Vec<u32> = images
            .chunks(predictor.input())
            .flat_map(|image| predict(&predictor, image))
            .map(f32::to_bits)
            .collect();
        for (threads, pool) in &pools {
            for count in 1..=64 {
                // Another start each time, so that every image stands in many places.
                let from = (count * 7) % (65 - count);
                let batch = &images[from * predictor.input()..][..count * predictor.input()];
                // On one thread of the pool, or on all.
                let found = pool.install(|| match count % 3 {
                    0 => network::alone(|| predict(&predictor, batch)),
                    _ => predict(&predictor, batch),
                });
                let found: Vec<u32> = found.into_iter().map(f32::to_bits).collect();
                let expected = &alone[from * predictor.outputs()..][..count * predictor.outputs()];
                assert!(
                    found == expected,
                    "{name}: {count} images on {threads} threads"
                );
            }
        }
    }
}

#[test]
fn numbers_that_are_not_finite_stay_so() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let (_, architecture) = networks().swap_remove(0);
    let parameters = trained(&architecture, &mut rng);
    let predictor = Predictor::new(&architecture, &parameters, &Device::flex()).unwrap();
    let mut images = vec![0.5; 3 * predictor.input()];
    images[predictor.input() + 7] = f32::NAN;
    let scores = predict(&predictor, &images);
    let (first, rest) = scores.split_at(predictor.outputs());
    let (second, third) = rest.split_at(predictor.outputs());
    assert!(second.iter().all(|score| score.is_nan()), "{second:?}");
    assert!(first.iter().all(|score| score.is_finite()) && first == third);
}
