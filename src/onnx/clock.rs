//! The clock of a problem whose axes have times of their own, as operators (`formulas::clock`).

use super::builder::{Builder, Tensor};
use crate::euot::gaussian_bridge::GaussianBridge;
use crate::formulas::clock::STAGES;

/// Below this logarithm of the ratio of contractions, a series is more exact than a logarithm of 32 bits.
const SERIES: f64 = 0.5;

/// Returns the clock's time for the column t and its rest.
pub(super) fn read(b: &mut Builder, bridge: &GaussianBridge, t: Tensor, rest: Tensor) -> Tensor {
    let [least, largest] = bridge.extremes();
    let (range, ease) = (bridge.clock().log_range(), bridge.clock().ease());
    let slow = b.times(t, least);
    let under = b.add(rest, slow);
    let time = if range == 0.0 {
        b.plain("Div", &[slow, under])
    } else {
        let above = b.times(t, largest - least);
        let ratio = b.plain("Div", &[above, under]);
        log_of_more(b, ratio, range)
    };
    if ease == 1.0 {
        return time;
    }
    let left = if range == 0.0 {
        b.plain("Div", &[rest, under])
    } else {
        let above = b.times(rest, (largest - least) / least);
        let fast = b.times(t, largest);
        let under = b.add(rest, fast);
        let ratio = b.plain("Div", &[above, under]);
        log_of_little_more(b, ratio, range)
    };
    eased(b, time, left, ease)
}

/// Returns log(1 + r) / range for a column r from 0 to e^range - 1.
fn log_of_more(b: &mut Builder, ratio: Tensor, range: f64) -> Tensor {
    let log = if range > SERIES {
        let whole = b.plus(ratio, 1.0);
        b.plain("Log", &[whole])
    } else {
        series(b, ratio)
    };
    b.times(log, 1.0 / range)
}

/// Returns the same with all digits of a small r, which the two stages of [`eased`] may make many times as large.
fn log_of_little_more(b: &mut Builder, ratio: Tensor, range: f64) -> Tensor {
    let most = b.number(SERIES.exp_m1());
    let little = b.plain("Min", &[ratio, most]);
    let [whole, by] = [ratio, little].map(|r| b.plus(r, 1.0));
    let rest = b.plain("Div", &[whole, by]);
    let rest = b.plain("Log", &[rest]);
    let log = series(b, little);
    let log = b.add(log, rest);
    b.times(log, 1.0 / range)
}

/// Returns log(1 + r) = 2 (u + u^3 / 3 + ..) with u = r / (2 + r), which is at most a quarter.
fn series(b: &mut Builder, ratio: Tensor) -> Tensor {
    let under = b.plus(ratio, 2.0);
    let u = b.plain("Div", &[ratio, under]);
    let square = b.mul(u, u);
    let mut sum = b.number(2.0 / 11.0);
    for odd in [9.0, 7.0, 5.0, 3.0, 1.0] {
        let product = b.mul(sum, square);
        sum = b.plus(product, 2.0 / odd);
    }
    b.mul(sum, u)
}

/// Returns the time of a clock that slows down, where `time` is that of one that does not, and `left` 1 less it.
fn eased(b: &mut Builder, mut time: Tensor, mut left: Tensor, ease: f64) -> Tensor {
    let bend = 1.0 - ease;
    for _ in 0..STAGES {
        let square = b.times(left, 4.0 * bend);
        let square = b.plus(square, ease * ease);
        let root = b.plain("Sqrt", &[square]);
        let [above, under] = [b.times(time, 2.0), b.plus(root, 1.0 + bend)];
        time = b.plain("Div", &[above, under]);
        let [above, under] = [b.times(left, 2.0), b.plus(root, ease)];
        left = b.plain("Div", &[above, under]);
    }
    time
}
