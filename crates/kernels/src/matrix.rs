//! A matrix of results that tasks on several threads fill, each its own part.
use std::marker::PhantomData;

/// A part of a row-major matrix: some rows, and some columns of each.
///
/// Rows of a part that was split by columns lie apart in memory, so a slice can't stand for it.
pub(crate) struct MatrixMut<'a> {
    first: *mut f32,
    rows: usize,
    columns: usize,
    stride: usize,
    values: PhantomData<&'a mut [f32]>,
}

// SAFETY: a part owns its elements exclusively, as the `&mut [f32]` that it was made from did.
unsafe impl Send for MatrixMut<'_> {}

impl<'a> MatrixMut<'a> {
    /// The whole matrix of `values`, in rows of `columns`.
    pub fn new(values: &'a mut [f32], columns: usize) -> Self {
        let rows = values.len() / columns;
        Self {
            first: values.as_mut_ptr(),
            rows,
            columns,
            stride: columns,
            values: PhantomData,
        }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Row `index` of this part.
    #[inline(always)]
    pub fn row(&mut self, index: usize) -> &mut [f32] {
        assert!(index < self.rows);
        // SAFETY: `index` is one of the rows, so its columns are inside the slice that the matrix was made from; they
        // belong to no other part, and to no other borrow for as long as `self` is borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(index * self.stride), self.columns) }
    }

    /// Values from one row to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Where row `index` begins, for who has checked himself that what he writes is of this part.
    pub fn start(&mut self, index: usize) -> *mut f32 {
        self.first.wrapping_add(index * self.stride)
    }

    /// Columns `from..from + columns`, borrowed.
    pub fn columns_mut(&mut self, from: usize, columns: usize) -> MatrixMut<'_> {
        assert!(from + columns <= self.columns && from < self.columns);
        // SAFETY: `from` is a column, so the address is inside the first row if there is one.
        let first = if self.rows > 0 {
            unsafe { self.first.add(from) }
        } else {
            self.first
        };
        MatrixMut {
            first,
            rows: self.rows,
            columns,
            stride: self.stride,
            values: PhantomData,
        }
    }

    /// The rows before `at`, and those from it.
    pub fn split_rows(self, at: usize) -> (Self, Self) {
        assert!(at <= self.rows);
        // SAFETY: at most one past the last row; a part with no rows is never read.
        let second = if at < self.rows {
            unsafe { self.first.add(at * self.stride) }
        } else {
            self.first
        };
        (
            Self { rows: at, ..self },
            Self {
                first: second,
                rows: self.rows - at,
                ..self
            },
        )
    }

    /// The columns before `at`, and those from it.
    pub fn split_columns(self, at: usize) -> (Self, Self) {
        assert!(at < self.columns || self.rows == 0);
        // SAFETY: `at` is a column, so the address is inside the first row; with no rows nothing is ever read.
        let second = if self.rows > 0 {
            unsafe { self.first.add(at) }
        } else {
            self.first
        };
        (
            Self {
                columns: at,
                ..self
            },
            Self {
                first: second,
                columns: self.columns - at,
                ..self
            },
        )
    }
}
