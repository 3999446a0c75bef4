//! Shapes of the two networks that the method trains against each other.

use super::conditional::Conditional;
use crate::device::{Activation, Head};
use crate::nn::layout::Layout;
use crate::nn::mlp::Mlp;

/// Outputs of the generator at most: its last layer must stay addressable too.
const MAX_OUTPUTS: usize = 1 << 24;

/// Samples of at most this many numbers: layers as wide as the sample must stay addressable.
pub(crate) const MAX_DIMENSION: usize = 1 << 20;

/// The value function, inputs \[x, t\] and one output, and the generator, inputs \[x0, z\] and for each component of x1 given them a
/// mean and, unless deterministic, a log-standard deviation for each number of a sample.
///
/// # Errors
/// Components that are too many for the dimension.
pub(crate) fn networks(
    dimension: usize,
    conditional: Conditional,
    width: usize,
    hidden: usize,
    deterministic: bool,
    activation: Activation,
) -> Result<(Mlp, Mlp), String> {
    let Conditional { components, .. } = conditional;
    let raw = Head::numbers(dimension, deterministic);
    let outputs = conditional.outputs(raw).filter(|&outputs| outputs <= MAX_OUTPUTS).ok_or_else(|| {
        format!(
            "components is {components}, but must be from 1 to {} for samples of {dimension} numbers, so that the generator has at most {MAX_OUTPUTS} outputs, unless it has latents (latent_dimension above 0)",
            MAX_OUTPUTS / (raw + 1)
        )
    })?;
    let value = Mlp { layout: Layout::new(dimension + 1, width, hidden, 1), activation };
    let generator = Mlp { layout: Layout::new(dimension + conditional.latent, width, hidden, outputs), activation };
    Ok((value, generator))
}
