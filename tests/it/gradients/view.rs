//! A view: an image with a window over it, convolved and pooled by plain loops in float64.

use irori::network::ops::{Padding, Window};

/// An image `[N, H, W, C]` with a window over it, in plain loops.
#[derive(Clone, Copy, Debug)]
pub struct View {
    pub input: [usize; 4],
    pub window: Window,
}

impl View {
    pub fn output(&self) -> [usize; 2] {
        let Window {
            size,
            strides,
            dilation,
            padding,
        } = self.window;
        let around = [padding.top + padding.bottom, padding.left + padding.right];
        [0, 1].map(|axis| {
            let reach = (size[axis] - 1) * dilation[axis] + 1;
            (self.input[axis + 1] + around[axis] - reach) / strides[axis] + 1
        })
    }

    /// Each output place of each image, with the pixels under its window: their tap, and where their channels begin.
    fn places(&self) -> Vec<Vec<(usize, usize)>> {
        let [n, h, w, c] = self.input;
        let [out_h, out_w] = self.output();
        let Window {
            size,
            strides,
            dilation,
            padding,
        } = self.window;
        let mut places = Vec::new();
        for image in 0..n {
            for (row, column) in
                (0..out_h).flat_map(|row| (0..out_w).map(move |column| (row, column)))
            {
                let mut pixels = Vec::new();
                for (i, j) in (0..size[0]).flat_map(|i| (0..size[1]).map(move |j| (i, j))) {
                    let y = (row * strides[0] + i * dilation[0]).checked_sub(padding.top);
                    let x = (column * strides[1] + j * dilation[1]).checked_sub(padding.left);
                    if let (Some(y), Some(x)) = (y.filter(|&y| y < h), x.filter(|&x| x < w)) {
                        pixels.push((i * size[1] + j, ((image * h + y) * w + x) * c));
                    }
                }
                places.push(pixels);
            }
        }
        places
    }

    /// `[N, H, W, C]` with `[kh, kw, C / groups, F]`.
    pub fn conv2d(&self, x: &[f64], kernel: &[f64], bias: &[f64], groups: usize) -> Vec<f64> {
        let (filters, each) = (bias.len(), self.input[3] / groups);
        let mut y = Vec::new();
        for pixels in self.places() {
            for (filter, bias) in bias.iter().enumerate() {
                let from = filter / (filters / groups) * each;
                let terms = pixels.iter().flat_map(|&(tap, pixel)| {
                    (0..each).map(move |c| {
                        x[pixel + from + c] * kernel[(tap * each + c) * filters + filter]
                    })
                });
                y.push(bias + terms.sum::<f64>());
            }
        }
        y
    }

    /// Each window's values, channel by channel, put together by `pool`.
    pub fn pool(&self, x: &[f64], pool: impl Fn(Vec<f64>) -> f64) -> Vec<f64> {
        let channels = self.input[3];
        let places = self.places();
        let values = places.iter().flat_map(|pixels| {
            (0..channels).map(move |c| pixels.iter().map(|&(_, pixel)| x[pixel + c]).collect())
        });
        values.map(pool).collect()
    }
}

pub fn view(
    input: [usize; 4],
    size: [usize; 2],
    strides: [usize; 2],
    dilation: [usize; 2],
    same: bool,
) -> View {
    let padding = if same {
        Padding::same([input[1], input[2]], size, strides, dilation)
    } else {
        Padding::default()
    };
    View {
        input,
        window: Window {
            size,
            strides,
            dilation,
            padding,
        },
    }
}
