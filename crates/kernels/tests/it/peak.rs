//! The peak: wide vectors do more than single numbers.
use kernels::{Level, peak_flops};

#[test]
fn wider_vectors_have_a_higher_peak() {
    let peaks: Vec<f64> = Level::available().into_iter().map(peak_flops).collect();
    assert!(
        peaks.iter().all(|peak| peak.is_finite() && *peak > 1e6),
        "{peaks:?}"
    );
    let (best, scalar) = (peaks[0], peaks[peaks.len() - 1]);
    assert!(peaks.len() == 1 || best > 2.0 * scalar, "{peaks:?}");
}
