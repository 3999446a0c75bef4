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
use crate::memory;

/// How many peaks there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeakCounts {
    /// As a rule, and at most where clusters are more.
    pub counts: [usize; 2],
    /// Whether they may have axes of their own.
    pub turned: bool,
}

/// Many samples of a side.
#[derive(Debug)]
pub(crate) enum Samples {
    /// In data units.
    Picked(Sketch),
    /// In the units of the moments.
    Moved(Split),
}

/// What peaks are fitted to.
#[derive(Debug)]
pub(crate) struct Picked {
    /// Both sides.
    pub samples: [Samples; 2],
    /// How many peaks there may be: as a rule, and at most.
    pub peaks: [usize; 2],
    /// Clusters with axes of their own, in the units of the moments.
    pub own: Option<WholeClusters>,
}

/// How an axis of samples is moved and scaled: x becomes factor (x + shift).
type Along = [f64; 2];

impl Samples {
    /// Returns those of them that tell whether there are clusters.
    fn few(&self, dimension: usize) -> Result<Self> {
        let most = Split::copied_rows(dimension);
        Ok(match self {
            Self::Picked(sketch) => Self::Picked(sketch.part(most)?),
            Self::Moved(split) => {
                let all = memory::collected("samples that are fitted", 0..dimension)?;
                Self::Moved(split.columns(&all, most)?)
            }
        })
    }

    /// Takes them to other axes, one a row, and to units of their own there.
    fn along(self, common: &Normalisation, axes: Option<&[f64]>, units: impl Fn(usize) -> Along) -> Result<Split> {
        let mut samples = match self {
            Self::Picked(sketch) => sketch.whole(&common.shift, common.scale)?,
            Self::Moved(split) => split,
        };
        if let Some(axes) = axes {
            samples.turn(axes)?;
        }
        samples.rescale(units);
        Ok(samples)
    }
}

/// Takes samples back to the units that they had before these.
fn back(mut samples: Split, units: impl Fn(usize) -> Along) -> Samples {
    samples.rescale(|j| {
        let [factor, shift] = units(j);
        [1.0 / factor, -factor * shift]
    });
    Samples::Moved(samples)
}

impl Picked {
    /// Returns peaks for samples along the axes of a bridge, about the centres of its ends; or, where none with axes of
    /// their own are found, what others may be fitted to.
    pub fn peaks(
        self,
        bridge: &GaussianBridge,
        centres: &[f64],
        common: &Normalisation,
        sigma: f64,
        pool: &Pool,
    ) -> Result<(Option<Peaks>, Option<Self>)> {
        let Self { samples: [source, target], peaks, own } = self;
        let rotation = bridge.rotation.as_ref().map(Rotation::wide).transpose()?;
        let rotation = rotation.as_deref();
        let of_source = |j: usize| [bridge.contraction[j] / bridge.unit[j], bridge.pull[j] - centres[j]];
        let of_target = |j: usize| [1.0 / bridge.unit[j], -centres[j]];
        let axes = bridge.axes::<f64>(sigma)?;
        let sigma_seen = &axes.part(Part::Sigma)[..centres.len()];
        // 32-bit numbers cannot tell the peaks of samples with next to no noise.
        let is_sound = |found: &Peaks| bridge.check_peaks(found, sigma, peaks[1]).is_ok();
        if let Some(mut own) = own {
            let source = source.along(common, rotation, of_source)?;
            let target = target.along(common, rotation, of_target)?;
            own.rescale(1.0 / bridge.unit[0], |j| -centres[j]);
            let found =
                turned_fit::fit([&source, &target], own.parts, own.finer, sigma_seen[0], pool)?.filter(is_sound);
            let left = match found {
                Some(_) => None,
                None => Some(Self { samples: [back(source, of_source), back(target, of_target)], peaks, own: None }),
            };
            return Ok((found, left));
        }
        // Some samples tell whether there are clusters, before all are turned.
        let few = target.few(centres.len())?.along(common, rotation, of_target)?.halved();
        let Some(clusters) = clusters(&few, peaks)? else { return Ok((None, None)) };
        drop(few);
        let source = source.along(common, rotation, of_source)?;
        let target = target.along(common, rotation, of_target)?;
        let found = fit([&source, &target], &clusters, sigma_seen)?;
        Ok((found.filter(is_sound), None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_come_back_from_the_units_of_an_axis() {
        let rows = vec![1.5, -2.0, 0.25, 3.0, -4.0, 10.0];
        let units = |j: usize| [[2.0, -0.75], [0.1, 5.0]][j];
        let samples = || Split::of_fitted(2, rows.clone(), vec![1.0; 3]).unwrap();
        let common = Normalisation { shift: vec![0.0; 2].into(), scale: 1.0 };
        let along = Samples::Moved(samples()).along(&common, None, units).unwrap();
        let Samples::Moved(found) = back(along, units) else { panic!("samples that were moved") };
        for ((found, _), (expected, _)) in found.half(false).zip(samples().half(false)) {
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-14 * (1.0 + expected.abs()), "{found} is not {expected}");
            }
        }
    }
}
