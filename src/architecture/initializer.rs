//! An initializer: the distribution that a weight's first values are drawn from.

/// A Keras initializer (`keras.initializers`).
///
/// `GlorotUniform`, `HeNormal` and their kin are the `VarianceScaling` that Keras defines them by:
/// see [`Initializer::glorot_uniform`].
#[derive(Clone, Debug, PartialEq)]
pub enum Initializer {
    /// All zeros.
    Zeros,
    /// All ones.
    Ones,
    /// All the same.
    Constant {
        /// That value.
        value: f64,
    },
    /// The identity matrix times `gain`; for matrices only.
    Identity {
        /// The value on the diagonal.
        gain: f64,
    },
    /// Uniform between two bounds.
    RandomUniform {
        /// The lower bound.
        minval: f64,
        /// The upper bound.
        maxval: f64,
        /// The layer's own seed, if any.
        seed: Option<u64>,
    },
    /// Normal.
    RandomNormal {
        /// Its mean.
        mean: f64,
        /// Its standard deviation.
        stddev: f64,
        /// The layer's own seed, if any.
        seed: Option<u64>,
    },
    /// Normal, with values beyond two standard deviations drawn again.
    TruncatedNormal {
        /// The mean before truncation.
        mean: f64,
        /// The standard deviation before truncation.
        stddev: f64,
        /// The layer's own seed, if any.
        seed: Option<u64>,
    },
    /// Zero mean, and the variance `scale / fan`.
    VarianceScaling {
        /// The numerator of the variance.
        scale: f64,
        /// The denominator of the variance.
        mode: Fan,
        /// The shape of the distribution.
        distribution: Distribution,
        /// The layer's own seed, if any.
        seed: Option<u64>,
    },
    /// An orthogonal matrix, times `gain`; for two axes or more.
    Orthogonal {
        /// The factor.
        gain: f64,
        /// The layer's own seed, if any.
        seed: Option<u64>,
    },
}

/// Which fan `VarianceScaling` divides by ([`Variable::fans`](super::Variable::fans)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fan {
    /// `fan_in`, the inputs of one output.
    In,
    /// `fan_out`, the outputs of one input.
    Out,
    /// `fan_avg`, the mean of both.
    Avg,
}

/// The distribution that `VarianceScaling` draws from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// `uniform`: between `±√(3 · variance)`.
    Uniform,
    /// `truncated_normal`: normal cut at two standard deviations, widened so that what is left has
    /// the variance asked for.
    TruncatedNormal,
    /// `untruncated_normal`.
    Normal,
}

/// The named `VarianceScaling` initializers of Keras.
pub(super) const SCALINGS: [(&str, f64, Fan, Distribution); 6] = [
    ("GlorotUniform", 1.0, Fan::Avg, Distribution::Uniform),
    ("GlorotNormal", 1.0, Fan::Avg, Distribution::TruncatedNormal),
    ("HeUniform", 2.0, Fan::In, Distribution::Uniform),
    ("HeNormal", 2.0, Fan::In, Distribution::TruncatedNormal),
    ("LecunUniform", 1.0, Fan::In, Distribution::Uniform),
    ("LecunNormal", 1.0, Fan::In, Distribution::TruncatedNormal),
];

impl Initializer {
    /// Keras' default for kernels: uniform, with the variance `2 / (fan_in + fan_out)` (Glorot and
    /// Bengio, 2010).
    pub fn glorot_uniform() -> Self {
        Self::VarianceScaling {
            scale: 1.0,
            mode: Fan::Avg,
            distribution: Distribution::Uniform,
            seed: None,
        }
    }

    /// The seed that the document gives this initializer.
    pub fn seed(&self) -> Option<u64> {
        match *self {
            Self::RandomUniform { seed, .. }
            | Self::RandomNormal { seed, .. }
            | Self::TruncatedNormal { seed, .. }
            | Self::VarianceScaling { seed, .. }
            | Self::Orthogonal { seed, .. } => seed,
            Self::Zeros | Self::Ones | Self::Constant { .. } | Self::Identity { .. } => None,
        }
    }
}
