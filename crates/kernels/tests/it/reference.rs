//! What the tests compare with: plain loops in float64, random values and tolerances.
use kernels::{Conv2d, Conv2dShape, Level, Padding2d};
use proptest::prelude::*;

/// Every instruction set of this machine.
pub fn levels() -> Vec<Level> {
    Level::available()
}

/// `len` values in -1..1, the same for the same seed.
pub fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// A sum in float64 and the sum of its terms' magnitudes, which is what rounding errors are relative to.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sum {
    pub value: f64,
    pub size: f64,
}

impl Sum {
    pub fn add(&mut self, term: f64) {
        self.value += term;
        self.size += term.abs();
    }
}

/// Asserts that all of `got` are the sums `want`, but for rounding.
#[track_caller]
pub fn assert_sums(what: &str, got: &[f32], want: &[Sum]) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(*got) - want.value).abs();
        assert!(
            error <= 1e-6 * want.size,
            "{what}[{index}]: {got}, not {}",
            want.value
        );
    }
}

/// Asserts that all of `got` are the sums `want` to 1e-5 of the largest, which is what Winograd's method promises.
#[track_caller]
pub fn assert_near(what: &str, got: &[f32], want: &[Sum]) {
    assert_eq!(got.len(), want.len(), "{what}");
    let scale = want.iter().map(|sum| sum.value.abs()).fold(0.0, f64::max);
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(*got) - want.value).abs();
        assert!(
            error <= 1e-5 * scale,
            "{what}[{index}]: {got}, not {}, of {scale}",
            want.value
        );
    }
}

/// Asserts that both have the same bits.
#[track_caller]
pub fn assert_same_bits(what: &str, left: &[f32], right: &[f32]) {
    assert_eq!(left.len(), right.len(), "{what}");
    let differs = left
        .iter()
        .zip(right)
        .position(|(left, right)| left.to_bits() != right.to_bits());
    assert_eq!(differs, None, "{what}: the first index that differs");
}

/// Runs `work` on a pool of so many threads.
pub fn on_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
        .install(work)
}

/// Calls `visit(x index, kernel index, y index)` for every product of a convolution of `images`.
pub fn products(plan: &Conv2d, images: usize, mut visit: impl FnMut(usize, usize, usize)) {
    let s = plan.shape();
    let (height, width) = plan.output();
    let (inputs, outputs) = (s.in_channels / s.groups, s.out_channels / s.groups);
    for image in 0..images {
        for oy in 0..height {
            for ox in 0..width {
                for ky in 0..s.kernel.0 {
                    for kx in 0..s.kernel.1 {
                        let iy = (oy * s.stride.0 + ky * s.dilation.0).checked_sub(s.padding.top);
                        let ix = (ox * s.stride.1 + kx * s.dilation.1).checked_sub(s.padding.left);
                        let (Some(iy), Some(ix)) = (iy, ix) else {
                            continue;
                        };
                        if iy >= s.input.0 || ix >= s.input.1 {
                            continue;
                        }
                        let x = ((image * s.input.0 + iy) * s.input.1 + ix) * s.in_channels;
                        let y = ((image * height + oy) * width + ox) * s.out_channels;
                        for co in 0..s.out_channels {
                            for ci in 0..inputs {
                                let kernel =
                                    ((ky * s.kernel.1 + kx) * inputs + ci) * s.out_channels + co;
                                visit(x + co / outputs * inputs + ci, kernel, y + co);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A convolution of square images with a square kernel and as much padding on every side.
pub fn shape(size: usize, channels: (usize, usize), kernel: usize, pad: usize) -> Conv2dShape {
    Conv2dShape {
        input: (size, size),
        in_channels: channels.0,
        out_channels: channels.1,
        kernel: (kernel, kernel),
        stride: (1, 1),
        dilation: (1, 1),
        padding: Padding2d {
            top: pad,
            bottom: pad,
            left: pad,
            right: pad,
        },
        groups: 1,
    }
}

/// Shapes of convolutions, small and odd: one-pixel images, all strides, dilations, groups and paddings.
pub fn conv_shapes() -> impl Strategy<Value = Conv2dShape> {
    let pair = |range: std::ops::RangeInclusive<usize>| (range.clone(), range);
    let channels = prop_oneof![
        Just(1usize),
        Just(2),
        Just(3),
        Just(17),
        Just(33),
        1..=40usize
    ];
    let sizes = (pair(1..=11), pair(1..=4), pair(1..=3), pair(1..=3));
    (
        sizes,
        channels.clone(),
        channels,
        0..4usize,
        any::<[u8; 4]>(),
    )
        .prop_map(
            |((input, kernel, stride, dilation), inputs, outputs, grouping, pad)| {
                let groups = match grouping {
                    0 | 1 => 1,
                    2 => 3,
                    _ => inputs,
                };
                let (in_channels, out_channels) = match grouping {
                    0 | 1 => (inputs, outputs),
                    2 => (3 * (inputs / 3 + 1), 3 * (outputs / 3 + 1)),
                    _ => (inputs, inputs * (1 + outputs % 3)),
                };
                // A padding below the span, and enough of it for the window to fit.
                let side = |input: usize, taps: usize, dilation: usize, one: u8, two: u8| {
                    let span = (taps - 1) * dilation + 1;
                    let (mut before, mut after) =
                        (usize::from(one) % span, usize::from(two) % span);
                    while input + before + after < span {
                        if before < span - 1 {
                            before += 1
                        } else {
                            after += 1
                        }
                    }
                    (before, after)
                };
                let (top, bottom) = side(input.0, kernel.0, dilation.0, pad[0], pad[1]);
                let (left, right) = side(input.1, kernel.1, dilation.1, pad[2], pad[3]);
                let padding = Padding2d {
                    top,
                    bottom,
                    left,
                    right,
                };
                Conv2dShape {
                    input,
                    in_channels,
                    out_channels,
                    kernel,
                    stride,
                    dilation,
                    padding,
                    groups,
                }
            },
        )
}
