//! What a computation takes of a workspace, found by walking through it: a device that counts its matrices and does
//! nothing else. A workspace that has been made so large never grows, so memory is asked for before the work begins.

use super::block::{CpuBlock, CpuNoise, Sizes, extent};
use super::mixture::tables;
use crate::device::{Activation, Bridge, Device, Head, Mat, Points, Quadratic, Squares, Sums};
use crate::euot::conditional::Weighted;
use crate::euot::divergence::Conjugate;

/// A worker's workspace, or what measures one.
pub trait Workspace: Device<Real = f32, Noise = CpuNoise, Slope = Vec<f32>, Sums = Sums> {
    /// Gives all matrices back.
    fn reset(&mut self);
    /// How far it is used, for [`Self::release`].
    fn used(&self) -> usize;
    /// Gives back the matrices that were made since `used` was asked.
    fn release(&mut self, used: usize);
    /// Writes into matrices what no operation of a device does. `normals` is how many numbers are drawn at a time at
    /// most.
    fn write(&mut self, normals: usize, write: impl FnOnce(&mut CpuBlock<f32>));
}

impl Workspace for CpuBlock<f32> {
    fn reset(&mut self) {
        Self::reset(self);
    }

    fn used(&self) -> usize {
        Self::used(self)
    }

    fn release(&mut self, used: usize) {
        Self::release(self, used);
    }

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
}

impl Workspace for Measure {
    fn reset(&mut self) {
        self.used = 0;
    }

    fn used(&self) -> usize {
        self.used
    }

    fn release(&mut self, used: usize) {
        assert!(used <= self.used);
        self.used = used;
    }

    fn write(&mut self, normals: usize, _: impl FnOnce(&mut CpuBlock<f32>)) {
        self.most = self.most.max(Sizes { arena: 0, noise: normals });
    }
}

impl Device for Measure {
    type Real = f32;
    type Net = ();
    type Gradient = ();
    type Noise = CpuNoise;
    type Slope = Vec<f32>;
    type Sums = Sums;
    const OVERLAPS: bool = <CpuBlock<f32> as Device>::OVERLAPS;

    fn scratch(&mut self, rows: usize, cols: usize) -> Mat {
        let (stride, numbers) = extent(rows, cols);
        let offset = self.used;
        self.used = self.used.saturating_add(numbers);
        self.most = self.most.max(Sizes { arena: self.used, noise: 0 });
        Mat { offset, stride, view: false, squares: Squares::NONE, rows, cols }
    }

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

    fn fill(&mut self, _: Mat, _: f64) {}
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
    fn choose(&mut self, _: Mat, _: Option<&CpuNoise>, _: Mat, _: Option<Mat>) {}
    fn fold(&mut self, _: Mat, _: Mat, _: Mat, _: f64, _: Mat) {}
    fn bridge(&mut self, _: &Head, _: &Bridge<CpuNoise>, _: &Points) {}
    fn dual(&mut self, _: &Conjugate, _: &Quadratic<Vec<f32>>, _: Mat, _: Mat, _: Mat, _: f64, _: &mut Sums) {}
    fn action(&mut self, _: Mat, _: Mat, _: Mat, _: Mat, _: f64, _: &mut Sums) {}
}
