//! Steps up the dual L of peaks, which have samples of both sides: with shares of these, each peak has a closed form,
//! and from the peaks follow the shares.

use crate::error::Result;

/// The part of a step below which none is tried, and the largest: steps of this kind go on for long in one direction
/// where peaks overlap (Salakhutdinov and Roweis, *Adaptive overrelaxed bound optimization methods*, ICML 2003).
const LEAST_PART: f64 = 0.04;
const LARGEST_PART: f64 = 4.0;
/// By how much a part grows after one that gained something.
const GROWTH: f64 = 1.2;
/// The gain of L that one of so many rounds has to have, or they are the last with their noise.
const GAIN: f64 = 1e-4;
const IDLE: usize = 3;
/// Rounds of weights alone once peaks were made for another noise.
const LEVELLING: usize = 3;

/// Peaks with what they have of both sides, source and target.
pub(super) struct Round<E, S> {
    pub exponents: E,
    pub sides: [S; 2],
    /// L.
    pub dual: f64,
}

/// The samples of both sides and the noise between them.
pub(super) trait Climb {
    /// Peaks.
    type Exponents;
    /// What peaks have of a side.
    type Side;

    /// Returns what peaks have of both sides.
    fn sides(&self, exponents: &Self::Exponents) -> Result<[Self::Side; 2]>;

    /// Returns the mean of the logarithm of the peaks' sum over a side.
    fn log(side: &Self::Side) -> f64;

    /// Returns the peaks with the closed form between what each has of both sides, where they were others before or
    /// none.
    fn closed(&self, sides: &[Self::Side; 2], before: Option<&Self::Exponents>) -> Result<Self::Exponents>;

    /// Returns peaks with weights for which the shares of both sides agree better.
    fn levelled(&self, exponents: &Self::Exponents, sides: &[Self::Side; 2]) -> Result<Self::Exponents>;

    /// Returns what lies so far on the way from some peaks to others, or as far beyond as peaks may be.
    fn between(&self, from: &Self::Exponents, to: &Self::Exponents, part: f64) -> Result<Self::Exponents>;

    /// Returns a round with these peaks.
    fn round(&self, exponents: Self::Exponents) -> Result<Round<Self::Exponents, Self::Side>> {
        let sides = self.sides(&exponents)?;
        let dual = Self::log(&sides[1]) - Self::log(&sides[0]);
        Ok(Round { exponents, sides, dual })
    }

    /// Returns the first round with this noise, for peaks that had these parts of both sides with another.
    fn carried(&self, sides: &[Self::Side; 2]) -> Result<Round<Self::Exponents, Self::Side>> {
        let mut round = self.round(self.closed(sides, None)?)?;
        for _ in 0..LEVELLING {
            round = self.round(self.levelled(&round.exponents, &round.sides)?)?;
        }
        Ok(round)
    }

    /// Goes on from a round while it gains something, with at most so many passes over the samples.
    fn improved(
        &self,
        mut round: Round<Self::Exponents, Self::Side>,
        most: usize,
    ) -> Result<Round<Self::Exponents, Self::Side>> {
        let (mut part, mut idle, mut passes) = (1.0f64, 0, 0);
        while passes < most {
            let whole = self.closed(&round.sides, Some(&round.exponents))?;
            let before = round.dual;
            while part >= LEAST_PART && passes < most {
                passes += 1;
                let next = self.round(self.between(&round.exponents, &whole, part)?)?;
                if next.dual > before {
                    round = next;
                    break;
                }
                part *= 0.5;
            }
            idle = if round.dual - before < GAIN { idle + 1 } else { 0 };
            if part < LEAST_PART || idle == IDLE {
                break;
            }
            part = (GROWTH * part).min(LARGEST_PART);
        }
        Ok(round)
    }
}
