//! Operations of networks whose layers form a graph, on pictures and without weights.

use super::block::{CudaBlock, THREADS};
use super::kernels::{
    ApplyAdjointSilu, ApplyLinearSilu, ApplySilu, Kernel, MapBilinear, MapCopy, MapQuads, MapSums, Modulate,
    ModulateGradient, Waves,
};
use crate::device::layout::Shape;
use crate::device::{ActivationRule, Fixed, Mat, Workspace};
use crate::formulas::Activation;

/// One axis of the places that a map goes through: how many, and their distance in what it takes and gives.
#[derive(Clone, Copy)]
struct Axis {
    count: usize,
    from: usize,
    to: usize,
}

impl Axis {
    /// A single place.
    const ONE: Self = Self { count: 1, from: 0, to: 0 };

    fn of(count: usize, from: usize, to: usize) -> Self {
        Self { count, from, to }
    }
}

/// Runs of `length` neighbours at the places of all axes, the first of which begin at `first` in what the map takes and
/// gives.
#[derive(Clone, Copy)]
struct Runs {
    axes: [Axis; 4],
    length: usize,
    first: [usize; 2],
}

impl Runs {
    fn of<const N: usize>(axes: [Axis; N], length: usize) -> Self {
        let mut all = [Axis::ONE; 4];
        all[4 - N..].copy_from_slice(&axes);
        Self { axes: all, length, first: [0; 2] }
    }

    /// The way back.
    fn turned(self) -> Self {
        let axes = self.axes.map(|Axis { count, from, to }| Axis { count, from: to, to: from });
        Self { axes, first: [self.first[1], self.first[0]], ..self }
    }
}

/// How a map is computed.
enum Way {
    /// Copies, each to a place of its own.
    Copies(Runs),
    /// The sum of four numbers for each place: those at these two distances too.
    Quads(Runs, [usize; 2]),
    /// Weighted sums of neighbouring pixels, by which a picture of this size is made.
    Bilinear(Shape),
    /// Sums over pixels.
    Sums(Shape),
}

/// Returns the way from a picture to one of half its sides, for each of its pixels: the four of a square.
fn quads(fine: Shape) -> Way {
    let Shape { height, width, channels } = fine;
    let line = width * channels;
    let rows = Axis::of(height / 2, 2 * line, line / 2);
    Way::Quads(Runs::of([rows, Axis::of(width / 2, 2 * channels, channels)], channels), [line, channels])
}

/// Returns the way from a picture of half the sides: each pixel goes to the four of a square.
fn spread(fine: Shape) -> Way {
    let Shape { height, width, channels } = fine;
    let line = width * channels;
    let [two, pair] = [Axis::of(2, 0, line), Axis::of(2, 0, channels)];
    let rows = Axis::of(height / 2, line / 2, 2 * line);
    Way::Copies(Runs::of([rows, two, Axis::of(width / 2, channels, 2 * channels), pair], channels))
}

/// Returns how a map of rows with so many numbers is computed.
fn way(map: &Fixed, reverse: bool, numbers: usize) -> Way {
    let copies = |runs: Runs| Way::Copies(if reverse { runs.turned() } else { runs });
    match *map {
        Fixed::Times(_) => copies(Runs::of([], numbers)),
        Fixed::Interleave(Shape { height, width, channels }) => {
            let pixels = height * width;
            if channels == 1 {
                return copies(Runs::of([], pixels));
            }
            copies(Runs::of([Axis::of(pixels, 1, channels), Axis::of(channels, pixels, 1)], 1))
        }
        Fixed::Pool(fine) => {
            if reverse {
                spread(fine)
            } else {
                quads(fine)
            }
        }
        Fixed::Enlarge(coarse) => {
            let fine = Shape { height: 2 * coarse.height, width: 2 * coarse.width, ..coarse };
            if reverse { quads(fine) } else { spread(fine) }
        }
        Fixed::Bilinear(coarse) if reverse => Way::Bilinear(coarse),
        Fixed::Bilinear(Shape { height, width, channels }) => {
            Way::Bilinear(Shape { height: 2 * height, width: 2 * width, channels })
        }
        Fixed::Fold(Shape { height, width, channels }) => {
            let (line, pair) = (width * channels, 2 * channels);
            let rows = Axis::of(height / 2, 2 * line, 2 * line);
            copies(Runs::of([rows, Axis::of(2, line, pair), Axis::of(width / 2, pair, 2 * pair)], pair))
        }
        Fixed::Pad { part, to: [height, width] } => {
            let (line, to_line) = (part.width * part.channels, width * part.channels);
            let (top, left) = ((height - part.height) / 2, (width - part.width) / 2);
            let runs = Runs::of([Axis::of(part.height, line, to_line)], line);
            copies(Runs { first: [0, top * to_line + left * part.channels], ..runs })
        }
        Fixed::Sum(shape) if !reverse => Way::Sums(shape),
        Fixed::Sum(Shape { height, width, channels }) => {
            Way::Copies(Runs::of([Axis::of(height * width, 0, channels)], channels))
        }
        Fixed::Join { part, first, of } => {
            let runs = Runs::of([Axis::of(part.height * part.width, part.channels, of)], part.channels);
            copies(Runs { first: [0, first], ..runs })
        }
    }
}

/// What computes a map: a kernel's arguments, with the threads that it takes, or with grid and block.
pub(super) enum MapLaunch {
    Copies(u64, MapCopy),
    Quads(u64, MapQuads),
    Bilinear(u64, MapBilinear),
    Sums(u32, [u32; 3], MapSums),
}

/// Returns what computes to (+)= F x, or F^T x with `reverse`, from and to matrices at these addresses and strides.
pub(super) fn map_launch(
    map: &Fixed,
    reverse: bool,
    ((x, x_stride), numbers): ((u64, u32), usize),
    (to, to_stride): (u64, u32),
    rows: usize,
    add: bool,
) -> MapLaunch {
    let factor = match *map {
        Fixed::Times(factor) => factor as f32,
        Fixed::Pool(_) => 0.25,
        _ => 1.0,
    };
    let (rows, add) = (rows as u32, u32::from(add));
    let of = |runs: &Runs| {
        let [n, from, to] = [|axis: &Axis| axis.count, |axis: &Axis| axis.from, |axis: &Axis| axis.to]
            .map(|number: fn(&Axis) -> usize| runs.axes.each_ref().map(|axis| number(axis) as u32));
        let places: usize = runs.axes.iter().map(|axis| axis.count).product();
        // Four numbers a thread.
        (u64::from(rows) * (places * runs.length.div_ceil(4)) as u64, n, from, to, runs.length as u32)
    };
    match way(map, reverse, numbers) {
        Way::Copies(runs) => {
            let (threads, [n0, n1, n2, n3], [x0, x1, x2, x3], [t0, t1, t2, t3], run) = of(&runs);
            let [x, to] = [(x, runs.first[0]), (to, runs.first[1])].map(|(at, first)| at + 4 * first as u64);
            let arguments = MapCopy {
                x,
                x_stride,
                to,
                to_stride,
                rows,
                n0,
                n1,
                n2,
                n3,
                run,
                x0,
                x1,
                x2,
                x3,
                t0,
                t1,
                t2,
                t3,
                factor,
                add,
            };
            MapLaunch::Copies(threads, arguments)
        }
        Way::Quads(runs, [line, pixel]) => {
            let (threads, [n0, n1, n2, n3], [x0, x1, x2, x3], [t0, t1, t2, t3], run) = of(&runs);
            let (x4, x5) = (line as u32, pixel as u32);
            let arguments = MapQuads {
                x,
                x_stride,
                to,
                to_stride,
                rows,
                n0,
                n1,
                n2,
                n3,
                run,
                x0,
                x1,
                x2,
                x3,
                t0,
                t1,
                t2,
                t3,
                x4,
                x5,
                factor,
                add,
            };
            MapLaunch::Quads(threads, arguments)
        }
        Way::Bilinear(shape) => {
            let threads = u64::from(rows) * shape.numbers().div_ceil(4) as u64;
            let [height, width, channels] = [shape.height, shape.width, shape.channels].map(|size| size as u32);
            let reverse = u32::from(reverse);
            let arguments = MapBilinear { x, x_stride, to, to_stride, rows, height, width, channels, reverse, add };
            MapLaunch::Bilinear(threads, arguments)
        }
        Way::Sums(Shape { height, width, channels }) => {
            let (groups, block) = over_pixels(channels);
            let (pixels, channels) = ((height * width) as u32, channels as u32);
            let arguments = MapSums { x, x_stride, pixels, channels, groups, to, to_stride, add };
            MapLaunch::Sums(rows * groups, block, arguments)
        }
    }
}

/// Returns the number of blocks of a row, and the threads along channels and pixels, of a kernel that sums over pixels.
pub(super) fn over_pixels(channels: usize) -> (u32, [u32; 3]) {
    let parts = if channels.is_multiple_of(4) { channels / 4 } else { channels };
    let x = (parts.next_power_of_two() as u32).clamp(1, 32);
    ((parts as u32).div_ceil(x), [x, THREADS / x, 1])
}

impl CudaBlock {
    pub(super) fn fixed_map(&mut self, map: &Fixed, reverse: bool, x: Mat, to: Mat, add: bool) {
        let (takes, gives) = if reverse { (to.cols, x.cols) } else { (x.cols, to.cols) };
        assert!(map.ends().map_or(takes == gives, |ends| ends == [takes, gives]), "{map:?}: {takes} to {gives}");
        assert!(x.rows == to.rows && to.apart(&x));
        if matches!(map, Fixed::Pad { .. }) && !reverse && !add {
            self.fill(to, 0.0);
        }
        match map_launch(map, reverse, (self.place(x), x.cols), self.place(to), to.rows, add) {
            MapLaunch::Copies(threads, arguments) => self.launch_over(threads, &arguments),
            MapLaunch::Quads(threads, arguments) => self.launch_over(threads, &arguments),
            MapLaunch::Bilinear(threads, arguments) => self.launch_over(threads, &arguments),
            MapLaunch::Sums(grid, block, arguments) => self.launch([grid, 1, 1], block, &arguments),
        }
    }

    pub(super) fn apply(&mut self, activation: Activation, a: Mat, to: Mat) {
        assert!(alike(&[a, to]));
        let kernel = match activation {
            Activation::Silu => Kernel::ApplySilu,
            Activation::Tanh => Kernel::ApplyTanh,
            Activation::Softplus => Kernel::ApplySoftplus,
        };
        let ((a, a_stride), (to_at, to_stride)) = (self.place(a), self.place(to));
        let (rows, cols) = (to.rows as u32, to.cols as u32);
        let arguments = ApplySilu { a, a_stride, to: to_at, to_stride, rows, cols };
        self.launch_over_as(kernel, quarter(to), &arguments);
    }

    pub(super) fn apply_linear(&mut self, activation: Activation, a: Mat, x: Mat, to: Mat, add: bool) {
        assert!(alike(&[a, x, to]));
        let kernel = match activation {
            Activation::Silu => Kernel::ApplyLinearSilu,
            Activation::Tanh => Kernel::ApplyLinearTanh,
            Activation::Softplus => Kernel::ApplyLinearSoftplus,
        };
        let ((a, a_stride), (x, x_stride), (to_at, to_stride)) = (self.place(a), self.place(x), self.place(to));
        let (rows, cols, add) = (to.rows as u32, to.cols as u32, u32::from(add));
        let arguments = ApplyLinearSilu { a, a_stride, x, x_stride, to: to_at, to_stride, rows, cols, add };
        self.launch_over_as(kernel, quarter(to), &arguments);
    }

    pub(super) fn apply_adjoint(&mut self, activation: Activation, rule: &ActivationRule, to: Mat, add: bool) {
        let ActivationRule { a, tangent, delta, q } = *rule;
        assert!(alike(&[a, tangent, delta, q.unwrap_or(to), to]));
        let kernel = match activation {
            Activation::Silu => Kernel::ApplyAdjointSilu,
            Activation::Tanh => Kernel::ApplyAdjointTanh,
            Activation::Softplus => Kernel::ApplyAdjointSoftplus,
        };
        let ((a, a_stride), (tangent, tangent_stride)) = (self.place(a), self.place(tangent));
        let ((delta, delta_stride), (q, q_stride)) = (self.place(delta), self.optional(q));
        let (to_at, to_stride) = self.place(to);
        let arguments = ApplyAdjointSilu {
            a,
            a_stride,
            tangent,
            tangent_stride,
            delta,
            delta_stride,
            q,
            q_stride,
            to: to_at,
            to_stride,
            rows: to.rows as u32,
            cols: to.cols as u32,
            add: u32::from(add),
        };
        self.launch_over_as(kernel, quarter(to), &arguments);
    }

    pub(super) fn channels_modulate(&mut self, shape: Shape, x: Mat, e: Mat, shift: bool, to: Mat, add: bool) {
        assert!(x.cols == shape.numbers() && alike(&[x, to]) && e.cols == 2 * shape.channels && e.rows == to.rows);
        assert!(to.apart(&x) && to.apart(&e) && !(shift && add));
        let ((x, x_stride), (e, e_stride), (to_at, to_stride)) = (self.place(x), self.place(e), self.place(to));
        let arguments = Modulate {
            x,
            x_stride,
            e,
            e_stride,
            shift: u32::from(shift),
            to: to_at,
            to_stride,
            rows: to.rows as u32,
            pixels: (shape.height * shape.width) as u32,
            channels: shape.channels as u32,
            add: u32::from(add),
        };
        self.launch_over(quarter(to), &arguments);
    }

    pub(super) fn channels_gradient(
        &mut self,
        shape: Shape,
        pairs: &[(Mat, Mat)],
        shift: Option<Mat>,
        to: Mat,
        add: bool,
    ) {
        assert!(to.cols == 2 * shape.channels && (1..=2).contains(&pairs.len()));
        for mat in pairs.iter().flat_map(|&(x, q)| [x, q]).chain(shift) {
            assert!(mat.cols == shape.numbers() && mat.rows == to.rows && to.apart(&mat));
        }
        let ((x, x_stride), (q, q_stride)) = (self.place(pairs[0].0), self.place(pairs[0].1));
        let second = pairs.get(1);
        let (x2, x2_stride) = self.optional(second.map(|pair| pair.0));
        let (q2, q2_stride) = self.optional(second.map(|pair| pair.1));
        let ((shift, shift_stride), (to_at, to_stride)) = (self.optional(shift), self.place(to));
        let (groups, block) = over_pixels(shape.channels);
        let arguments = ModulateGradient {
            x,
            x_stride,
            q,
            q_stride,
            x2,
            x2_stride,
            q2,
            q2_stride,
            shift,
            shift_stride,
            pixels: (shape.height * shape.width) as u32,
            channels: shape.channels as u32,
            groups,
            to: to_at,
            to_stride,
            add: u32::from(add),
        };
        self.launch([to.rows as u32 * groups, 1, 1], block, &arguments);
    }

    pub(super) fn time_waves(&mut self, t: Mat, to: Mat) {
        assert!(t.cols == 1 && to.cols == 3 && t.rows == to.rows && to.apart(&t));
        let ((t, t_stride), (to_at, to_stride)) = (self.place(t), self.place(to));
        let rows = to.rows as u32;
        self.launch_over(to.rows as u64, &Waves { t, t_stride, to: to_at, to_stride, rows });
    }
}

/// Returns the threads for four numbers each.
fn quarter(to: Mat) -> u64 {
    (to.rows * to.cols).div_ceil(4) as u64
}

/// Returns whether matrices have the same rows and columns.
fn alike(mats: &[Mat]) -> bool {
    mats.iter().all(|mat| (mat.rows, mat.cols) == (mats[0].rows, mats[0].cols))
}
