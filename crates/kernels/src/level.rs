//! The instruction set that the kernels run on.
use std::fmt;

use pulp::{Arch, Simd, WithSimd};

/// An instruction set that this processor has.
///
/// [`Level::default`] is the best of them; the others are for comparing and testing.
#[derive(Clone, Copy)]
pub struct Level(Arch);

impl Level {
    /// All that this processor has, the best first; scalar code is always the last.
    pub fn available() -> Vec<Self> {
        let mut levels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            levels.extend(pulp::x86::V4::try_new().map(|simd| Self(Arch::V4(simd))));
            levels.extend(pulp::x86::V3::try_new().map(|simd| Self(Arch::V3(simd))));
        }
        #[cfg(target_arch = "aarch64")]
        levels.extend(pulp::aarch64::Neon::try_new().map(|simd| Self(Arch::Neon(simd))));
        levels.push(Self(Arch::Scalar));
        levels
    }

    /// Its name: `avx512`, `avx2`, `neon` or `scalar`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Arch::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Arch::V3(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Arch::V4(_) => "avx512",
            #[cfg(target_arch = "aarch64")]
            Arch::Neon(_) => "neon",
            _ => "other",
        }
    }

    /// Runs `op` compiled for this level.
    #[inline]
    pub(crate) fn run<Op: WithSimd>(self, op: Op) -> Op::Output {
        self.0.dispatch(op)
    }
}

impl Default for Level {
    fn default() -> Self {
        Self(Arch::new())
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The lanes of the widest vectors, those of AVX-512.
pub(crate) const WIDEST: usize = 16;

/// The first values of `from` as a vector, the lanes past its end zero.
#[inline(always)]
pub(crate) fn load<S: Simd>(simd: S, from: &[f32]) -> S::f32s {
    if from.len() >= S::F32_LANES {
        // SAFETY: the slice holds a whole vector, and any bits are a vector of f32.
        unsafe { from.as_ptr().cast::<S::f32s>().read_unaligned() }
    } else {
        simd.partial_load_f32s(from)
    }
}

/// Writes the first lanes of `value` over `to`, as many as it has room for.
#[inline(always)]
pub(crate) fn store<S: Simd>(simd: S, to: &mut [f32], value: S::f32s) {
    if to.len() >= S::F32_LANES {
        // SAFETY: the slice has room for a whole vector.
        unsafe { to.as_mut_ptr().cast::<S::f32s>().write_unaligned(value) }
    } else {
        simd.partial_store_f32s(to, value);
    }
}

/// `value`, or `low` if it is less; NaN stays NaN.
#[inline(always)]
pub(crate) fn at_least<S: Simd>(simd: S, value: S::f32s, low: S::f32s) -> S::f32s {
    if S::F32_LANES > 1 {
        // x86's instruction gives its second operand where either is NaN, NEON's gives NaN.
        simd.max_f32s(low, value)
    } else {
        simd.select_f32s(simd.less_than_f32s(value, low), low, value)
    }
}

/// `value`, or `high` if it is more; NaN stays NaN.
#[inline(always)]
pub(crate) fn at_most<S: Simd>(simd: S, value: S::f32s, high: S::f32s) -> S::f32s {
    if S::F32_LANES > 1 {
        simd.min_f32s(high, value)
    } else {
        simd.select_f32s(simd.greater_than_f32s(value, high), high, value)
    }
}

/// The larger of the two, NaN if either is.
#[inline(always)]
pub(crate) fn larger<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
    let larger = at_least(simd, b, a);
    simd.select_f32s(simd.equal_f32s(a, a), larger, a)
}

/// `value` held between `low` and `high`; NaN stays NaN.
#[inline(always)]
pub(crate) fn clamp<S: Simd>(simd: S, value: S::f32s, low: S::f32s, high: S::f32s) -> S::f32s {
    at_most(simd, at_least(simd, value, low), high)
}
