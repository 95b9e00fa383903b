//! The gradient of a convolution's input, which is itself a correlation.
use super::{Conv2d, Conv2dShape, Padding2d};
use crate::correlation::{Correlation, Phase};
use crate::product::Chunk;
use crate::transpose::transpose;
use crate::window::{Tap, offsets};

impl Conv2d {
    /// The gradient of the input as a correlation of the padded `dy`, and the kernel turned to suit: for each phase its
    /// taps from last to first, each `[output channels of a group, input channels]`.
    ///
    /// Input pixel `i` meets tap `k` at output pixel `(i + padding - k · dilation) / stride` where that is whole; so the
    /// pixels with the same `(i + padding) mod stride` share their taps.
    pub(super) fn backward(&self, kernel: &[f32]) -> (Correlation, Vec<f32>) {
        let Conv2dShape {
            in_channels,
            out_channels,
            kernel: size,
            groups,
            ..
        } = self.shape;
        let (inputs, outputs) = (in_channels / groups, out_channels / groups);
        let (vertical, horizontal) = &self.axes;
        let ((top, bottom), (left, right)) = (vertical.back_margins(), horizontal.back_margins());
        let padded_width = horizontal.back_padded();

        let mut turned = vec![0.0; self.kernel_len];
        let mut phases = Vec::new();
        let mut row = 0;
        for y in vertical.back_phases() {
            for x in horizontal.back_phases() {
                let taps = || {
                    y.taps
                        .iter()
                        .flat_map(|ty| x.taps.iter().map(move |tx| (ty, tx)))
                };
                let at = taps().map(|(ty, tx)| Tap {
                    y: ty.offset,
                    x: tx.offset,
                });
                let chunks = Chunk::cut(
                    &offsets(&Vec::from_iter(at), padded_width, out_channels, outputs),
                    row,
                );
                for (ty, tx) in taps() {
                    let tap = ty.index * size.1 + tx.index;
                    let from = &kernel[tap * inputs * out_channels..][..inputs * out_channels];
                    let to = &mut turned[row * in_channels..][..outputs * in_channels];
                    turn(from, to, groups, inputs, outputs);
                    row += outputs;
                }
                phases.push(Phase {
                    rows: (y.start, vertical.stride, y.count),
                    columns: (x.start, horizontal.stride, x.count),
                    first: (y.first, x.first),
                    steps: (1, 1),
                    tall: y.taps.last().map_or(1, |tap| tap.offset + 1),
                    chunks,
                });
            }
        }
        let plan = Correlation {
            input: self.output,
            margins: Padding2d {
                top,
                bottom,
                left,
                right,
            },
            output: self.forward.input,
            border: Padding2d::default(),
            pooled: false,
            groups,
            phases,
            terms: (size.0 * size.1 * outputs).div_ceil(vertical.stride * horizontal.stride),
        };
        (plan, turned)
    }
}

/// Transposes one tap, `[inputs, groups · outputs]`, to `[outputs, groups · inputs]`, each group by itself.
fn turn(from: &[f32], to: &mut [f32], groups: usize, inputs: usize, outputs: usize) {
    if groups == 1 {
        // `transpose` makes rows of as many values as `from` has rows.
        return transpose(from, outputs, inputs, outputs, to);
    }
    for group in 0..groups {
        for input in 0..inputs {
            for output in 0..outputs {
                to[output * groups * inputs + group * inputs + input] =
                    from[input * groups * outputs + group * outputs + output];
            }
        }
    }
}
