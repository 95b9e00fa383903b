//! Resizing 8-bit pixels: Pillow's resampling, pixel for pixel, and the plain sampling of `tf.image.resize`.
//!
//! Smooth filters follow Pillow's `Resample.c`: weights in 22-bit fixed point over a support that widens as the image
//! shrinks, one direction after the other with an 8-bit result between. Which comes first shows where a filter overshoots, so
//! it is Pillow 13's choice (earlier versions always went across first). Nearest follows its `ScaleAffine`. Without antialiasing
//! the support keeps its width, weights outside the image are dropped and the rest renormalised, and both directions are
//! weighed in one sum.

use std::iter::successors;

use super::Dimensions;
use super::preprocessing::Filter;

/// The part of an image that is resized, in pixels from its top left corner; edges may lie within a pixel.
///
/// Pillow keeps these as `float`, and so must we to land on the same pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Region {
    pub left: f32,
    pub top: f32,
    pub right: f32,
    pub bottom: f32,
}

impl Region {
    pub(super) fn whole(image: Dimensions) -> Self {
        Self {
            left: 0.0,
            top: 0.0,
            right: image.width as f32,
            bottom: image.height as f32,
        }
    }
}

/// Resizes a region of `pixels` to `height × width`, keeping the channels (1 or 3).
pub(super) fn resize(
    pixels: &[u8],
    from: Dimensions,
    region: Region,
    (height, width): (usize, usize),
    filter: Filter,
    antialias: bool,
) -> Vec<u8> {
    match from.channels {
        1 => resize_channels::<1>(pixels, from, region, (height, width), filter, antialias),
        _ => resize_channels::<3>(pixels, from, region, (height, width), filter, antialias),
    }
}

fn resize_channels<const C: usize>(
    pixels: &[u8],
    from: Dimensions,
    region: Region,
    (height, width): (usize, usize),
    filter: Filter,
    antialias: bool,
) -> Vec<u8> {
    let (pixels, _) = pixels.as_chunks::<C>();
    let across = Axis::new(region.left, region.right, from.width, width);
    let down = Axis::new(region.top, region.bottom, from.height, height);
    if across.is_identity() && down.is_identity() {
        return pixels.as_flattened().to_vec();
    }
    let Some(kernel) = Kernel::of(filter) else {
        return nearest(
            pixels,
            from.width,
            &across.nearest(antialias),
            &down.nearest(antialias),
        );
    };
    if antialias {
        let (across, down) = (across.windows(kernel, true), down.windows(kernel, true));
        let (across, down) = (across.fixed_point(), down.fixed_point());
        if shrinks_mostly_down(from, (height, width)) {
            down_then_across(pixels, from.width, &across, &down)
        } else {
            across_then_down(pixels, from.width, &across, &down)
        }
    } else {
        let (across, down) = (across.windows(kernel, false), down.windows(kernel, false));
        sample(pixels, from.width, &across, &down)
    }
}

/// One direction of a resize: `size` pixels, of which `start..end` become `to` pixels.
#[derive(Clone, Copy)]
struct Axis {
    start: f32,
    end: f32,
    size: usize,
    to: usize,
}

impl Axis {
    fn new(start: f32, end: f32, size: usize, to: usize) -> Self {
        Self {
            start,
            end,
            size,
            to,
        }
    }

    fn is_identity(&self) -> bool {
        self.size == self.to && self.start == 0.0 && self.end == self.size as f32
    }

    /// Source pixels per result pixel.
    fn step(&self) -> f64 {
        f64::from(self.end - self.start) / self.to as f64
    }

    /// For each result pixel, the source pixels that it sees and their weights, which sum to 1.
    fn windows(&self, kernel: Kernel, antialias: bool) -> Windows<f64> {
        let step = self.step();
        let stretch = if antialias { step.max(1.0) } else { 1.0 };
        let narrow = 1.0 / stretch;
        let support = kernel.support * stretch;
        let mut windows = Windows {
            spans: Vec::with_capacity(self.to),
            weights: Vec::new(),
        };
        for index in 0..self.to {
            let center = f64::from(self.start) + (index as f64 + 0.5) * step;
            // Casts from float saturate, so that a negative start becomes 0 as in Pillow.
            let first = ((center - support + 0.5) as usize).min(self.size - 1);
            let end = ((center + support + 0.5) as usize).clamp(first + 1, self.size);
            let offset = windows.weights.len();
            windows.weights.extend(
                (first..end).map(|pixel| (kernel.weight)((pixel as f64 - center + 0.5) * narrow)),
            );
            let weights = &mut windows.weights[offset..];
            let sum: f64 = weights.iter().sum();
            if sum != 0.0 {
                weights.iter_mut().for_each(|weight| *weight /= sum);
            }
            windows.spans.push(Span { first, offset });
        }
        windows
    }

    /// For each result pixel, the one source pixel under its centre.
    ///
    /// Where a centre falls between two pixels the last digit decides: Pillow adds its step up in `double`, TensorFlow
    /// multiplies it in `float`.
    fn nearest(&self, as_pillow: bool) -> Vec<usize> {
        let last = self.size - 1;
        if as_pillow {
            let first = f64::from(self.start) + self.step() * 0.5;
            let positions = successors(Some(first), |position| Some(position + self.step()));
            let sources = positions.map(|position| (position as usize).min(last));
            return sources.take(self.to).collect();
        }
        let step = (self.end - self.start) / self.to as f32;
        let position = |index| self.start + (index as f32 + 0.5) * step;
        (0..self.to)
            .map(|index| (position(index) as usize).min(last))
            .collect()
    }
}

/// The weights of every result pixel along one axis, end to end.
struct Windows<W> {
    spans: Vec<Span>,
    weights: Vec<W>,
}

#[derive(Clone, Copy)]
struct Span {
    /// The first source pixel seen.
    first: usize,
    /// Where its weights begin.
    offset: usize,
}

impl<W> Windows<W> {
    fn iter(&self) -> impl Iterator<Item = (usize, &[W])> {
        let ends = self.spans.iter().skip(1).map(|span| span.offset);
        let ends = ends.chain(std::iter::once(self.weights.len()));
        self.spans
            .iter()
            .zip(ends)
            .map(|(span, end)| (span.first, &self.weights[span.offset..end]))
    }
}

/// Bits after the point of a fixed-point weight: 32 less 8 for the pixel and 2 for weights beyond ±1.
const PRECISION: u32 = 32 - 8 - 2;

impl Windows<f64> {
    fn fixed_point(self) -> Windows<i32> {
        let one = f64::from(1 << PRECISION);
        let weights = self.weights.iter();
        Windows {
            weights: weights
                .map(|weight| (weight * one + 0.5f64.copysign(*weight)) as i32)
                .collect(),
            spans: self.spans,
        }
    }
}

/// Half of the last place kept, to which weighted pixels are added so that dropping the fraction rounds.
const HALF: i32 = 1 << (PRECISION - 1);

fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// Pillow 13 goes down first where the height loses more than twice what the width loses; whole images, not regions, count.
fn shrinks_mostly_down(from: Dimensions, (height, width): (usize, usize)) -> bool {
    let lost_height = from.height.saturating_sub(height);
    let lost_width = from.width.saturating_sub(width);
    lost_height > lost_width.saturating_mul(2)
}

/// Each row of the source is resized once and added to the result rows that see it, so that the half-resized image is never
/// held.
fn across_then_down<const C: usize>(
    pixels: &[[u8; C]],
    source_width: usize,
    across: &Windows<i32>,
    down: &Windows<i32>,
) -> Vec<u8> {
    let width = across.spans.len();
    let mut sums = vec![[HALF; C]; width * down.spans.len()];
    let mut row = vec![[0u8; C]; width];
    let mut windows: Vec<_> = down.iter().zip(sums.chunks_exact_mut(width)).collect();
    // Windows begin and end in order, so that those that see a source row are neighbours.
    let mut oldest = 0;
    for (y, source) in pixels.chunks_exact(source_width).enumerate() {
        while let Some(((first, weights), _)) = windows.get(oldest)
            && first + weights.len() <= y
        {
            oldest += 1;
        }
        let seen = windows.iter_mut().skip(oldest);
        let mut seen = seen.take_while(|((first, _), _)| *first <= y).peekable();
        if seen.peek().is_some() {
            resize_row(source, across, &mut row);
        }
        for ((first, weights), sums) in seen {
            add_row(sums, &row, weights[y - *first]);
        }
    }
    sums.as_flattened()
        .iter()
        .map(|&sum| to_byte(sum))
        .collect()
}

fn down_then_across<const C: usize>(
    pixels: &[[u8; C]],
    source_width: usize,
    across: &Windows<i32>,
    down: &Windows<i32>,
) -> Vec<u8> {
    let width = across.spans.len();
    let mut result = vec![[0u8; C]; width * down.spans.len()];
    let mut sums = vec![[HALF; C]; source_width];
    for ((first, weights), result) in down.iter().zip(result.chunks_exact_mut(width)) {
        sums.fill([HALF; C]);
        let rows = pixels[first * source_width..].chunks_exact(source_width);
        for (row, &weight) in rows.zip(weights) {
            add_row(&mut sums, row, weight);
        }
        let row: Vec<[u8; C]> = sums.iter().map(|sum| sum.map(to_byte)).collect();
        resize_row(&row, across, result);
    }
    result.into_flattened()
}

fn add_row<const C: usize>(sums: &mut [[i32; C]], row: &[[u8; C]], weight: i32) {
    for (sum, pixel) in sums.iter_mut().zip(row) {
        for channel in 0..C {
            sum[channel] =
                sum[channel].wrapping_add(weight.wrapping_mul(i32::from(pixel[channel])));
        }
    }
}

fn resize_row<const C: usize>(source: &[[u8; C]], across: &Windows<i32>, row: &mut [[u8; C]]) {
    for ((first, weights), result) in across.iter().zip(row) {
        let mut sums = [HALF; C];
        for (weight, pixel) in weights.iter().zip(&source[first..]) {
            for channel in 0..C {
                sums[channel] =
                    sums[channel].wrapping_add(weight.wrapping_mul(i32::from(pixel[channel])));
            }
        }
        *result = sums.map(to_byte);
    }
}

/// Both directions at once in floating point, rounded once.
fn sample<const C: usize>(
    pixels: &[[u8; C]],
    source_width: usize,
    across: &Windows<f64>,
    down: &Windows<f64>,
) -> Vec<u8> {
    let mut result = Vec::with_capacity(across.spans.len() * down.spans.len() * C);
    for (top, down_weights) in down.iter() {
        for (left, across_weights) in across.iter() {
            let mut sums = [0.0; C];
            for (y, down_weight) in down_weights.iter().enumerate() {
                let row = &pixels[(top + y) * source_width + left..];
                for (across_weight, pixel) in across_weights.iter().zip(row) {
                    for channel in 0..C {
                        sums[channel] += down_weight * across_weight * f64::from(pixel[channel]);
                    }
                }
            }
            // The cast saturates: cubic and Lanczos overshoot.
            result.extend(sums.map(|sum| sum.round() as u8));
        }
    }
    result
}

fn nearest<const C: usize>(
    pixels: &[[u8; C]],
    source_width: usize,
    columns: &[usize],
    rows: &[usize],
) -> Vec<u8> {
    let mut result = Vec::with_capacity(columns.len() * rows.len() * C);
    for &y in rows {
        let row = &pixels[y * source_width..(y + 1) * source_width];
        result.extend(columns.iter().flat_map(|&x| row[x]));
    }
    result
}

/// A smooth filter: how far it reaches, and its weight at a distance.
#[derive(Clone, Copy)]
struct Kernel {
    support: f64,
    weight: fn(f64) -> f64,
}

impl Kernel {
    fn of(filter: Filter) -> Option<Self> {
        let (support, weight): (f64, fn(f64) -> f64) = match filter {
            Filter::Nearest => return None,
            Filter::Bilinear => (1.0, triangle),
            Filter::Bicubic => (2.0, keys),
            Filter::Lanczos => (3.0, lanczos),
        };
        Some(Self { support, weight })
    }
}

fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

/// Keys' cubic convolution with a = −0.5 (IEEE Trans. ASSP 29(6), 1981, equation 4).
fn keys(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// A sinc windowed by a sinc three times as wide.
fn lanczos(x: f64) -> f64 {
    if (-3.0..3.0).contains(&x) {
        sinc(x) * sinc(x / 3.0)
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}
