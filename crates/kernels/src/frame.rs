//! The size of an image, and copies of it with zeros around.
use crate::conv2d::Padding2d;

/// The size of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
}

impl Frame {
    pub fn len(self) -> usize {
        self.height * self.width * self.channels
    }
}

impl Padding2d {
    /// The frame with its padding.
    pub(crate) fn around(self, frame: Frame) -> Frame {
        Frame {
            height: frame.height + self.top + self.bottom,
            width: frame.width + self.left + self.right,
            channels: frame.channels,
        }
    }

    /// How much room [`Self::pad`] needs.
    pub(crate) fn room(self, frame: Frame) -> usize {
        if self == Self::default() {
            0
        } else {
            self.around(frame).len()
        }
    }

    /// Rows `from..to` of `image` and its padding: its own if there is none, or copies in `room`.
    pub(crate) fn pad<'a>(
        self,
        image: &'a [f32],
        frame: Frame,
        (from, to): (usize, usize),
        room: &'a mut [f32],
    ) -> &'a [f32] {
        let row = frame.width * frame.channels;
        if self == Self::default() {
            return &image[from * row..to * row];
        }
        let (left, wide) = (
            self.left * frame.channels,
            self.around(frame).width * frame.channels,
        );
        for y in from..to {
            let to = &mut room[(y - from) * wide..(y - from + 1) * wide];
            if y < self.top || y >= self.top + frame.height {
                to.fill(0.0);
            } else {
                let from = (y - self.top) * row;
                to[..left].fill(0.0);
                to[left..left + row].copy_from_slice(&image[from..from + row]);
                to[left + row..].fill(0.0);
            }
        }
        &room[..(to - from) * wide]
    }
}
