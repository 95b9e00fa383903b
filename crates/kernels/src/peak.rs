//! The peak: the operations a second that this machine could do if nothing but arithmetic took time.
use std::hint::black_box;
use std::time::{Duration, Instant};

use pulp::{Simd, WithSimd};

use crate::level::Level;

/// How often the peak is measured; the best counts, for whatever else runs on the machine only takes away from it.
const TIMES: usize = 10;
/// How long each time.
const TIME: Duration = Duration::from_millis(5);
/// Multiply-adds of a sum between two looks at the clock.
const STEPS: usize = 4096;

/// The floating-point operations per second that the threads of the rayon pool the caller is in reach together in
/// multiply-adds on registers, two operations each. Takes 50 ms.
pub fn peak_flops(level: Level) -> f64 {
    let once = || -> f64 { rayon::broadcast(|_| level.run(MultiplyAdd)).iter().sum() };
    (0..TIMES).map(|_| once()).fold(0.0, f64::max)
}

/// Operations per second of the thread that runs it.
struct MultiplyAdd;

impl WithSimd for MultiplyAdd {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        if S::REGISTER_COUNT >= 32 {
            rate::<S, 24>(simd)
        } else {
            rate::<S, 12>(simd)
        }
    }
}

/// As many `SUMS` as there are registers for, so that each has its result before it is its turn again.
#[inline(always)]
fn rate<S: Simd, const SUMS: usize>(simd: S) -> f64 {
    // Every sum goes to 2, far from the numbers that some processors are slow with.
    let (factor, term) = black_box((simd.splat_f32s(0.5), simd.splat_f32s(1.0)));
    let mut sums = [simd.splat_f32s(0.0); SUMS];
    let mut rounds = 0u32;
    let started = Instant::now();
    let seconds = loop {
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = simd.mul_add_e_f32s(*sum, factor, term);
            }
        }
        rounds += 1;
        let elapsed = started.elapsed();
        if elapsed >= TIME {
            break elapsed.as_secs_f64();
        }
    };
    black_box(sums);
    f64::from(rounds) * (2 * STEPS * SUMS * S::F32_LANES) as f64 / seconds
}
