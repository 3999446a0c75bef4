//! Handles of matrices in a workspace.

/// What a network that sees squares ([`crate::formulas::squares`]) sees of a matrix, or the gradient by that: columns
/// behind the matrix, where a device takes them along. Whoever writes the matrix writes them, and whoever takes a
/// gradient adds their part.
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
    /// Whether it is some columns or rows of a larger matrix. No operation may write whole vectors to it then.
    pub(crate) view: bool,
    /// The squares in the columns behind it.
    pub(crate) squares: Squares,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
}

impl Mat {
    /// A matrix without rows.
    pub const NONE: Self = Self { offset: 0, stride: 0, view: false, squares: Squares::NONE, rows: 0, cols: 0 };

    /// Returns rows `from..to`.
    pub fn rows(self, from: usize, to: usize) -> Self {
        assert!(from <= to && to <= self.rows);
        Self { offset: self.offset + from * self.stride, rows: to - from, ..self }
    }

    /// Returns whether the two have no element in common: their ranges of memory do not overlap, or they are different
    /// columns of one matrix.
    pub(crate) fn apart(&self, other: &Self) -> bool {
        let end = |mat: &Self| mat.offset + mat.rows.saturating_sub(1) * mat.stride + mat.cols;
        let beside = || {
            let behind = (other.offset + self.stride - self.offset % self.stride) % self.stride;
            self.stride == other.stride && self.cols <= behind && behind + other.cols <= self.stride
        };
        end(self) <= other.offset || end(other) <= self.offset || beside()
    }

    /// Returns every `step`-th row, from the first one on.
    pub fn every(self, step: usize) -> Self {
        assert!(self.rows.is_multiple_of(step));
        Self { stride: step * self.stride, view: true, rows: self.rows / step, ..self }
    }

    /// Returns how many components a generator's outputs give, each by `raw` numbers and a logit.
    pub(crate) fn components(self, raw: usize) -> usize {
        assert!(self.cols.is_multiple_of(raw + 1));
        self.cols / (raw + 1)
    }

    /// Returns how many of `rows` belong to each source sample of a generator's outputs. Where none is drawn, that is
    /// all its components.
    pub(crate) fn each(self, rows: Self, components: usize, drawn: bool) -> usize {
        assert!(rows.rows.is_multiple_of(self.rows));
        let each = rows.rows / self.rows;
        assert!(drawn || each == components);
        each
    }

    /// Returns columns `from..to`.
    pub fn columns(self, from: usize, to: usize) -> Self {
        assert!(from <= to && to <= self.cols);
        Self { offset: self.offset + from, cols: to - from, view: true, squares: Squares::NONE, ..self }
    }

    /// Returns `cols` columns from `from` on as a matrix that whole vectors may be written to: they begin and end at
    /// multiples of [`Self::PART`], up to which the columns behind are its own.
    pub(crate) fn part(self, from: usize, cols: usize) -> Self {
        assert!(
            from.is_multiple_of(Self::PART) && from + cols.next_multiple_of(Self::PART) <= self.stride && !self.view
        );
        Self { offset: self.offset + from, cols, squares: Squares::NONE, ..self }
    }

    /// See [`Self::part`]. It is a multiple of the length of every vector.
    pub(crate) const PART: usize = 32;

    /// Returns the matrix together with its squares.
    pub(crate) fn with_squares(self) -> Self {
        Self { cols: self.cols + self.squares.count, squares: Squares::NONE, ..self }
    }

    /// Returns the matrix without its last columns, which are its squares.
    pub(crate) fn before_squares(self, squares: Squares) -> Self {
        Self { squares, ..self.columns(0, self.cols - squares.count) }
    }
}
