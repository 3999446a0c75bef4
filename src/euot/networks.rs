//! Shapes of the two networks that the method trains against each other.

use crate::device::Activation;
use crate::nn::layout::Layout;
use crate::nn::mlp::Mlp;

/// Samples of at most this many components: layers as wide as the sample must stay addressable.
pub(crate) const MAX_DIMENSION: usize = 1 << 20;

/// The value function, inputs \[x, t\] and one output, and the generator, inputs \[x0, z\] and a mean with, unless
/// deterministic, a log-standard deviation for each component.
pub(crate) fn networks(
    dimension: usize,
    latent: usize,
    width: usize,
    hidden: usize,
    deterministic: bool,
    activation: Activation,
) -> (Mlp, Mlp) {
    let outputs = if deterministic { dimension } else { 2 * dimension };
    let value = Mlp { layout: Layout::new(dimension + 1, width, hidden, 1), activation };
    let generator = Mlp { layout: Layout::new(dimension + latent, width, hidden, outputs), activation };
    (value, generator)
}
