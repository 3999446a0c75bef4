//! A device that counts the matrices of a computation and does nothing else. The count is the size of the workspace
//! that the computation needs. A workspace of this size never grows, so memory is taken before the work begins.

use super::block::{CpuBlock, CpuNoise, Sizes, extent};
use super::mixture::tables;
use crate::device::layout::Shape;
use crate::device::rows::{PathSteps, RowSeed, Rows};
use crate::device::{
    ActionTerm, ActivationRule, Attention, AttentionProduct, Bridge, Chosen, DualTerm, Fixed, Groups, Layers, Maps,
    Mat, Method, MixtureLoss, PeaksTerm, Points, Squares, Sums, Workspace,
};
use crate::formulas::{Activation, Axes, Conjugate, Head};
use crate::rng::Stream;

/// See the module.
#[derive(Default)]
pub struct Measure {
    used: usize,
    most: Sizes,
}

impl Measure {
    /// Returns the size that a computation takes.
    pub fn of(compute: impl FnOnce(&mut Self)) -> Sizes {
        let mut measure = Self::default();
        compute(&mut measure);
        measure.most
    }

    /// Counts normals that are drawn at a time.
    pub(super) fn draws(&mut self, normals: usize) {
        self.most = self.most.max(Sizes { noise: normals, ..Sizes::default() });
    }
}

impl Workspace for Measure {
    const OVERLAPS: bool = <CpuBlock<f32> as Workspace>::OVERLAPS;

    fn scratch(&mut self, rows: usize, cols: usize) -> Mat {
        let (stride, numbers) = extent(rows, cols);
        let offset = self.used;
        self.used = self.used.saturating_add(numbers);
        self.most = self.most.max(Sizes { arena: self.used, ..Sizes::default() });
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

impl Maps for Measure {
    type Net = ();
    type Gradient = ();

    fn map(&mut self, (): &(), _: usize, _: Mat, _: bool, _: Mat) {}
    fn map_reverse(&mut self, (): &(), _: usize, _: Mat, _: Mat, _: bool) {}
    fn map_gradient(&mut self, (): &mut (), _: usize, _: &[(Mat, Mat)], _: Option<Mat>) {}
    fn fixed(&mut self, _: &Fixed, _: bool, _: Mat, _: Mat, _: bool) {}
    fn activate(&mut self, _: Activation, _: Mat, _: Mat) {}
    fn activate_linear(&mut self, _: Activation, _: Mat, _: Mat, _: Mat, _: bool) {}
    fn activate_adjoint(&mut self, _: Activation, _: &ActivationRule, _: Mat, _: bool) {}
    fn modulate(&mut self, _: Shape, _: Mat, _: Mat, _: bool, _: Mat, _: bool) {}
    fn modulate_gradient(&mut self, _: Shape, _: &[(Mat, Mat)], _: Option<Mat>, _: Mat, _: bool) {}
    fn group_norm(&mut self, _: &Groups, _: Mat, _: Mat) {}
    fn group_norm_reverse(&mut self, _: &Groups, _: Mat, _: Mat, _: Mat, _: bool) {}
    fn attention(&mut self, _: &Attention, _: AttentionProduct, _: (Mat, Mat), _: f64, _: Mat, _: bool) {}
    fn softmax(&mut self, _: usize, _: Mat) {}
    fn softmax_reverse(&mut self, _: usize, _: Mat, _: Mat) {}
    fn waves(&mut self, _: Mat, _: Mat) {}
}

impl Layers for Measure {
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
    type AxisNumbers = Vec<f32>;
    type Sums = Sums;

    fn mixture(&mut self, loss: &MixtureLoss<'_, CpuNoise, Vec<f32>>, _: &mut Sums) {
        let MixtureLoss { head, bridge, components, .. } = *loss;
        // Rows are padded to more than any vector, so it does not matter how long vectors are.
        for (rows, cols) in tables(bridge.x0.cols, components, head.deterministic, 1) {
            self.scratch(rows, cols);
        }
    }

    fn atoms(&mut self, _: &MixtureLoss<'_, CpuNoise, Vec<f32>>, _: &mut Sums) {}
    fn choose(&mut self, _: Mat, _: Option<&CpuNoise>, _: &Chosen) {}
    fn fold(&mut self, _: Mat, _: Mat, _: Mat, _: f64, _: Mat) {}
    fn peaks(&mut self, _: &PeaksTerm<'_, Vec<f32>>) {}
    fn peaks_plan(&mut self, _: &Axes<Vec<f32>>, _: Mat, _: Mat) {}
    fn bridge(&mut self, _: &Head, _: &Axes<Vec<f32>>, _: &Bridge<CpuNoise>, _: &Points) {}
    fn dual(&mut self, term: &DualTerm<'_, Vec<f32>>, _: &mut Sums) {
        if term.is_held() {
            let held = term.ends.rows.saturating_mul(term.ends.cols);
            self.most = self.most.max(Sizes { held, ..Sizes::default() });
        }
    }

    fn action(&mut self, _: &ActionTerm<'_, Vec<f32>>, _: &mut Sums) {}
}

impl Rows for Measure {
    type In<'a> = ();
    type Out<'a> = ();
    type Constants = ();

    fn row_normals(&mut self, _: RowSeed, _: Stream, to: Mat) {
        self.draws(to.rows.saturating_mul(to.cols));
    }

    fn endpoint_noise(&mut self, seed: RowSeed, rows: usize, d: usize, chooses: bool) -> CpuNoise {
        let xi = self.scratch(rows, d);
        self.row_normals(seed, Stream::Endpoint, xi);
        let component = if chooses { self.scratch(rows, 1) } else { Mat::NONE };
        CpuNoise { xi, eta: xi, component }
    }

    fn export_paths(&mut self, (): &(), x0: Mat, _: Mat, steps: &PathSteps<()>, _: RowSeed, (): ()) {
        self.draws(steps.count.saturating_mul(x0.cols));
    }

    fn bring(&mut self, _: &[f32], _: usize) {}
    fn import(&mut self, (): &(), (): (), _: Mat) {}
    fn import_seen(&mut self, (): &(), (): (), _: usize, _: f64, _: Mat, _: Option<f32>) {}
    fn turn_back(&mut self, (): &(), _: Mat, _: Mat) {}
    fn export(&mut self, (): &(), _: Mat, _: bool, (): ()) {}
    fn add_components_mean(&mut self, _: Mat, _: usize, _: &Axes<Vec<f32>>, _: Mat) {}
    fn accumulate(&mut self, _: Mat, _: Mat, _: bool) {}
    fn add_mean(&mut self, _: Mat, _: Mat, _: usize) {}
    fn drift(&mut self, (): &(), _: Mat, _: Mat, _: f64, _: Mat) {}
    fn export_ratio(&mut self, _: &Axes<Vec<f32>>, _: &Conjugate, _: Mat, _: Mat, (): ()) {}
}
