//! Handles of matrices in a workspace.

/// What a network that sees squares ([`squares`]) sees of a matrix, or the gradient by that: columns behind the matrix,
/// where a device takes them along. Whoever writes the matrix writes them, and whoever takes a gradient adds their
/// part.
#[derive(Clone, Copy, Debug)]
pub struct Squares {
    /// Number of columns; 0 where the device does not take them along.
    pub count: usize,
    /// Device address of their centre (start, then change).
    pub centre: u64,
}

impl Squares {
    /// No squares.
    pub const NONE: Self = Self { count: 0, centre: 0 };
}

/// A matrix in a device's workspace, by rows: a handle, valid until the workspace is reset.
#[derive(Clone, Copy, Debug)]
pub struct Mat {
    pub(crate) offset: usize,
    pub(crate) stride: usize,
    /// Some columns or rows of a larger matrix: no operation may write whole vectors to it.
    pub(crate) view: bool,
    /// In the columns behind it.
    pub(crate) squares: Squares,
    /// Rows of the block.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
}

impl Mat {
    /// No rows.
    pub const NONE: Self = Self { offset: 0, stride: 0, view: false, squares: Squares::NONE, rows: 0, cols: 0 };

    /// Rows `from..to` of it.
    pub fn rows(self, from: usize, to: usize) -> Self {
        assert!(from <= to && to <= self.rows);
        Self { offset: self.offset + from * self.stride, rows: to - from, ..self }
    }

    /// Whether they have no element in common, by where they begin and end.
    pub(crate) fn apart(&self, other: &Self) -> bool {
        let end = |mat: &Self| mat.offset + mat.rows.saturating_sub(1) * mat.stride + mat.cols;
        end(self) <= other.offset || end(other) <= self.offset
    }

    /// Every `step`-th row of it, from the first.
    pub fn every(self, step: usize) -> Self {
        assert!(self.rows.is_multiple_of(step));
        Self { stride: step * self.stride, view: true, rows: self.rows / step, ..self }
    }

    /// Of a generator's outputs: how many components of `raw` numbers and a logit each there are.
    pub(crate) fn components(self, raw: usize) -> usize {
        assert!(self.cols.is_multiple_of(raw + 1));
        self.cols / (raw + 1)
    }

    /// Of a generator's outputs: how many of `rows` each source sample has; all its components where none is drawn.
    pub(crate) fn each(self, rows: Self, components: usize, drawn: bool) -> usize {
        assert!(rows.rows.is_multiple_of(self.rows));
        let each = rows.rows / self.rows;
        assert!(drawn || each == components);
        each
    }

    /// Columns `from..to` of it.
    pub fn columns(self, from: usize, to: usize) -> Self {
        assert!(from <= to && to <= self.cols);
        Self { offset: self.offset + from, cols: to - from, view: true, squares: Squares::NONE, ..self }
    }

    /// It and its squares.
    pub(crate) fn with_squares(self) -> Self {
        Self { cols: self.cols + self.squares.count, squares: Squares::NONE, ..self }
    }

    /// All but the last `count` columns, these being its squares.
    pub(crate) fn before_squares(self, squares: Squares) -> Self {
        Self { squares, ..self.columns(0, self.cols - squares.count) }
    }
}
