//! What a graph computes.

/// The operator set of the graphs.
pub const OPERATOR_SET: u64 = 13;

/// What a graph computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnnxGraph {
    /// One draw of x1 for each source sample, from noise that comes in as inputs.
    Generate,
    /// The mean of x1 for each source sample. With latents it is the mean over `latents` of them, the same for every row:
    /// those that [`crate::Session::conditional_mean`] draws with this seed for the row of this number.
    Mean {
        /// Number of latents, from 1 to 4096. Without latents in the model it means nothing.
        latents: usize,
        /// Seed of the latents.
        seed: u64,
        /// Number of the row whose latents are taken.
        row: u64,
    },
    /// V(t, x) and the drift -grad V(t, x).
    Value,
}
