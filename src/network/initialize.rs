//! Keras' initializers: the first values of a network's weights, drawn from a seed.
//!
//! Source: `keras/src/initializers/random_initializers.py`. The distributions are Keras'; the
//! numbers themselves are not, since they come from another generator.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::{Parameter, Parameters};
use crate::architecture::{Architecture, Distribution, Fan, Initializer, Variable};

/// The standard deviation of a normal distribution that is cut at two standard deviations.
const TRUNCATED_STDDEV: f64 = 0.879_625_661_034_239_8;

/// Draws the first values of all weights; the same seed gives the same values.
pub fn initialize(architecture: &Architecture, seed: u64) -> Parameters {
    let draw_one = |(index, variable): (usize, Variable)| {
        // A stream of its own for each variable: a layer added at the end changes none before it.
        let mut rng = ChaCha8Rng::seed_from_u64(variable.initializer.seed().unwrap_or(seed));
        rng.set_stream(index as u64);
        let parameter = Parameter {
            values: draw(&variable, &mut rng),
            shape: variable.shape,
        };
        (variable.name, parameter)
    };
    let variables = architecture.variables();
    variables.into_iter().enumerate().map(draw_one).collect()
}

fn draw(variable: &Variable, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let count: usize = variable.shape.iter().product();
    let mut fill = |next: &mut dyn FnMut(&mut ChaCha8Rng) -> f64| {
        (0..count).map(|_| next(rng) as f32).collect::<Vec<f32>>()
    };
    match variable.initializer {
        Initializer::Zeros => vec![0.0; count],
        Initializer::Ones => vec![1.0; count],
        Initializer::Constant { value } => vec![value as f32; count],
        Initializer::Identity { gain } => {
            let columns = variable.shape.last().copied().unwrap_or(1).max(1);
            let mut values = vec![0.0; count];
            for (row, values) in values.chunks_exact_mut(columns).enumerate() {
                if let Some(diagonal) = values.get_mut(row) {
                    *diagonal = gain as f32;
                }
            }
            values
        }
        Initializer::RandomUniform { minval, maxval, .. } => {
            fill(&mut |rng| uniform(rng, minval, maxval))
        }
        Initializer::RandomNormal { mean, stddev, .. } => {
            fill(&mut |rng| mean + stddev * rng.sample::<f64, _>(StandardNormal))
        }
        Initializer::TruncatedNormal { mean, stddev, .. } => {
            fill(&mut |rng| mean + stddev * truncated(rng))
        }
        Initializer::VarianceScaling {
            scale,
            mode,
            distribution,
            ..
        } => {
            let (fan_in, fan_out) = variable.fans();
            let fan = match mode {
                Fan::In => fan_in as f64,
                Fan::Out => fan_out as f64,
                Fan::Avg => (fan_in as f64 + fan_out as f64) / 2.0,
            };
            let variance = scale / fan.max(1.0);
            let stddev = variance.sqrt();
            let limit = (3.0 * variance).sqrt();
            match distribution {
                Distribution::Uniform => fill(&mut |rng| uniform(rng, -limit, limit)),
                Distribution::Normal => {
                    fill(&mut |rng| stddev * rng.sample::<f64, _>(StandardNormal))
                }
                Distribution::TruncatedNormal => {
                    fill(&mut |rng| stddev / TRUNCATED_STDDEV * truncated(rng))
                }
            }
        }
        Initializer::Orthogonal { gain, .. } => orthogonal(&variable.shape, gain, rng),
    }
}

fn uniform(rng: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// Standard normal, drawn again beyond two standard deviations.
fn truncated(rng: &mut ChaCha8Rng) -> f64 {
    loop {
        let value: f64 = rng.sample(StandardNormal);
        if value.abs() <= 2.0 {
            return value;
        }
    }
}

/// A random matrix with orthonormal rows or columns (Saxe et al., 2013), whichever are fewer; all
/// axes but the last make the rows. Gram and Schmidt's method, twice for accuracy.
fn orthogonal(shape: &[usize], gain: f64, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let columns = shape.last().copied().unwrap_or(1);
    let rows: usize = shape.iter().take(shape.len().saturating_sub(1)).product();
    let (vectors, length) = (rows.min(columns), rows.max(columns));
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(vectors);
    while basis.len() < vectors {
        let mut vector: Vec<f64> = (0..length).map(|_| rng.sample(StandardNormal)).collect();
        for _ in 0..2 {
            for earlier in &basis {
                let dot: f64 = vector.iter().zip(earlier).map(|(a, b)| a * b).sum();
                vector
                    .iter_mut()
                    .zip(earlier)
                    .for_each(|(v, e)| *v -= dot * e);
            }
        }
        let norm = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
        vector.iter_mut().for_each(|v| *v /= norm);
        basis.push(vector);
    }
    let at = |row: usize, column: usize| {
        let (vector, place) = if rows < columns {
            (row, column)
        } else {
            (column, row)
        };
        (gain * basis[vector][place]) as f32
    };
    (0..rows)
        .flat_map(|row| (0..columns).map(move |column| (row, column)))
        .map(|(row, column)| at(row, column))
        .collect()
}
