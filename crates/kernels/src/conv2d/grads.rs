//! All gradients of a convolution, from what is known of the gradient of its output.
use rayon::prelude::*;

use super::{Conv2d, Input, Method, OutputGrad};
use crate::aligned::Aligned;
use crate::correlation::Correlation;
use crate::error::{ShapeError, length};
use crate::kernel_grad::KernelGrad;
use crate::level::Level;
use crate::product::Finish;
use crate::scratch::with_scratch;
use crate::sums::{add_columns, add_to};
use crate::tasks::{alone, parts_mut, threads};
use crate::winograd::Winograd;

/// The gradients of a convolution, to be filled where they are wanted.
#[derive(Debug, Default)]
pub struct Conv2dGrads<'a> {
    /// Of the input, or of what it was normalised to.
    pub dx: Option<&'a mut [f32]>,
    /// Of the kernel.
    pub dkernel: Option<&'a mut [f32]>,
    /// Of the bias.
    pub dbias: Option<&'a mut [f32]>,
    /// The [sums](crate::Normalizer::sums) of the input's normalisation, which need `dx`.
    pub sums: Option<&'a mut [f32]>,
}

/// Values that the partial sums of all blocks of images may take: 4 MiB, small beside the batch itself.
const PARTIAL: usize = 1 << 20;

/// Blocks of images at most, which bounds the threads that can work on a small kernel.
const BLOCKS: usize = 16;

/// Values of the output's gradient that are held at a time where images aren't taken one by one, at least: 512 KiB; and at
/// most, where the sums that they join are many: 8 MiB.
const HELD: (usize, usize) = (1 << 17, 1 << 21);

impl Conv2d {
    /// Fills the gradients from the input and the kernel of the forward pass, and `dy`, that of the output.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn grads(
        &self,
        x: Input,
        kernel: &[f32],
        dy: OutputGrad,
        grads: Conv2dGrads,
    ) -> Result<(), ShapeError> {
        let len = x.values().len();
        let images = dy.check(self, len, kernel.len())?;
        x.check(self)?;
        let Conv2dGrads {
            dx,
            dkernel,
            dbias,
            sums,
        } = grads;
        let summed = x.normalizer().filter(|_| dx.is_some());
        for (what, found, expected) in [
            ("the input's gradient", dx.as_deref(), len),
            ("the kernel's gradient", dkernel.as_deref(), kernel.len()),
            (
                "the bias' gradient",
                dbias.as_deref(),
                self.shape.out_channels,
            ),
            (
                "the sums",
                sums.as_deref(),
                summed.map_or(0, |by| 2 * by.channels()),
            ),
        ] {
            if let Some(found) = found {
                length(what, found.len(), expected)?;
            }
        }
        let job = Job {
            plan: self,
            x,
            dy,
            back: dx.is_some().then(|| Back::new(self, kernel)),
            kernel_grad: dkernel
                .is_some()
                .then(|| KernelGrad::new(&self.shape, &self.forward)),
        };
        let sums = [dkernel, dbias, sums].map(Option::unwrap_or_default);
        job.run(images, dx.unwrap_or_default(), sums);
        Ok(())
    }
}

/// The gradient of the input.
struct Back {
    plan: Correlation,
    method: Method,
    kernel: Vec<f32>,
    /// What the method derives from the kernel.
    turned: Option<Aligned>,
}

impl Back {
    fn new(conv: &Conv2d, kernel: &[f32]) -> Self {
        let (plan, kernel) = conv.backward(kernel);
        let method = Method::of(&plan, conv.shape.kernel, conv.shape.dilation);
        Self {
            turned: method.turn(conv.level, &kernel),
            plan,
            method,
            kernel,
        }
    }

    fn run(&self, level: Level, dy: &[f32], dx: &mut [f32]) {
        let kernel = (self.kernel.as_slice(), self.turned.as_deref());
        self.method
            .run(level, &self.plan, dy, kernel, dx, Finish::NONE);
    }
}

/// One call's work. Gradients that aren't wanted are empty.
struct Job<'a> {
    plan: &'a Conv2d,
    x: Input<'a>,
    dy: OutputGrad<'a>,
    back: Option<Back>,
    kernel_grad: Option<KernelGrad>,
}

/// What is summed over the images.
struct Sums<'a> {
    kernel: KernelSums<'a>,
    bias: &'a mut [f32],
    /// Of the input's normalisation.
    norm: &'a mut [f32],
}

/// What the kernel's gradient is summed in.
enum KernelSums<'a> {
    /// Itself.
    Direct(&'a mut [f32]),
    /// The transformed sums of Winograd's method.
    Turned(&'a Winograd, &'a mut [f32]),
}

impl Job<'_> {
    fn run(&self, images: usize, dx: &mut [f32], [dkernel, dbias, norm]: [&mut [f32]; 3]) {
        let winograd = self
            .back
            .as_ref()
            .is_some_and(|back| back.method.winograd().is_some())
            || (self.kernel_grad.is_some() && self.plan.method.winograd().is_some());
        let sums = dkernel.len() + dbias.len() + norm.len();
        // How the batch falls into blocks depends on sizes alone, so the sums don't depend on the threads.
        let blocks = if winograd || images == 0 {
            1
        } else {
            images.min(PARTIAL / sums.max(1)).clamp(1, BLOCKS)
        };
        if blocks == 1 {
            return self.run_whole(images, dx, [dkernel, dbias, norm]);
        }
        let count = images.div_ceil(blocks);
        let blocks = images.div_ceil(count);
        let mut parts = dx.chunks_mut(count * self.plan.input_len());
        let mut parts: Vec<_> = (0..blocks)
            .map(|block| (block, parts.next().unwrap_or_default()))
            .collect();
        let enough = blocks >= threads();
        let block = |(block, dx): (usize, &mut [f32])| {
            let mut all = vec![0.0; sums];
            let (kernel, rest) = all.split_at_mut(dkernel.len());
            let (bias, norm) = rest.split_at_mut(dbias.len());
            let sums = Sums {
                kernel: KernelSums::Direct(kernel),
                bias,
                norm,
            };
            let images = (block * count, images.min((block + 1) * count));
            let work = || self.add_all(images, 1, dx, sums);
            if enough {
                alone(work)
            } else {
                work()
            };
            all
        };
        if !self.plan.from_last {
            parts.reverse();
        }
        let partial: Vec<_> = parts.into_par_iter().map(block).collect();
        let mut from = 0;
        for to in [dkernel, dbias, norm] {
            join(&partial, from, to);
            from += to.len();
        }
    }

    /// Fills all gradients in groups of images, each on all threads.
    fn run_whole(&self, images: usize, dx: &mut [f32], [dkernel, dbias, norm]: [&mut [f32]; 3]) {
        let level = self.plan.level;
        dkernel.fill(0.0);
        dbias.fill(0.0);
        norm.fill(0.0);
        let winograd = self.plan.method.winograd();
        let winograd =
            winograd.filter(|winograd| self.kernel_grad.is_some() && winograd.sums_kernels(images));
        let Some(winograd) = winograd else {
            let sums = Sums {
                kernel: KernelSums::Direct(dkernel),
                bias: dbias,
                norm,
            };
            return self.add_groups(images, HELD.0, dx, sums);
        };
        let mut turned = Aligned::zeros(winograd.turned_len());
        let held = turned.len().clamp(HELD.0, HELD.1);
        let sums = Sums {
            kernel: KernelSums::Turned(winograd, &mut turned),
            bias: dbias,
            norm,
        };
        self.add_groups(images, held, dx, sums);
        if !winograd.turn_back(level, &turned, dkernel) {
            dkernel.fill(0.0);
            let directly = Sums {
                kernel: KernelSums::Direct(dkernel),
                bias: &mut [],
                norm: &mut [],
            };
            self.add_groups(images, HELD.0, &mut [], directly);
        }
    }

    /// As [`Self::add`], for so many values of the output's gradient at a time.
    fn add_groups(&self, images: usize, held: usize, dx: &mut [f32], sums: Sums) {
        let group = (held / self.plan.output_len()).max(1);
        self.add_all((0, images), group, dx, sums);
    }

    /// As [`Self::add`], for `count` images at a time: from the last to the first where the forward pass has ended with the
    /// last, or the other way.
    fn add_all(&self, (from, to): (usize, usize), count: usize, dx: &mut [f32], mut sums: Sums) {
        let mut parts = dx.chunks_mut(count * self.plan.input_len());
        let mut groups: Vec<_> = (from..to)
            .step_by(count)
            .map(|first| (first, parts.next().unwrap_or_default()))
            .collect();
        if !self.plan.from_last {
            groups.reverse();
        }
        for (first, dx) in groups {
            self.add((first, count.min(to - first)), dx, &mut sums);
        }
    }

    /// Fills the input's gradient for `count` images from `first` on, and adds what they give to the sums.
    fn add(&self, (first, count): (usize, usize), dx: &mut [f32], sums: &mut Sums) {
        let (plan, level) = (self.plan, self.plan.level);
        let (inputs, outputs) = (plan.input_len(), plan.output_len());
        let made = if self.dy.is_made() {
            count * outputs
        } else {
            0
        };
        with_scratch(made, |room| {
            let dy = self.dy.images(level, outputs, (first, count), room);
            if let Some(back) = &self.back
                && !dx.is_empty()
            {
                back.run(level, dy, dx);
            }
            with_scratch(self.x.room(count * inputs), |room| {
                let images = (first, count);
                let x = if dx.is_empty() || sums.norm.is_empty() {
                    self.x.images(inputs, images, room)
                } else {
                    self.x.images_summed(inputs, images, room, dx, sums.norm)
                };
                match (&mut sums.kernel, &self.kernel_grad) {
                    (KernelSums::Turned(winograd, sums), _) => {
                        winograd.add_sums(level, x, dy, sums)
                    }
                    (KernelSums::Direct(dkernel), Some(direct)) => {
                        direct.add(level, x, dy, dkernel)
                    }
                    (KernelSums::Direct(_), None) => {}
                }
            });
            if !sums.bias.is_empty() {
                add_columns(level, dy, sums.bias);
            }
        });
    }
}

/// Fills `to` with the sums of what the parts have from `from` on.
fn join(parts: &[Vec<f32>], from: usize, to: &mut [f32]) {
    const STRETCH: usize = 1 << 12;
    parts_mut(to, STRETCH, |index, to| {
        let from = from + index * STRETCH;
        to.fill(0.0);
        for part in parts {
            add_to(to, &part[from..from + to.len()]);
        }
    });
}
