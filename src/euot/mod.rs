//! The method: simulation-free entropic unbalanced optimal transport (Choi and Choi, arXiv 2410.02656), as a dual step
//! for the value function and a marginal-matching step for the generator.

pub(crate) mod answers;
pub mod conditional;
pub(crate) mod directions;
mod fineness;
pub(crate) mod gaussian_bridge;
pub(crate) mod gaussian_pair;
pub mod generator_step;
pub(crate) mod halves;
pub(crate) mod initial;
mod likely_axes;
pub mod networks;
pub(crate) mod objective;
mod peak_shares;
mod peaks_fit;
mod picked;
mod ticks;
pub mod value_step;

#[cfg(test)]
mod tests;
