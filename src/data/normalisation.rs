//! Affine maps between data units and the units in which networks are trained.

use super::moments::Moments;
use super::rotation::Rotation;
use crate::error::{Error, Result};
use crate::formulas::units::{self, AxisUnits};
use crate::numbers::Numbers;

/// A shift for each component and one scale for all: `normalised = (value - shift) / scale`.
///
/// The scale is the same in every direction, so that transport costs keep their meaning: squared distances, `sigma`^2
/// and `tau` in data units are those in normalised units times `scale`^2.
///
/// For two sides, the shift is the midpoint of their weighted means, or where pictures are drawn mirrored or moved of
/// those of a channel. The scale is the root mean square of the deviation
/// from the shift, over both sides and all components. Sides that are one and the same point have no such scale. Theirs
/// is a thousand times what 32-bit numbers resolve there, or a length of the problem where that is larger.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalisation {
    /// One number for each component, in data units.
    pub shift: Numbers,
    /// Length in data units that becomes 1, above 0.
    pub scale: f64,
}

/// Scale of a single point, in units of its magnitude (1 for the origin): a thousand times what 32-bit results resolve.
/// In normalised units, one step of that resolution is then a thousandth.
const POINT: f64 = 1e3 * f32::EPSILON as f64;

impl Normalisation {
    /// Returns the normalisation of two sides, and whether they are one point. `length` is a length that the problem
    /// has before there are samples, if any. Where pictures are drawn mirrored or moved, all pixels
    /// of a channel, `pixels_of_channel` of them, have one shift: a moved picture is in normalised units what it is in data units.
    ///
    /// # Errors
    /// Means or deviations outside the 32-bit range.
    pub(super) fn from_moments(
        source: &Moments,
        target: &Moments,
        length: Option<f64>,
        pixels_of_channel: Option<usize>,
    ) -> Result<(Self, bool)> {
        let middle = source.mean().iter().zip(target.mean()).map(|(source, target)| 0.5 * source + 0.5 * target);
        let mut shift = Numbers::collect(middle)?;
        if let Some(pixels) = pixels_of_channel {
            let channels = shift.chunks_exact(pixels);
            let means = Numbers::collect(channels.map(|channel| channel.iter().sum::<f64>() / pixels as f64))?;
            shift = Numbers::collect((0..shift.len()).map(|at| means[at / pixels]))?;
        }
        let second = Numbers::collect(shift.iter().enumerate().map(|(k, &centre)| {
            0.5 * source.second_moment_about(k, centre) + 0.5 * target.second_moment_about(k, centre)
        }))?;
        let scale = (second.iter().sum::<f64>() / second.len() as f64).sqrt();
        let magnitude = shift.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));

        let range = f64::from(f32::MAX);
        // Written so that NaN, from sums that overflow, is refused too.
        if !(magnitude <= range && scale <= range) || shift.iter().any(|value| value.is_nan()) {
            return Err(Error::invalid(format!(
                "source.samples and target.samples have means up to {magnitude:e} and a root-mean-square deviation of {scale:e}; \
                 both must be below {range:e}, the range of the 32-bit results (pass a smaller scale with the arrays)"
            )));
        }
        let least = f64::from(f32::MIN_POSITIVE);
        let resolution = f64::from(f32::EPSILON);
        if !shift.iter().zip(second.iter()).any(|(centre, second)| second.sqrt() > resolution * centre.abs()) {
            let point = POINT * if magnitude > 0.0 { magnitude } else { 1.0 };
            return Ok((Self { shift, scale: point.max(length.unwrap_or(0.0)).clamp(least, range) }, true));
        }
        if scale < least {
            return Err(Error::invalid(format!(
                "source.samples and target.samples have a root-mean-square deviation of {scale:e}; it must be at least {:e}, \
                 the range of the 32-bit results (pass a larger scale with the arrays)",
                f32::MIN_POSITIVE
            )));
        }
        Ok((Self { shift, scale }, false))
    }

    /// Returns the normalisation that equals this one followed by `(x + by) / factor`.
    pub fn moved(&self, by: impl ExactSizeIterator<Item = f64>, factor: f64) -> Result<Self> {
        let shift = Numbers::collect(self.shift.iter().zip(by).map(|(shift, by)| shift - self.scale * by))?;
        Ok(Self { shift, scale: self.scale * factor })
    }

    /// Returns the normalisation with this shift for all components and the same scale.
    pub fn about(&self, centre: f64) -> Result<Self> {
        Ok(Self { shift: Numbers::collect(self.shift.iter().map(|_| centre))?, scale: self.scale })
    }

    /// Number of components.
    pub fn dimension(&self) -> usize {
        self.shift.len()
    }

    /// An error unless the shift has `dimension` finite numbers and the scale is finite and above 0.
    pub fn check(&self, dimension: usize) -> Result<()> {
        if self.shift.len() != dimension {
            return Err(Error::invalid(format!(
                "the normalisation has {} components; the samples have {dimension}",
                self.shift.len()
            )));
        }
        if let Some(at) = self.shift.iter().position(|value| !value.is_finite()) {
            return Err(Error::invalid(format!(
                "the normalisation's shift is {} at component {at}; it must be finite",
                self.shift[at]
            )));
        }
        if !self.scale.is_finite() || self.scale <= 0.0 {
            return Err(Error::invalid(format!(
                "the normalisation's scale is {}; it must be finite and above 0",
                self.scale
            )));
        }
        Ok(())
    }

    /// Returns the units of networks that see normalised units.
    #[cfg(test)]
    pub fn seen(&self) -> SeenUnits {
        let axis = AxisUnits { contraction: 1.0, pull: 0.0, unit: 1.0 };
        SeenUnits { normalised: self.clone(), rotation: None, units: vec![axis; self.dimension()], time: 1.0 }
    }

    #[cfg(test)]
    fn apply_f64(&self, data: &[f64], normalised: &mut [f32]) {
        for (data, out) in data.chunks_exact(self.dimension()).zip(normalised.chunks_exact_mut(self.dimension())) {
            for ((&value, out), &shift) in data.iter().zip(out).zip(self.shift.iter()) {
                *out = units::normalised(value, shift, self.scale) as f32;
            }
        }
    }
}

/// The units in which networks see samples of one side: normalised, turned to the axes of the problem, and moved along
/// each of them ([`crate::formulas::units`]).
#[derive(Clone, Debug)]
pub struct SeenUnits {
    /// From data units to normalised units.
    pub normalised: Normalisation,
    /// The axes; None where they are the components of a sample.
    pub rotation: Option<Rotation>,
    /// Units along each axis.
    pub units: Vec<AxisUnits>,
    /// The time at which samples are moved: 0 for the source, 1 for the target.
    pub time: f64,
}

impl SeenUnits {
    /// Returns which number of a sample is to blame where its place along axis `axis` cannot be told in 32 bits: along
    /// axes of their own all numbers take part, and the farthest is named.
    pub fn culprit(&self, sample: &[f64], axis: usize) -> usize {
        let Some(_) = self.rotation else { return axis };
        let away = |i: usize| (sample[i] - self.normalised.shift[i]).abs();
        (0..sample.len()).fold(0, |worst, i| if away(i) > away(worst) { i } else { worst })
    }

    /// Takes rows x dimension values in data units to what networks see.
    ///
    /// # Panics
    /// If the two slices differ in length or do not hold whole rows.
    pub fn apply(&self, data: &[f64], seen: &mut [f32]) {
        let d = self.units.len();
        assert_eq!(data.len(), seen.len(), "input and output differ in size");
        assert!(data.len().is_multiple_of(d), "the last row is not whole");
        let Normalisation { shift, scale } = &self.normalised;
        for (x, out) in data.chunks_exact(d).zip(seen.chunks_exact_mut(d)) {
            for (j, (out, axis)) in out.iter_mut().zip(&self.units).enumerate() {
                let place = match &self.rotation {
                    Some(rotation) => units::along(rotation.axis(j), |i| x[i] - shift[i]),
                    None => x[j] - shift[j],
                };
                *out = axis.seen(place / scale, self.time);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;
    use proptest::prelude::*;

    fn moments(rows: &[f64], dimension: usize, block_rows: usize) -> Moments {
        let mut moments = Moments::new(dimension).unwrap();
        for block in rows.chunks(block_rows * dimension) {
            moments.add(block, None);
        }
        moments
    }

    fn measure(source: &[f64], target: &[f64], dimension: usize) -> Result<Normalisation> {
        Normalisation::from_moments(&moments(source, dimension, 5), &moments(target, dimension, 7), None, None)
            .map(|x| x.0)
    }

    /// Rows around a large mean with a spread of about 1.
    fn far_rows(count: usize, dimension: usize, mean: f64) -> Vec<f64> {
        (0..count * dimension).map(|k| mean + (k as f64 * 0.7).sin() * 2f64.sqrt()).collect()
    }

    fn rows() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(-3.0f64..3.0, 8..40)
            .prop_map(|mut values| {
                values.truncate(values.len() / 2 * 2);
                values
            })
            .prop_filter("must not be constant", |values| values.iter().any(|v| (v - values[0]).abs() > 1e-3))
    }

    proptest! {
        #[test]
        fn both_sides_together_have_mean_zero_and_unit_square(source in rows(), target in rows()) {
            let normalisation = measure(&source, &target, 2).unwrap();
            let mut square = 0.0;
            let mut mean = [0.0f64; 2];
            for side in [&source, &target] {
                let mut out = vec![0.0f32; side.len()];
                normalisation.apply_f64(side, &mut out);
                let rows = side.len() as f64 / 2.0;
                for row in out.chunks_exact(2) {
                    for k in 0..2 {
                        mean[k] += f64::from(row[k]) / rows;
                        square += f64::from(row[k]).powi(2) / rows / 4.0;
                    }
                }
            }
            prop_assert!((square - 1.0).abs() < 1e-5, "{}", square);
            prop_assert!(mean[0].abs() < 1e-5 && mean[1].abs() < 1e-5, "{:?}", mean);
        }

        #[test]
        fn normalised_data_do_not_depend_on_the_units(
            source in rows(), target in rows(), factor in 1e-3f64..1e3, first in -50.0f64..50.0, second in -50.0f64..50.0,
        ) {
            let units = |rows: &[f64]| -> Vec<f64> {
                rows.chunks_exact(2).flat_map(|row| [row[0] * factor + first * factor, row[1] * factor + second * factor]).collect()
            };
            let plain = measure(&source, &target, 2).unwrap();
            let other = measure(&units(&source), &units(&target), 2).unwrap();
            prop_assert!((other.scale / plain.scale / factor - 1.0).abs() < 1e-9);
            let (mut a, mut b) = (vec![0.0; source.len()], vec![0.0; source.len()]);
            plain.apply_f64(&source, &mut a);
            other.apply_f64(&units(&source), &mut b);
            for (a, b) in a.iter().zip(&b) {
                prop_assert!((a - b).abs() < 1e-5 * (1.0 + a.abs()), "{} {}", a, b);
            }
        }
    }

    #[test]
    fn a_unit_spread_around_a_million_is_measured_and_kept() {
        let (near, far) = (far_rows(5000, 2, 0.0), far_rows(5000, 2, 1e6));
        let expected = measure(&near, &near, 2).unwrap();
        let found = measure(&far, &far, 2).unwrap();
        assert_relative_eq!(found.scale, expected.scale, max_relative = 1e-9);
        assert_relative_eq!(found.scale, 1.0, max_relative = 1e-2);
        let (mut a, mut b) = (vec![0.0; near.len()], vec![0.0; far.len()]);
        expected.apply_f64(&near, &mut a);
        found.apply_f64(&far, &mut b);
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }

    #[test]
    fn weights_count_as_repetitions() {
        // A weightless row takes no part, however far out and wherever in a block it lies.
        let mut weighted = Moments::new(2).unwrap();
        weighted.add(&[1e200, 9.0], Some(&[0.0]));
        weighted.add(&[1e60, -1e200, 1.0, -2.0], Some(&[0.0, 2.0]));
        weighted.add(&[5.0, 0.5, 1e300, 0.0], Some(&[1.0, 0.0]));
        let repeated = moments(&[1.0, -2.0, 1.0, -2.0, 5.0, 0.5], 2, 3);
        for k in 0..2 {
            assert_relative_eq!(weighted.mean()[k], repeated.mean()[k], max_relative = 1e-14);
            assert_relative_eq!(
                weighted.second_moment_about(k, 0.3),
                repeated.second_moment_about(k, 0.3),
                max_relative = 1e-14
            );
        }
    }

    #[test]
    fn one_point_has_the_scale_of_the_problem_or_of_what_floats_resolve() {
        let least = f64::from(f32::MIN_POSITIVE);
        for (value, expected) in
            [(0.0, POINT), (0.1, 0.1 * POINT), (-3e7, 3e7 * POINT), (1e30, 1e30 * POINT), (1e-37, least)]
        {
            let found = measure(&[value; 40], &[value; 60], 2).unwrap();
            assert_eq!(*found.shift, [value; 2]);
            assert_relative_eq!(found.scale, expected, max_relative = 1e-12);
            let point = moments(&[value; 40], 2, 5);
            for length in [1e-60, 0.25, 1e20, 1e60] {
                let (found, one_point) = Normalisation::from_moments(&point, &point, Some(length), None).unwrap();
                assert!(one_point && found.scale == expected.max(length).min(f64::from(f32::MAX)), "{found:?}");
            }
        }
        let below_resolution: Vec<f64> = (0..40).map(|k| 1.0 + f64::from(k) * 1e-10).collect();
        assert_relative_eq!(
            measure(&below_resolution, &below_resolution, 1).unwrap().scale,
            POINT,
            max_relative = 1e-6
        );
        // A spread that is small, but resolved, is taken as it is.
        let small: Vec<f64> = (0..40).map(|k| 1.0 + f64::from(k % 2) * 1e-6).collect();
        assert_relative_eq!(measure(&small, &small, 1).unwrap().scale, 0.5e-6, max_relative = 1e-6);
    }

    #[test]
    fn one_constant_side_and_constant_components_are_measured_like_others() {
        assert_eq!(
            measure(&[-1.0; 40], &[1.0; 60], 2).unwrap(),
            Normalisation { shift: vec![0.0, 0.0].into(), scale: 1.0 }
        );
        // A component that is constant must not hide the spread of another.
        let one_constant: Vec<f64> = (0..40).flat_map(|k| [1e12, f64::from(k).sin()]).collect();
        assert!(measure(&one_constant, &one_constant, 2).is_ok());
    }

    #[test]
    fn data_outside_the_range_of_results_are_refused() {
        for (low, high) in [(-1e200, 1e200), (0.0, 1.7e308), (-1.7e308, 1.7e308), (1e39, 2e39), (-1e-42, 1e-42)] {
            let error = measure(&[low, high], &[high, low], 1).unwrap_err().to_string();
            assert!(error.contains("32-bit results"), "{error}");
        }
    }
}
