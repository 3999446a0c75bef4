//! Shapes of the two networks that the method trains against each other.

use super::conditional::Conditional;
use super::gaussian_bridge::GaussianBridge;
use crate::device::layout::Layout;
use crate::error::{Error, Result};
use crate::formulas::Head;
use crate::formulas::squares::Centre;
use crate::nn::network::Network;
use crate::nn::spec::NetworkSpec;

/// Outputs of the generator at most: its last layer must stay addressable too.
const MAX_OUTPUTS: usize = 1 << 24;

/// What shapes them.
pub(crate) struct Networks<'a> {
    pub conditional: Conditional,
    pub deterministic: bool,
    /// A network that sees squares counts them from the mean squares of this bridge.
    pub bridge: &'a GaussianBridge,
    pub value: NetworkSpec,
    pub generator: NetworkSpec,
}

impl Networks<'_> {
    /// For samples of `dimension` numbers the value function, inputs \[x, t\] and one output, and the generator, inputs
    /// \[x0, z\] and for each component of x1 given them a mean and, unless deterministic, a log-standard deviation for
    /// each number of a sample.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for components that are too many for the dimension; [`Error::OutOfMemory`].
    pub fn shapes(&self, dimension: usize) -> Result<(Network, Network)> {
        let [value, generator] = self.layouts(dimension)?;
        let [start, end] = &self.bridge.mean_squares;
        let centre = |spec: &NetworkSpec, end| match spec.squares {
            true => Centre::between(start, end),
            false => Ok(Centre::default()),
        };
        let [along, at_start] = [centre(&self.value, end)?, centre(&self.generator, start)?];
        Ok((
            Network::new(value, along, self.value.activation),
            Network::new(generator, at_start, self.generator.activation),
        ))
    }

    /// Where the weights of both lie, which takes no memory that grows with the dimension.
    ///
    /// # Errors
    /// As [`Self::shapes`].
    pub fn layouts(&self, dimension: usize) -> Result<[Layout; 2]> {
        let layout = |spec: &NetworkSpec, [inputs, outputs]: [usize; 2]| {
            spec.layout(inputs + if spec.squares { dimension } else { 0 }, outputs)
        };
        let [value, generator] = self.ends(dimension)?;
        Ok([layout(&self.value, value), layout(&self.generator, generator)])
    }

    /// Inputs, squares not counted, and outputs of both.
    fn ends(&self, dimension: usize) -> Result<[[usize; 2]; 2]> {
        let Conditional { components, latent } = self.conditional;
        let raw = Head::numbers(dimension, self.deterministic);
        let outputs = self.conditional.outputs(raw).filter(|&outputs| outputs <= MAX_OUTPUTS).ok_or_else(|| {
            Error::invalid(format!(
                "components is {components}, but must be from 1 to {} for samples of {dimension} numbers, so that the generator has at most {MAX_OUTPUTS} outputs, unless it has latents (latent_dimension above 0)",
                MAX_OUTPUTS / (raw + 1)
            ))
        })?;
        Ok([[dimension + 1, 1], [dimension + latent, outputs]])
    }
}
