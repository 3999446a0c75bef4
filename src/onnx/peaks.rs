//! The peaks of a value function and their plan, as operators (`formulas::peaks`). Where peaks have axes of their own, a sample's
//! places along those of all peaks are one product with a constant, and so is the way back.

use super::builder::{Attribute, Builder, Tensor};
use crate::error::Result;
use crate::euot::answers::Transport;
use crate::formulas::Peaks;
use crate::formulas::axes::Part;
use crate::memory;

const MEMORY: &str = "the peaks of a graph";
/// The share below which a peak adds nothing to a logarithm.
const LEAST_SHARE: f64 = 1e-30;

/// The peaks of a transport.
pub(super) struct PeaksGraph<'a> {
    peaks: &'a Peaks,
    /// The axes of each peak's own (peaks d x d), where they have some.
    own: Option<Tensor>,
    /// Variance of the noise along each axis.
    noises: Vec<f64>,
    /// The noise in the units of V.
    noise: f64,
}

/// A peak along an axis.
struct Place {
    precision: f64,
    centre: f64,
    tilt: f64,
    /// Variance of the noise.
    noise: f64,
}

impl Place {
    /// Returns 1 + p sigma^2.
    fn factor(&self) -> f64 {
        1.0 + self.precision * self.noise
    }
}

impl<'a> PeaksGraph<'a> {
    /// Returns the peaks of a transport that has some.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn of(b: &mut Builder<'a>, transport: &'a Transport) -> Result<Option<Self>> {
        let Some(peaks) = &transport.bridge.peaks else { return Ok(None) };
        let sigma = &transport.axes.part(Part::Sigma)[..transport.dimension()];
        let noises = memory::collected(MEMORY, sigma.iter().map(|&sigma| f64::from(sigma).powi(2)))?;
        let sizes = [peaks.count() * noises.len(), noises.len()];
        let own = peaks.axes.as_ref().map(|axes| b.constant(&sizes, axes.numbers()));
        Ok(Some(Self { peaks, own, noises, noise: transport.axes.noise }))
    }

    /// Returns whether peaks have axes of their own, along which the plan's numbers are then.
    pub fn is_turned(&self) -> bool {
        self.own.is_some()
    }

    fn at(&self, k: usize, j: usize) -> Place {
        let (at, Peaks { precisions, centres, tilts, .. }) = (k * self.noises.len() + j, self.peaks);
        Place { precision: precisions[at], centre: centres[at], tilt: tilts[at], noise: self.noises[j] }
    }

    /// Returns a constant of the first `count` peaks along each axis (peaks x d).
    fn constant(&self, b: &mut Builder, count: usize, of: impl Fn(Place) -> f64) -> Result<Tensor> {
        let d = self.noises.len();
        let numbers = memory::collected(MEMORY, (0..count * d).map(|at| of(self.at(at / d, at % d)) as f32))?;
        Ok(b.constant(&[count, d], numbers))
    }

    /// Returns x - centre of the first `count` peaks (rows x peaks x d), which are all where these have axes of their own. x is as
    /// networks see it (rows x d).
    fn away(&self, b: &mut Builder, count: usize, x: Tensor) -> Result<Tensor> {
        let d = self.noises.len();
        let x = match self.own {
            None => b.reshape(x, &[1, d]),
            Some(own) => {
                let along = b.operator("Gemm", &[x, own], &[("transB", Attribute::Int(1))]);
                b.reshape(along, &[count, d])
            }
        };
        let centres = self.constant(b, count, |place| place.centre)?;
        Ok(b.sub(x, centres))
    }

    /// Returns the part of V' (rows x 1) and of its gradient (rows x d) at states as networks see them (rows x d). `left`
    /// is 1 - t' of each axis, or of all in one column.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn value(&self, b: &mut Builder, x: Tensor, left: Tensor) -> Result<[Tensor; 2]> {
        let count = self.peaks.count();
        let noise = self.noise_left(b, left)?;
        let away = self.away(b, count, x)?;
        let precision = self.constant(b, count, |place| place.precision)?;
        let tilt = self.constant(b, count, |place| place.tilt)?;
        let factor = b.mul(noise, precision);
        let factor = b.plus(factor, 1.0);
        let slope = b.mul(away, precision);
        let slope = b.sub(slope, tilt);
        // p z^2 - 2 h z - n h^2.
        let square = b.mul(slope, away);
        let low = b.mul(noise, tilt);
        let low = b.add(low, away);
        let low = b.mul(low, tilt);
        let square = b.sub(square, low);
        let square = b.plain("Div", &[square, factor]);
        let terms = b.plain("Log", &[factor]);
        let terms = b.add(square, terms);
        let sum = b.sum(terms, 2, false);
        let sum = b.times(sum, -0.5);
        let weights = memory::collected(MEMORY, self.peaks.weights.iter().map(|&weight| weight as f32))?;
        let weights = b.constant(&[1, count], weights);
        let logs = b.add(sum, weights);

        let shares = b.operator("Softmax", &[logs], &[("axis", Attribute::Int(1))]);
        // Each peak's logarithm less that of its share is the logarithm of the sum. Their mean by shares leaves out the
        // peaks whose shares are too small.
        let least = b.number(LEAST_SHARE);
        let share = b.plain("Max", &[shares, least]);
        let share = b.plain("Log", &[share]);
        let whole = b.sub(logs, share);
        let whole = b.mul(whole, shares);
        let whole = b.sum(whole, 1, true);
        let value = b.times(whole, -self.noise);

        let slope = b.plain("Div", &[slope, factor]);
        let shares = b.reshape(shares, &[count, 1]);
        let parts = b.mul(slope, shares);
        let gradient = if self.is_turned() { self.across(b, parts) } else { b.sum(parts, 1, false) };
        Ok([value, b.times(gradient, self.noise)])
    }

    /// Returns the variance of the noise that is left (rows x 1 x d), or in one column where it is the same along all axes.
    fn noise_left(&self, b: &mut Builder, left: Tensor) -> Result<Tensor> {
        if self.is_turned() {
            let left = b.slice(left, 1, 0..1);
            let noise = b.times(left, self.noises[0]);
            return Ok(b.reshape(noise, &[1, 1]));
        }
        let d = self.noises.len();
        let noises = memory::collected(MEMORY, self.noises.iter().map(|&noise| noise as f32))?;
        let noises = b.constant(&[1, d], noises);
        let noise = b.mul(left, noises);
        Ok(b.reshape(noise, &[1, d]))
    }

    /// Returns the sum of points along the axes of each peak's own (rows x peaks x d, of any shape) along those of the problem
    /// (rows x d).
    fn across(&self, b: &mut Builder, places: Tensor) -> Tensor {
        let own = self.own.expect("axes of each peak's own");
        let places = b.reshape(places, &[self.peaks.count() * self.noises.len()]);
        b.plain("MatMul", &[places, own])
    }

    /// Returns points along the axes of the peak that each row's component has (rows x d) along those of the problem. `chosen` is 1
    /// for that component and 0 for others (rows x components), where there are several.
    pub fn turned_back(&self, b: &mut Builder, point: Tensor, chosen: Option<Tensor>, components: usize) -> Tensor {
        let Some(chosen) = chosen else { return self.across(b, point) };
        let chosen = self.of_peaks(b, chosen, components, 1);
        let chosen = b.reshape(chosen, &[self.peaks.count(), 1]);
        let point = b.reshape(point, &[1, self.noises.len()]);
        let places = b.mul(point, chosen);
        self.across(b, places)
    }

    /// Returns the sum of the components' points, each along the axes of its peak (rows x components x d), along those of the
    /// problem (rows x d).
    pub fn sum_turned_back(&self, b: &mut Builder, points: Tensor, components: usize) -> Tensor {
        let places = self.of_peaks(b, points, components, self.noises.len());
        self.across(b, places)
    }

    /// Returns the sums over the components of each peak (rows x peaks `each`) of so many numbers of each component.
    fn of_peaks(&self, b: &mut Builder, x: Tensor, components: usize, each: usize) -> Tensor {
        let count = self.peaks.count();
        let times = components.div_ceil(count);
        if times == 1 {
            return x;
        }
        let flat = b.reshape(x, &[components * each]);
        let missing = (times * count - components) * each;
        let whole = if missing > 0 {
            let room = b.list(&[0, 0, 0, missing as i64]);
            b.plain("Pad", &[flat, room])
        } else {
            flat
        };
        let again = b.reshape(whole, &[times, count * each]);
        b.sum(again, 1, false)
    }

    /// Returns what the plan adds to a generator's outputs for source samples as networks see them (rows x d): to the
    /// numbers of the components (rows x components 2 d), and to their logits (rows x components) where there are
    /// several. Numbers of a component whose peak has axes of its own are along these.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn plan(&self, b: &mut Builder, x0: Tensor, components: usize) -> Result<(Tensor, Option<Tensor>)> {
        let d = self.noises.len();
        let count = self.peaks.count().min(components);
        let away = self.away(b, count, x0)?;
        let factors = self.constant(b, count, |place| -place.noise * place.precision / place.factor())?;
        let means = b.mul(away, factors);
        let room = b.list(&[0, 0, 0, 0, 0, d as i64]);
        let means = b.plain("Pad", &[means, room]);
        // What does not depend on the sample: of the mean, and the logarithm of the standard deviation.
        let fixed = |at: usize| {
            let place = self.at(at / (2 * d), at % d);
            let is_mean = at % (2 * d) < d;
            let log = || -0.5 * (place.precision * place.noise).ln_1p();
            (if is_mean { place.noise * place.tilt / place.factor() } else { log() }) as f32
        };
        let fixed = memory::collected(MEMORY, (0..count * 2 * d).map(fixed))?;
        let fixed = b.constant(&[count, 2 * d], fixed);
        let numbers = b.add(means, fixed);
        let numbers = repeated(b, numbers, count, components);
        let numbers = b.reshape(numbers, &[components * 2 * d]);
        if components == 1 {
            return Ok((numbers, None));
        }

        // -(p z^2 - 2 h z) / 2 over the factor; the rest is the same for all samples.
        let bends = self.constant(b, count, |place| -0.5 * place.precision / place.factor())?;
        let slopes = self.constant(b, count, |place| place.tilt / place.factor())?;
        let line = b.mul(away, bends);
        let line = b.add(line, slopes);
        let terms = b.mul(line, away);
        let sum = b.sum(terms, 2, false);
        let start = |k: usize| {
            let axis = |place: Place| {
                let Place { precision, tilt, noise, .. } = place;
                0.5 * (noise * tilt * tilt / place.factor() - (precision * noise).ln_1p())
            };
            let alike = (components - k).div_ceil(self.peaks.count()) as f64;
            let all = self.peaks.weights[k] - alike.ln() + (0..d).map(|j| axis(self.at(k, j))).sum::<f64>();
            all as f32
        };
        let start = memory::collected(MEMORY, (0..count).map(start))?;
        let start = b.constant(&[1, count], start);
        let logits = b.add(sum, start);
        Ok((numbers, Some(repeated(b, logits, count, components))))
    }
}

/// Returns the peaks of a tensor again and again along its second axis, until each component has one.
fn repeated(b: &mut Builder, x: Tensor, count: usize, components: usize) -> Tensor {
    let times = components.div_ceil(count);
    let all = b.concat(&vec![x; times]);
    if count * times == components { all } else { b.slice(all, 1, 0..components) }
}
