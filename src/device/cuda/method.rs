//! The device trait `Method` on a GPU's workspace: the bridge, the losses and their gradients by what a network gave.

use super::block::{CudaBlock, CudaNoise, THREADS, reduction_blocks};
use super::kernels::{
    ActionTerms, AtomsTerms, BridgeSample, ComponentsChoose, ComponentsFold, DualTerms, Kernel, Mixture16,
    MixtureDensity, MixtureGradient, MixtureParameters,
};
use super::sums::{ACTION, CONJUGATE, CudaSums, DENSITY_RATIO, DISTANCES, GENERATED, GENERATOR, RATIO_SQUARES, TARGET};
use crate::device::{
    ActionTerm, Bridge, Chosen, DualTerm, Mat, Method, MixtureLoss, PeaksTerm, Points, Squares, StepNumber,
};
use crate::formulas::{Axes, Head};

/// Samples and components of a tile of the mixture kernels for many components.
const MIXTURE_TILE: usize = 64;

impl Method for CudaBlock {
    type Noise = CudaNoise;
    /// Device address.
    type AxisNumbers = u64;
    type Sums = CudaSums;

    fn choose(&mut self, outputs: Mat, noise: Option<&CudaNoise>, to: &Chosen) {
        let Chosen { raw, log, which } = *to;
        let components = outputs.components(raw.cols);
        let each = outputs.each(raw, components, noise.is_some());
        let none = CudaNoise { seed: 0, counter: 0, number: 0, first_row: 0 };
        let CudaNoise { seed, counter, number, first_row } = *noise.unwrap_or(&none);
        let ((from, outputs_stride), (out, out_stride)) = (self.place(outputs), self.place(raw));
        let arguments = ComponentsChoose {
            outputs: from,
            outputs_stride,
            sources: outputs.rows as u32,
            each: each as u32,
            components: components as u32,
            raw: raw.cols as u32,
            drawn: u32::from(noise.is_some()),
            seed,
            counter,
            number,
            first_source: first_row / each as u64,
            out,
            out_stride,
            weights: log.map_or(0, |log| self.address(log)),
            which: which.map_or(0, |which| self.address(which)),
        };
        // A warp a source sample.
        self.launch_over(32 * outputs.rows as u64, &arguments);
    }

    fn fold(&mut self, outputs: Mat, delta: Mat, loss: Mat, scale: f64, to: Mat) {
        let components = outputs.components(delta.cols);
        outputs.each(delta, components, false);
        let ((from, outputs_stride), (delta_at, delta_stride)) = (self.place(outputs), self.place(delta));
        let (to, to_stride) = self.place(to);
        let arguments = ComponentsFold {
            outputs: from,
            outputs_stride,
            sources: outputs.rows as u32,
            components: components as u32,
            raw: delta.cols as u32,
            delta: delta_at,
            delta_stride,
            loss: self.address(loss),
            scale,
            to,
            to_stride,
        };
        self.launch_over(32 * outputs.rows as u64, &arguments);
    }

    fn peaks(&mut self, term: &PeaksTerm<'_, u64>) {
        self.peaks_term(term);
    }

    fn peaks_plan(&mut self, axes: &Axes<u64>, x0: Mat, outputs: Mat) {
        self.peaks_plan_of(axes, x0, outputs);
    }

    fn bridge(&mut self, head: &Head, axes: &Axes<u64>, bridge: &Bridge<CudaNoise>, points: &Points) {
        if axes.turned {
            return self.turned_bridge(head, axes, bridge, points);
        }
        let Bridge { x0, raw, noise, time, which: _ } = *bridge;
        let (x0_at, x0_stride) = self.place(x0);
        let (raw_at, raw_stride) = self.place(raw);
        let (x1, x1_stride) = self.optional(points.end);
        let (xt, xt_stride) = self.optional(points.state);
        let [of_end, of_state] = [points.end, points.state].map(|mat| mat.map_or(Squares::NONE, |mat| mat.squares));
        assert!(of_end.centre == 0 || of_state.centre == 0 || of_end.centre == of_state.centre);
        let (drift, drift_stride) = self.optional(points.drift);
        let (time, time_stride) = self.place(time);
        let arguments = BridgeSample {
            x0: x0_at,
            x0_stride,
            raw: raw_at,
            raw_stride,
            time,
            time_stride,
            rows: x0.rows as u32,
            d: x0.cols as u32,
            axes: axes.numbers,
            deterministic: u32::from(head.deterministic),
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
            // Values and time go behind the points.
            append: 1,
        };
        // The kernel's contract: a thread takes four elements.
        self.launch_over((x0.rows * x0.cols).div_ceil(4) as u64, &arguments);
    }

    fn dual(&mut self, term: &DualTerm<'_, u64>, sums: &mut CudaSums) {
        let DualTerm { conjugate, tau_at, axes, ends, v, delta, scale, components, first_source } = *term;
        let rows = v.rows / 2;
        // A warp a row.
        let grid = reduction_blocks(32 * rows as u64);
        let d = ends.cols as u32;
        let ((ends, ends_stride), (v, v_stride), (delta, delta_stride)) =
            (self.place(ends), self.place(v), self.place(delta));
        let [x1, y] = DISTANCES;
        let terms = [GENERATED, CONJUGATE, ACTION, DENSITY_RATIO, RATIO_SQUARES, TARGET, x1, y];
        let [generated, psi, action, density_ratio, ratio_squares, target, generated_distances, target_distances] =
            terms.map(|term| sums.take(term, grid as usize));
        let counter = match tau_at.step {
            StepNumber::OnDevice(address) => address,
            // Networks of a host's own, whose tau is constant: not read.
            StepNumber::Known(_) => 0,
        };
        let arguments = DualTerms {
            v,
            v_stride,
            rows: rows as u32,
            ends,
            ends_stride,
            d,
            axes: axes.numbers,
            level: axes.level,
            divergence: conjugate.divergence as u32,
            tau: conjugate.tau,
            log_start: tau_at.schedule.log_start,
            tau_steps: tau_at.schedule.steps,
            counter,
            scale,
            components: components as u32,
            odd: (first_source % 2) as u32,
            delta,
            delta_stride,
            generated,
            conjugate: psi,
            action,
            density_ratio,
            ratio_squares,
            target,
            generated_distances,
            target_distances,
        };
        self.launch([grid, 1, 1], [THREADS, 1, 1], &arguments);
    }

    fn action(&mut self, term: &ActionTerm<'_, u64>, sums: &mut CudaSums) {
        let ActionTerm { axes, time, x, g, b, w, scale, counts } = *term;
        assert!(g.squares.count == w.squares.count && [x, w].iter().all(|mat| mat.cols == b.cols + 1));
        // Of a graph it has no column for the time.
        assert!(g.cols == b.cols + 1 || (g.cols == b.cols && g.squares.count == 0));
        let (rows, d, squares) = (b.rows, b.cols, w.squares.count);
        let ((x, x_stride), (g, g_stride)) = (self.place(x), self.place(g));
        let ((b, b_stride), (w, w_stride)) = (self.place(b), self.place(w));
        let (time, time_stride) = self.place(time);
        let grid = reduction_blocks((rows * d).div_ceil(4) as u64);
        let action = if counts { sums.take(ACTION, grid as usize) } else { 0 };
        let arguments = ActionTerms {
            axes: axes.numbers,
            noise: axes.noise as f32,
            time,
            time_stride,
            x,
            x_stride,
            g,
            g_stride,
            b,
            b_stride,
            w,
            w_stride,
            rows: rows as u32,
            d: d as u32,
            n: squares as u32,
            scale: scale as f32,
            append: 1,
            action,
        };
        self.launch([grid, 1, 1], [THREADS, 1, 1], &arguments);
    }

    fn atoms(&mut self, loss: &MixtureLoss<'_, CudaNoise, u64>, sums: &mut CudaSums) {
        let MixtureLoss { head, axes, bridge, v, g, components, delta, scale, .. } = *loss;
        assert!(head.deterministic && components == 1 && delta.cols == bridge.raw.cols && g.squares.count == 0);
        // V's output comes from aside.
        self.join();
        let (rows, d) = (delta.rows, delta.cols);
        let ((raw, raw_stride), (time, time_stride)) = (self.place(bridge.raw), self.place(bridge.time));
        let ((v, v_stride), (g, g_stride)) = (self.place(v), self.place(g));
        let (delta, delta_stride) = self.place(delta);
        let grid = reduction_blocks((rows * d).div_ceil(4) as u64);
        let losses = sums.take(GENERATOR, grid as usize);
        let arguments = AtomsTerms {
            axes: axes.numbers,
            noise: axes.noise as f32,
            time,
            time_stride,
            raw,
            raw_stride,
            v,
            v_stride,
            g,
            g_stride,
            rows: rows as u32,
            d: d as u32,
            scale: scale as f32,
            delta,
            delta_stride,
            losses,
        };
        self.launch([grid, 1, 1], [THREADS, 1, 1], &arguments);
    }

    fn mixture(&mut self, loss: &MixtureLoss<'_, CudaNoise, u64>, sums: &mut CudaSums) {
        if loss.axes.turned {
            return self.turned_mixture(loss, sums);
        }
        let MixtureLoss { head, axes, bridge, xt, v, g, components, weighted, delta, scale } = *loss;
        // V's output comes from aside.
        self.join();
        let (d, squares) = (xt.cols, g.squares.count as u32);
        let groups = xt.rows / components;
        assert!(weighted.is_none() || !head.deterministic);
        let (x0, x0_stride) = self.place(bridge.x0);
        let (raw, raw_stride) = self.place(bridge.raw);
        let ((xt, xt_stride), (v, v_stride), (g, g_stride)) = (self.place(xt), self.place(v), self.place(g));
        let (delta, delta_stride) = self.place(delta);
        let [log_weight, row_losses] =
            weighted.map_or([0; 2], |weighted| [weighted.log, weighted.loss].map(|mat| self.address(mat)));
        let (time, time_stride) = self.place(bridge.time);
        let mixture = MixtureParameters {
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
            g,
            g_stride,
            squares,
            components: components as u32,
            d: d as u32,
            axes: axes.numbers,
            noise: axes.noise as f32,
            deterministic: u32::from(head.deterministic),
            scale: scale as f32,
            log_weight,
            row_losses,
            delta,
            delta_stride,
        };
        let whole = match components {
            0..=16 => Some(Kernel::Mixture16),
            17..=32 => Some(Kernel::Mixture32),
            33..=64 => Some(Kernel::Mixture64),
            _ => None,
        };
        if let Some(kernel) = whole {
            let losses = sums.take(GENERATOR, groups);
            self.launch_as(kernel, [groups as u32, 1, 1], [THREADS, 1, 1], &Mixture16 { mixture, losses });
            return;
        }
        let tiles = components.div_ceil(MIXTURE_TILE);
        let losses = sums.take(GENERATOR, groups * tiles);
        let density = self.scratch_address(3 * groups * components);
        let grid = [tiles as u32, groups as u32, 1];
        self.launch(grid, [THREADS, 1, 1], &MixtureDensity { mixture, density, losses });
        self.launch(grid, [THREADS, 1, 1], &MixtureGradient { mixture, density });
    }
}
