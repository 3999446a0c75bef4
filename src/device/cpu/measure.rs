//! What a computation takes of a workspace, found by walking through it: a device that counts its matrices and does
//! nothing else. A workspace that has been made so large never grows, so memory is asked for before the work begins.

use super::block::{CpuBlock, CpuNoise, Sizes, extent};
use super::mixture::tables;
use crate::device::{Bridge, Layers, Mat, Method, Points, Squares, Sums, Weighted, Workspace};
use crate::formulas::{Activation, Conjugate, Head, Quadratic};

/// A worker's workspace, or what measures one.
pub trait Written: Layers + Method<Noise = CpuNoise, Slope = Vec<f32>, Sums = Sums> {
    /// Writes into matrices what no operation of a device does. `normals` is how many numbers are drawn at a time at
    /// most.
    fn write(&mut self, normals: usize, write: impl FnOnce(&mut CpuBlock<f32>));
}

impl Written for CpuBlock<f32> {
    fn write(&mut self, _: usize, write: impl FnOnce(&mut CpuBlock<f32>)) {
        write(self);
    }
}

/// See the module.
#[derive(Default)]
pub struct Measure {
    used: usize,
    most: Sizes,
}

impl Measure {
    /// What a computation takes.
    pub fn of(compute: impl FnOnce(&mut Self)) -> Sizes {
        let mut measure = Self::default();
        compute(&mut measure);
        measure.most
    }

    /// Counts normals that are drawn at a time.
    pub(super) fn draws(&mut self, normals: usize) {
        self.most = self.most.max(Sizes { arena: 0, noise: normals });
    }
}

impl Written for Measure {
    fn write(&mut self, normals: usize, _: impl FnOnce(&mut CpuBlock<f32>)) {
        self.draws(normals);
    }
}

impl Workspace for Measure {
    const OVERLAPS: bool = <CpuBlock<f32> as Workspace>::OVERLAPS;

    fn scratch(&mut self, rows: usize, cols: usize) -> Mat {
        let (stride, numbers) = extent(rows, cols);
        let offset = self.used;
        self.used = self.used.saturating_add(numbers);
        self.most = self.most.max(Sizes { arena: self.used, noise: 0 });
        Mat { offset, stride, view: false, squares: Squares::NONE, rows, cols }
    }

    fn fill(&mut self, _: Mat, _: f64) {}

    fn mark(&self) -> usize {
        self.used
    }

    fn reset(&mut self, mark: usize) {
        assert!(mark <= self.used);
        self.used = mark;
    }
}

impl Layers for Measure {
    type Net = ();
    type Gradient = ();

    fn squares(&mut self, (): &(), _: Mat, _: Mat) {}
    fn squares_reverse(&mut self, _: Mat, _: Mat, _: Mat) {}
    fn squares_tangent(&mut self, _: Mat, _: Mat, _: Mat) {}
    fn affine(&mut self, (): &(), _: usize, _: Mat, _: Mat) {}
    fn activated(&mut self, (): &(), _: usize, _: Activation, _: Mat, _: Mat, _: Option<Mat>, _: Option<Mat>) {}
    fn transposed(&mut self, (): &(), _: usize, _: Mat, _: Mat) {}
    fn backward(&mut self, (): &(), _: usize, _: Mat, _: Mat, _: Mat, _: Option<Mat>) {}
    fn tangent(&mut self, (): &(), _: usize, _: Mat, _: Mat, _: Mat, _: Mat) {}
    fn tangent_backward(&mut self, (): &(), _: usize, _: Mat, _: Mat, _: Mat, _: Mat) {}
    fn gradient(&mut self, (): &mut (), _: usize, _: &[(Mat, Mat)], _: Option<Mat>) {}
}

impl Method for Measure {
    type Noise = CpuNoise;
    type Slope = Vec<f32>;
    type Sums = Sums;

    fn mixture(
        &mut self,
        head: &Head,
        bridge: &Bridge<CpuNoise>,
        _: Mat,
        _: Mat,
        _: Mat,
        components: usize,
        _: Option<Weighted>,
        _: Mat,
        _: f64,
        _: &mut Sums,
    ) {
        // Rows are padded to more than any vector, so it does not matter how long vectors are.
        for (rows, cols) in tables(bridge.x0.cols, components, head.deterministic, 1) {
            self.scratch(rows, cols);
        }
    }

    fn choose(&mut self, _: Mat, _: Option<&CpuNoise>, _: Mat, _: Option<Mat>) {}
    fn fold(&mut self, _: Mat, _: Mat, _: Mat, _: f64, _: Mat) {}
    fn bridge(&mut self, _: &Head, _: &Bridge<CpuNoise>, _: &Points) {}
    fn dual(&mut self, _: &Conjugate, _: &Quadratic<Vec<f32>>, _: Mat, _: Mat, _: Mat, _: f64, _: &mut Sums) {}
    fn action(&mut self, _: Mat, _: Mat, _: Mat, _: Mat, _: f64, _: &mut Sums) {}
}
