//! The clock of a problem whose axes have times of their own.
//!
//! Along an axis with contraction q, the moved bridge has the time t' = q t / (1 - t + q t): its odds are q times those
//! of t (`euot::gaussian_bridge`). Contractions of data with unequal spreads differ by orders of magnitude, so no clock
//! suits all axes. This one is the mean of the times t' over all contractions from the least to the largest, evenly in
//! their logarithms: with R their ratio and o the odds of t times the largest contraction,
//!
//! u = log((1 + o) / (1 + o / R)) / log R,   o = (R^u - 1) / (1 - R^(u-1)),   t'_j = o r_j / (1 + o r_j),
//!
//! where r_j is the axis's contraction over the largest. dt'_j / du is then never above log R times R / (R - 1). With R
//! = 1 all of these are u itself.
//!
//! Along the axis of the least contraction t' comes near 1 in the last of these times alone, and only there shows what its
//! samples are like. So the time s that networks see and rows are drawn by slows down towards the end, by a map twice:
//!
//! 1 - u = m(m(1 - s)),   m(v) = v (ease + (1 - ease) v),
//!
//! with an ease that follows from what the target's samples are like (`euot::fineness`).

use super::scalar::Scalar;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clock {
    log_range: f64,
    ease: f64,
}

/// A time of the clock as rows carry it: three numbers.
#[derive(Clone, Copy, Debug)]
pub struct Tick<T> {
    /// s, which the value function sees.
    pub time: T,
    /// The odds 1 / o against arrival.
    pub against: T,
    /// The speed of o over o^2.
    pub pace: T,
}

/// The least logarithm of a ratio that counts.
const LEAST_RANGE: f64 = 1e-9;

/// How often times go through m.
pub const STAGES: usize = 2;

impl Clock {
    /// The clock of axes that all have one contraction.
    pub const EVEN: Self = Self { log_range: 0.0, ease: 1.0 };

    /// Returns the clock of contractions whose largest is e^`log_range` times the least, with an ease from 0 to 1. Where
    /// contractions are as good as one, so are the times.
    pub fn new(log_range: f64, ease: f64) -> Self {
        Self { log_range: if log_range < LEAST_RANGE { 0.0 } else { log_range }, ease }
    }

    /// Returns log R.
    pub fn log_range(self) -> f64 {
        self.log_range
    }

    /// Returns the ease.
    pub fn ease(self) -> f64 {
        self.ease
    }

    /// Returns the clock that does not slow down.
    pub fn without_ease(self) -> Self {
        Self { ease: 1.0, ..self }
    }

    /// Returns what rows at time s from 0 to 1 carry. The odds at 0 are infinite, so the earliest time is one whose square
    /// is still a number.
    pub fn at<T: Scalar>(self, time: T) -> Tick<T> {
        let s = time.max(T::min_positive_value().sqrt()).wide();
        let range = self.log_range;
        // 1 - m(v) is (1 - v) (1 + (1 - ease) v), which keeps the digits of a small u.
        let (mut u, mut rest, mut speed) = (s, 1.0 - s, 1.0);
        if self.ease < 1.0 {
            let bend = 1.0 - self.ease;
            for _ in 0..STAGES {
                speed *= self.ease + 2.0 * (bend * rest);
                u *= 1.0 + bend * rest;
                rest *= self.ease + bend * rest;
            }
        }
        let (against, pace) = if range == 0.0 {
            (rest / u, 1.0 / (u * u))
        } else {
            let (come, left) = ((range * u).exp_m1(), -(range * -rest).exp_m1());
            let against = left / come;
            (against, range / come * ((1.0 + come) * against + (1.0 - left)))
        };
        Tick { time, against: T::of(against), pace: T::of(pace * speed) }
    }

    /// Returns s where the time along the axis with the least contraction is this.
    pub fn of_slowest(self, time: f64) -> f64 {
        self.read([1.0 - time, time], [1.0, self.log_range.exp()])
    }

    /// Returns what is left of u at these odds against arrival, of the axis with the largest contraction.
    pub fn left(self, against: f64) -> f64 {
        if against == f64::INFINITY {
            1.0
        } else if self.log_range == 0.0 {
            against / (1.0 + against)
        } else {
            ((self.log_range.exp() * against).ln_1p() - against.ln_1p()) / self.log_range
        }
    }

    /// Returns s where 1 - t and t, of the problem itself, and the least and the largest contraction are these.
    pub fn read(self, [rest, time]: [f64; 2], [least, largest]: [f64; 2]) -> f64 {
        let [slow, fast] = [least, largest].map(|q| rest + q * time);
        let [u, left] = if self.log_range == 0.0 {
            [least * time / slow, rest / slow]
        } else {
            // Logarithms of ratios that may be nearly 1.
            let apart = largest - least;
            [apart * time / slow, apart / least * rest / fast].map(|ratio| ratio.ln_1p() / self.log_range)
        };
        if self.ease == 1.0 {
            return u;
        }
        // 1 - v and v where m(v) is 1 - u, each in a form that keeps its digits where it is small.
        let bend = 1.0 - self.ease;
        let stage = |[u, left]: [f64; 2], _| {
            let root = (self.ease * self.ease + 4.0 * bend * left).sqrt();
            [2.0 * u / (1.0 + bend + root), 2.0 * left / (self.ease + root)]
        };
        (0..STAGES).fold([u, left], stage)[0]
    }
}

impl<T: Scalar> Tick<T> {
    /// How many numbers a row carries.
    pub const NUMBERS: usize = 3;

    /// Returns the numbers of a row.
    pub fn row(self) -> [T; 3] {
        [self.time, self.against, self.pace]
    }

    /// Takes the numbers of a row.
    #[inline(always)]
    pub fn of(row: &[T]) -> Self {
        Self { time: row[0], against: row[1], pace: row[2] }
    }

    /// Returns t', 1 - t' and dt'/ds along an axis of this rate, its contraction over the largest.
    #[inline(always)]
    pub fn along(self, rate: T) -> [T; 3] {
        let all = rate + self.against;
        [rate / all, self.against / all, rate / all * (self.pace / all)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;
    use proptest::prelude::*;

    proptest! {
        /// Every axis goes from 0 to 1, at the speed that it is said to have, and s is the time that `read` tells.
        #[test]
        fn an_axis_has_the_odds_of_its_contraction(
            range in 0.0f64..25.0, s in 0.01f64..0.99, share in 0.0f64..1.0, ease in prop_oneof![Just(1.0), 0.01f64..1.0],
        ) {
            let clock = Clock::new(range, ease);
            let rate = (-share * range).exp();
            let [time, rest, speed] = clock.at(s).along(rate);
            prop_assert!((time + rest - 1.0f64).abs() < 1e-12);
            let step = 1e-5;
            let [later, ..]: [f64; 3] = clock.at(s + step).along(rate);
            let [earlier, ..] = clock.at(s - step).along(rate);
            let expected = (later - earlier) / (2.0 * step);
            prop_assert!((speed - expected).abs() < 1e-3 * (1.0 + expected), "{speed} {expected}");
            let most = (2.0 - ease).powi(2) * (range / (1.0 - (-range).exp())).max(1.0);
            prop_assert!(speed <= most * (1.0 + 1e-9), "{speed}");
            let even = clock.without_ease();
            assert_relative_eq!(even.left(even.at(s).against), 1.0 - s, max_relative = 1e-6);
            // t from the odds of the axis whose contraction is 1.
            let against = clock.at(s).against;
            let [rest, t] = [against, 1.0].map(|part| part / (1.0 + against));
            assert_relative_eq!(clock.read([rest, t], [(-range).exp(), 1.0]), s, max_relative = 1e-6);
            let [slow, ..] = clock.at(clock.of_slowest(t)).along((-range).exp());
            assert_relative_eq!(slow, t, max_relative = 1e-6);
        }

        /// Contractions that differ by rounding have the time of one.
        #[test]
        fn nearly_equal_contractions_have_one_time(q in 0.01f64..100.0, ulps in 0i32..1000, t in 0.0f64..1.0) {
            let other = q * (1.0 + f64::from(ulps) * f64::EPSILON);
            let clock = Clock::new(((other - q) / q).ln_1p(), 1.0);
            assert_relative_eq!(clock.read([1.0 - t, t], [q, other]), q * t / (1.0 - t + q * t), max_relative = 1e-9);
        }
    }

    #[test]
    fn all_of_the_clock_is_left_at_its_start() {
        for clock in [Clock::EVEN, Clock::new(9.0, 1.0), Clock::new(55.0, 0.1)] {
            assert_eq!([clock.left(f64::INFINITY), clock.left(0.0)], [1.0, 0.0]);
        }
    }

    #[test]
    fn even_axes_have_the_time_of_the_clock() {
        for s in [0.0, 1e-9, 0.25, 0.995, 1.0] {
            let [time, rest, speed] = Clock::EVEN.at(s).along(1.0f64);
            assert!((time - s).abs() <= 1e-12 * s + 1e-17);
            assert!((rest - (1.0 - s)).abs() < 1e-12 && (speed - 1.0).abs() < 1e-9);
        }
        for (range, ease) in [(0.0, 1.0), (0.0, 0.5), (1e-3, 1.0), (9.0, 1.0), (25.0, 1.0), (25.0, 1e-2)] {
            let clock = Clock::new(range, ease);
            let [time, rest, _] = clock.at(1.0f32).along((-range).exp() as f32);
            assert_eq!([time, rest], [1.0, 0.0]);
            let start = clock.at(0.0f32).along(1.0);
            assert!(start[0] < 1e-15 && start[1] == 1.0 && start[2].is_finite() && start[2] > 0.0, "{start:?}");
            let ends = [[1.0, 0.0], [0.0, 1.0]].map(|ends| clock.read(ends, [(-range).exp(), 1.0]));
            assert!(ends[0] == 0.0 && (ends[1] - 1.0).abs() < 1e-12, "{ends:?}");
        }
    }
}
