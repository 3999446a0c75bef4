//! The method: simulation-free entropic unbalanced optimal transport (Choi and Choi, arXiv 2410.02656), as a dual step
//! for the value function and a marginal-matching step for the generator.

pub(crate) mod answers;
mod bridge_axes;
pub mod conditional;
pub(crate) mod directions;
mod dual_climb;
mod fineness;
mod forms;
pub(crate) mod gaussian_bridge;
pub(crate) mod gaussian_pair;
pub mod generator_step;
pub(crate) mod halves;
pub(crate) mod initial;
mod likely_axes;
pub mod networks;
pub(crate) mod objective;
mod own_axes;
mod peak_shares;
mod peaks_fit;
pub(crate) mod picked;
mod settled_weights;
mod ticks;
mod turned_fit;
mod turned_peaks;
pub mod value_step;
mod whole_clusters;

#[cfg(test)]
mod tests;
