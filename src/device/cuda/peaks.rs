//! The peaks of a value function on a GPU, and their plan at source samples.

use super::block::CudaBlock;
use super::kernels::{Kernel, PeaksAdd, PeaksPlan};
use crate::device::{Mat, PeaksTerm};
use crate::formulas::Axes;
use crate::formulas::peaks::{self, MOST_PEAKS, MOST_TURNED};

/// Lanes of a warp.
pub(super) const WARP: usize = 32;
/// Threads for each row of kernels that have a peak's own axes in shared memory: a warp has two rows.
pub(super) const ROWS_THREADS: usize = WARP / 2;

/// Checks what kernels for peaks with axes of their own take for granted.
pub(super) fn check_turned(axes: &Axes<u64>) {
    assert!(axes.turned && (1..=MOST_TURNED).contains(&axes.dimension) && (1..=MOST_PEAKS).contains(&axes.peaks));
}

impl CudaBlock {
    pub(super) fn peaks_term(&mut self, term: &PeaksTerm<'_, u64>) {
        let PeaksTerm { axes, time, x, v, g } = *term;
        let d = axes.dimension;
        assert!((1..=MOST_PEAKS).contains(&axes.peaks) && x.cols >= d && g.is_none_or(|g| g.cols >= d));
        if v.is_some() && g.is_some() {
            // V's output comes from aside.
            self.join();
        }
        let ((time, time_stride), (x_at, x_stride)) = (self.optional(time), self.place(x));
        let ((v, v_stride), (g, g_stride)) = (self.optional(v), self.optional(g));
        let arguments = PeaksAdd {
            axes: axes.numbers,
            noise: axes.noise as f32,
            peaks: axes.peaks as u32,
            time,
            time_stride,
            x: x_at,
            x_stride,
            rows: x.rows as u32,
            d: d as u32,
            v,
            v_stride,
            g,
            g_stride,
        };
        if axes.turned {
            check_turned(axes);
            self.launch_over_as(Kernel::PeaksAddTurned, (ROWS_THREADS * x.rows) as u64, &arguments);
            return;
        }
        // A lane has a peak.
        self.launch_over_as(Kernel::PeaksAdd, (peaks::width(axes.peaks) * x.rows) as u64, &arguments);
    }

    /// Adds the plan of the peaks to a generator's outputs for source samples.
    pub(super) fn peaks_plan_of(&mut self, axes: &Axes<u64>, x0: Mat, outputs: Mat) {
        let d = axes.dimension;
        let components = outputs.components(2 * d);
        assert!((1..=MOST_PEAKS).contains(&axes.peaks) && x0.cols >= d && x0.rows == outputs.rows);
        let ((from, x0_stride), (to, outputs_stride)) = (self.place(x0), self.place(outputs));
        let arguments = PeaksPlan {
            axes: axes.numbers,
            peaks: axes.peaks as u32,
            x0: from,
            x0_stride,
            sources: x0.rows as u32,
            d: d as u32,
            components: components as u32,
            outputs: to,
            outputs_stride,
        };
        if axes.turned {
            check_turned(axes);
            // As many times as there are peaks that a component has.
            let threads = ROWS_THREADS * x0.rows * axes.peaks.min(components);
            self.launch_over_as(Kernel::PeaksPlanTurned, threads as u64, &arguments);
            return;
        }
        // Up to a warp for each component, a lane for each axis.
        let lanes = d.next_power_of_two().min(WARP);
        self.launch_over_as(Kernel::PeaksPlan, (lanes * x0.rows * components) as u64, &arguments);
    }
}
