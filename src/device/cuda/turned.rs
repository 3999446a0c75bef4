//! Bridges and the generator's loss on a GPU where peaks have axes of their own.

use super::block::{CudaBlock, CudaNoise, THREADS, reduction_blocks};
use super::kernels::{BridgeTurned, TurnedMixture, TurnedVariances};
use super::peaks::{ROWS_THREADS, WARP, check_turned};
use super::sums::{CudaSums, GENERATOR};
use crate::device::{Bridge, MixtureLoss, Points, Squares};
use crate::formulas::{Axes, Head};

impl CudaBlock {
    pub(super) fn turned_bridge(&mut self, head: &Head, axes: &Axes<u64>, bridge: &Bridge<CudaNoise>, points: &Points) {
        check_turned(axes);
        let Bridge { x0, raw, noise, time, which } = *bridge;
        let which = which.expect("the numbers of components that have axes of their own");
        assert!(!head.deterministic && x0.cols == axes.dimension && raw.cols == 2 * x0.cols);
        assert!(which.rows == x0.rows && which.stride == 1);
        let ((x0_at, x0_stride), (raw_at, raw_stride)) = (self.place(x0), self.place(raw));
        let ((x1, x1_stride), (xt, xt_stride)) = (self.optional(points.end), self.optional(points.state));
        let [of_end, of_state] = [points.end, points.state].map(|mat| mat.map_or(Squares::NONE, |mat| mat.squares));
        assert!(of_end.centre == 0 || of_state.centre == 0 || of_end.centre == of_state.centre);
        let ((drift, drift_stride), (time, time_stride)) = (self.optional(points.drift), self.place(time));
        let arguments = BridgeTurned {
            x0: x0_at,
            x0_stride,
            raw: raw_at,
            raw_stride,
            which: self.address(which),
            time,
            time_stride,
            rows: x0.rows as u32,
            d: x0.cols as u32,
            axes: axes.numbers,
            peaks: axes.peaks as u32,
            seed: noise.seed,
            counter: noise.counter,
            number: noise.number,
            first_row: noise.first_row,
            x1,
            x1_stride,
            x1_squares: of_end.count as u32,
            xt,
            xt_stride,
            xt_squares: of_state.count as u32,
            centre: of_end.centre.max(of_state.centre),
            drift,
            drift_stride,
        };
        // A warp a row.
        self.launch_over((WARP * x0.rows) as u64, &arguments);
    }

    pub(super) fn turned_mixture(&mut self, loss: &MixtureLoss<'_, CudaNoise, u64>, sums: &mut CudaSums) {
        let MixtureLoss { head, axes, bridge, xt, v, g, components, weighted, delta, scale } = *loss;
        check_turned(axes);
        let weighted = weighted.expect("components that are not equally likely");
        let (rows, d) = (xt.rows, xt.cols);
        assert!(!head.deterministic && d == axes.dimension && rows.is_multiple_of(components));
        // V's output comes from aside.
        self.join();
        let ((x0, x0_stride), (raw, raw_stride)) = (self.place(bridge.x0), self.place(bridge.raw));
        let ((xt, xt_stride), (v, v_stride), (g_at, g_stride)) = (self.place(xt), self.place(v), self.place(g));
        let ((time, time_stride), (delta, delta_stride)) = (self.place(bridge.time), self.place(delta));
        let [log_weight, row_losses] = [weighted.log, weighted.loss].map(|mat| self.address(mat));
        let [inverses, logs] = [rows * d, rows].map(|count| self.scratch_address(count));
        let arguments = TurnedVariances {
            raw,
            raw_stride,
            time,
            time_stride,
            rows: rows as u32,
            d: d as u32,
            axes: axes.numbers,
            log_weight,
            inverses,
            logs,
        };
        // A warp a row.
        self.launch_over((WARP * rows) as u64, &arguments);
        let grid = reduction_blocks((ROWS_THREADS * rows) as u64);
        let losses = sums.take(GENERATOR, grid as usize);
        let arguments = TurnedMixture {
            x0,
            x0_stride,
            raw,
            raw_stride,
            time,
            time_stride,
            xt,
            xt_stride,
            v,
            v_stride,
            g: g_at,
            g_stride,
            squares: g.squares.count as u32,
            components: components as u32,
            rows: rows as u32,
            d: d as u32,
            axes: axes.numbers,
            peaks: axes.peaks as u32,
            noise: axes.noise as f32,
            scale: scale as f32,
            log_weight,
            inverses,
            logs,
            row_losses,
            delta,
            delta_stride,
            losses,
        };
        self.launch([grid, 1, 1], [THREADS, 1, 1], &arguments);
    }
}
