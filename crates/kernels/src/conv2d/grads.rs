//! All gradients of a convolution, from what is known of the gradient of its output.
use rayon::prelude::*;

use super::{Conv2d, Method, OutputGrad};
use crate::aligned::Aligned;
use crate::correlation::Correlation;
use crate::error::{ShapeError, length};
use crate::kernel_grad::KernelGrad;
use crate::level::Level;
use crate::product::Finish;
use crate::scratch::with_scratch;
use crate::sums::add_columns;
use crate::tasks::{alone, parts_mut, threads};
use crate::winograd::Winograd;

/// The gradients of a convolution, to be filled where they are wanted.
#[derive(Debug, Default)]
pub struct Conv2dGrads<'a> {
    /// Of the input.
    pub dx: Option<&'a mut [f32]>,
    /// Of the kernel.
    pub dkernel: Option<&'a mut [f32]>,
    /// Of the bias.
    pub dbias: Option<&'a mut [f32]>,
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
        x: &[f32],
        kernel: &[f32],
        dy: OutputGrad,
        grads: Conv2dGrads,
    ) -> Result<(), ShapeError> {
        let images = dy.check(self, x.len(), kernel.len())?;
        let Conv2dGrads { dx, dkernel, dbias } = grads;
        for (what, found, expected) in [
            ("the input's gradient", dx.as_deref(), x.len()),
            ("the kernel's gradient", dkernel.as_deref(), kernel.len()),
            (
                "the bias' gradient",
                dbias.as_deref(),
                self.shape.out_channels,
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
        job.run(
            images,
            dx.unwrap_or_default(),
            dkernel.unwrap_or_default(),
            dbias.unwrap_or_default(),
        );
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
    x: &'a [f32],
    dy: OutputGrad<'a>,
    back: Option<Back>,
    kernel_grad: Option<KernelGrad>,
}

impl Job<'_> {
    fn run(&self, images: usize, dx: &mut [f32], dkernel: &mut [f32], dbias: &mut [f32]) {
        let winograd = self
            .back
            .as_ref()
            .is_some_and(|back| back.method.winograd().is_some())
            || (self.kernel_grad.is_some() && self.plan.method.winograd().is_some());
        let sums = dkernel.len() + dbias.len();
        // How the batch falls into blocks depends on sizes alone, so the sums don't depend on the threads.
        let blocks = if winograd || images == 0 {
            1
        } else {
            images.min(PARTIAL / sums.max(1)).clamp(1, BLOCKS)
        };
        if blocks == 1 {
            return self.run_whole(images, dx, dkernel, dbias);
        }
        let count = images.div_ceil(blocks);
        let blocks = images.div_ceil(count);
        let mut parts = dx.chunks_mut(count * self.plan.input_len());
        let parts: Vec<_> = (0..blocks)
            .map(|block| (block, parts.next().unwrap_or_default()))
            .collect();
        let enough = blocks >= threads();
        let block = |(block, dx): (usize, &mut [f32])| {
            let mut sums = vec![0.0; sums];
            let images = (block * count, images.min((block + 1) * count));
            let mut work = || self.add_each(images, dx, sums.split_at_mut(dkernel.len()));
            if enough {
                alone(work)
            } else {
                work()
            };
            sums
        };
        // From the last block to the first, and the last image to the first: what the forward pass or the sums of a
        // normalisation have just gone through is likely to be in the cache still.
        let partial: Vec<_> = parts.into_par_iter().rev().map(block).collect();
        let from = dkernel.len();
        join(&partial, 0, dkernel);
        join(&partial, from, dbias);
    }

    /// Fills all gradients in groups of images, each on all threads.
    fn run_whole(&self, images: usize, dx: &mut [f32], dkernel: &mut [f32], dbias: &mut [f32]) {
        let level = self.plan.level;
        dkernel.fill(0.0);
        dbias.fill(0.0);
        let winograd = self.plan.method.winograd();
        let winograd =
            winograd.filter(|winograd| self.kernel_grad.is_some() && winograd.sums_kernels(images));
        let Some(winograd) = winograd else {
            return self.add_groups(images, HELD.0, dx, &mut Sums::Kernel(dkernel), dbias);
        };
        let mut sums = Aligned::zeros(winograd.turned_len());
        let held = sums.len().clamp(HELD.0, HELD.1);
        let turned = &mut Sums::Turned(winograd, &mut sums);
        self.add_groups(images, held, dx, turned, dbias);
        if !winograd.turn_back(level, &sums, dkernel) {
            dkernel.fill(0.0);
            let directly = &mut Sums::Kernel(dkernel);
            self.add_groups(images, HELD.0, &mut [], directly, &mut []);
        }
    }

    /// As [`Self::add`], for so many values of the output's gradient at a time.
    fn add_groups(
        &self,
        images: usize,
        held: usize,
        dx: &mut [f32],
        sums: &mut Sums,
        dbias: &mut [f32],
    ) {
        let group = (held / self.plan.output_len()).max(1);
        let mut dx = dx.chunks_mut(group * self.plan.input_len());
        for first in (0..images).step_by(group) {
            let count = group.min(images - first);
            self.add((first, count), dx.next().unwrap_or_default(), sums, dbias);
        }
    }

    /// As [`Self::add`], image by image.
    fn add_each(
        &self,
        (from, to): (usize, usize),
        dx: &mut [f32],
        (dkernel, dbias): (&mut [f32], &mut [f32]),
    ) {
        let mut dx = dx.chunks_mut(self.plan.input_len()).rev();
        let sums = &mut Sums::Kernel(dkernel);
        for image in (from..to).rev() {
            self.add((image, 1), dx.next().unwrap_or_default(), sums, dbias);
        }
    }

    /// Fills the input's gradient for `count` images from `first` on, and adds what they give to the others.
    fn add(
        &self,
        (first, count): (usize, usize),
        dx: &mut [f32],
        sums: &mut Sums,
        dbias: &mut [f32],
    ) {
        let (plan, level) = (self.plan, self.plan.level);
        let (inputs, outputs) = (plan.input_len(), plan.output_len());
        let room = if self.dy.is_made() {
            count * outputs
        } else {
            0
        };
        with_scratch(room, |room| {
            let dy = self.dy.images(level, outputs, (first, count), room);
            if let Some(back) = &self.back
                && !dx.is_empty()
            {
                back.run(level, dy, dx);
            }
            let x = &self.x[first * inputs..(first + count) * inputs];
            match (sums, &self.kernel_grad) {
                (Sums::Turned(winograd, sums), _) => winograd.add_sums(level, x, dy, sums),
                (Sums::Kernel(dkernel), Some(direct)) => direct.add(level, x, dy, dkernel),
                (Sums::Kernel(_), None) => {}
            }
            if !dbias.is_empty() {
                add_columns(level, dy, dbias);
            }
        });
    }
}

/// What the kernel's gradient is summed in.
enum Sums<'a> {
    /// Itself.
    Kernel(&'a mut [f32]),
    /// The transformed sums of Winograd's method.
    Turned(&'a Winograd, &'a mut [f32]),
}

/// Fills `to` with the sums of what the parts have from `from` on.
fn join(parts: &[Vec<f32>], from: usize, to: &mut [f32]) {
    const STRETCH: usize = 1 << 12;
    parts_mut(to, STRETCH, |index, to| {
        let from = from + index * STRETCH;
        to.fill(0.0);
        for part in parts {
            add(to, &part[from..from + to.len()]);
        }
    });
}

fn add(to: &mut [f32], values: &[f32]) {
    to.iter_mut()
        .zip(values)
        .for_each(|(to, value)| *to += value);
}
