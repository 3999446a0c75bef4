//! The samples that peaks are fitted to, and the peaks that a training begins with.

use super::gaussian_bridge::GaussianBridge;
use super::peaks_fit::{clusters, fit};
use super::turned_fit;
use super::whole_clusters::WholeClusters;
use crate::data::{Normalisation, Rotation, Sketch, Split};
use crate::device::cpu::pool::Pool;
use crate::error::Result;
use crate::formulas::Peaks;
use crate::formulas::axes::Part;

/// How many peaks there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeakCounts {
    /// As a rule, and at most where clusters are more.
    pub counts: [usize; 2],
    /// Whether they may have axes of their own.
    pub turned: bool,
}

/// What peaks are fitted to.
#[derive(Debug)]
pub(crate) struct Picked {
    /// Many samples of both sides, in data units.
    pub samples: [Sketch; 2],
    /// How many peaks there may be: as a rule, and at most.
    pub peaks: [usize; 2],
    /// Clusters with axes of their own, in the units of the moments.
    pub own: Option<WholeClusters>,
}

impl Picked {
    /// Returns peaks for samples along the axes of a bridge, about the centres of its ends.
    pub fn peaks(
        self,
        bridge: &GaussianBridge,
        centres: &[f64],
        common: &Normalisation,
        sigma: f64,
        pool: &Pool,
    ) -> Result<Option<Peaks>> {
        let rotation = bridge.rotation.as_ref().map(Rotation::wide).transpose()?;
        let along = |side: Sketch, of: &dyn Fn(usize) -> [f64; 2]| -> Result<Split> {
            let mut side = side.whole(&common.shift, common.scale)?;
            if let Some(axes) = &rotation {
                side.turn(axes)?;
            }
            side.rescale(of);
            Ok(side)
        };
        let of_source = |j: usize| [bridge.contraction[j] / bridge.unit[j], bridge.pull[j] - centres[j]];
        let of_target = |j: usize| [1.0 / bridge.unit[j], -centres[j]];
        let [source, target] = self.samples;
        let axes = bridge.axes::<f64>(sigma)?;
        let sigma_seen = &axes.part(Part::Sigma)[..centres.len()];
        if let Some(mut own) = self.own {
            let (source, target) = (along(source, &of_source)?, along(target, &of_target)?);
            own.rescale(1.0 / bridge.unit[0], |j| -centres[j]);
            let found = turned_fit::fit([&source, &target], own.parts, sigma_seen[0], pool)?;
            return Ok(found.filter(|found| bridge.check_peaks(found, sigma, self.peaks[1]).is_ok()));
        }
        // Some samples tell whether there are clusters, before all are turned.
        let few = along(target.part(Split::copied_rows(centres.len()))?, &of_target)?.halved();
        let Some(clusters) = clusters(&few, self.peaks)? else { return Ok(None) };
        drop(few);
        let (source, target) = (along(source, &of_source)?, along(target, &of_target)?);
        let found = fit([&source, &target], &clusters, sigma_seen)?;
        // 32-bit numbers cannot tell the peaks of samples with next to no noise.
        Ok(found.filter(|found| bridge.check_peaks(found, sigma, self.peaks[1]).is_ok()))
    }
}
