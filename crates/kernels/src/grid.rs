//! The rows of a product: where they begin in its input, and where they go in its output.

/// Where the rows of a product begin in `x`, and which row of the output each one is: two nested steps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    /// Steps of the inner loop.
    pub width: usize,
    /// Offset in `x` of the first row.
    pub input: usize,
    /// Step in `x` of the outer loop.
    pub input_row: usize,
    /// Step in `x` of the inner loop.
    pub input_column: usize,
    /// Output row of the first row.
    pub output: usize,
    /// Rows of the output that precede those at hand.
    pub skipped: usize,
    /// Step in output rows of the outer loop.
    pub output_row: usize,
    /// Step in output rows of the inner loop.
    pub output_column: usize,
}

impl Grid {
    /// Rows that begin at equal steps, from `input` on, and follow each other in the output.
    pub fn line(input: usize, step: usize) -> Self {
        Self {
            width: usize::MAX,
            input,
            input_row: 0,
            input_column: step,
            output: 0,
            skipped: 0,
            output_row: 0,
            output_column: 1,
        }
    }

    /// Where in `x` the last of rows `from..to` begins, and that is the largest of where they begin; `None` if there are none.
    pub fn last(&self, (from, to): (usize, usize)) -> Option<usize> {
        let start = |row: usize| {
            let (line, column) = (row / self.width, row % self.width);
            self.input + line * self.input_row + column * self.input_column
        };
        let last = to.checked_sub(1).filter(|&last| from <= last)?;
        // The line before may reach further, where lines overlap.
        let before = last - last % self.width;
        Some(start(last).max(if before > from { start(before - 1) } else { 0 }))
    }
}

/// Walks a grid without a division per row.
pub(crate) struct Cursor<'a> {
    grid: &'a Grid,
    column: usize,
    input_row: usize,
    output_row: usize,
    input: usize,
    output: usize,
}

impl<'a> Cursor<'a> {
    /// A walk from row `row` on.
    #[inline(always)]
    pub fn new(grid: &'a Grid, row: usize) -> Self {
        let (line, column) = (row / grid.width, row % grid.width);
        let input_row = grid.input + line * grid.input_row;
        let output_row = grid.output + line * grid.output_row;
        Self {
            grid,
            column,
            input_row,
            output_row,
            input: input_row + column * grid.input_column,
            output: output_row + column * grid.output_column,
        }
    }

    /// Where the next `P` rows begin in `x`, and which rows of the output they are.
    #[inline(always)]
    pub fn take<const P: usize>(&mut self) -> ([usize; P], [usize; P]) {
        let mut starts = [0; P];
        let mut rows = [0; P];
        // Mostly they lie in one line.
        if P <= self.grid.width - self.column {
            for p in 0..P {
                starts[p] = self.input + p * self.grid.input_column;
                rows[p] = self.output - self.grid.skipped + p * self.grid.output_column;
            }
            self.advance(P);
        } else {
            for p in 0..P {
                starts[p] = self.input;
                rows[p] = self.output - self.grid.skipped;
                self.advance(1);
            }
        }
        (starts, rows)
    }

    /// Goes on by `steps`, at most to the beginning of the next line.
    #[inline(always)]
    fn advance(&mut self, steps: usize) {
        self.column += steps;
        if self.column == self.grid.width {
            self.column = 0;
            self.input_row += self.grid.input_row;
            self.output_row += self.grid.output_row;
            (self.input, self.output) = (self.input_row, self.output_row);
        } else {
            self.input += steps * self.grid.input_column;
            self.output += steps * self.grid.output_column;
        }
    }
}
