//! Shapes of the two networks that the method trains against each other.

use super::conditional::Conditional;
use super::gaussian_bridge::GaussianBridge;
use crate::device::layout::Layout;
use crate::error::{Error, Result};
use crate::formulas::Head;
use crate::formulas::squares::Centre;
use crate::nn::network::Network;
use crate::nn::spec::NetworkSpec;

/// The largest number of the generator's outputs: its last layer must stay addressable too.
const MAX_OUTPUTS: usize = 1 << 24;

/// What determines their shapes.
pub(crate) struct Networks<'a> {
    pub conditional: Conditional,
    pub deterministic: bool,
    /// A network that sees squares counts them from the mean squares of this bridge.
    pub bridge: &'a GaussianBridge,
    pub value: NetworkSpec,
    pub generator: NetworkSpec,
}

impl Networks<'_> {
    /// Returns the value function and the generator for samples of `dimension` numbers. The value function has the
    /// inputs \[x, t\] and one output. The generator has the inputs \[x0, z\]. For each component of x1 it gives a mean
    /// and, unless deterministic, a log-standard deviation for each number of a sample.
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

    /// Returns where the weights of both lie. This takes no memory that grows with the dimension.
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

    /// Returns the numbers of inputs (without squares) and of outputs of both.
    fn ends(&self, dimension: usize) -> Result<[[usize; 2]; 2]> {
        let Conditional { components, latent } = self.conditional;
        let raw = Head { deterministic: self.deterministic }.raw(dimension);
        let outputs = self.conditional.outputs(raw).filter(|&outputs| outputs <= MAX_OUTPUTS).ok_or_else(|| {
            Error::invalid(format!(
                "components is {components}, but must be from 1 to {} for samples of {dimension} numbers, so that the generator has at most {MAX_OUTPUTS} outputs, unless it has latents (latent_dimension above 0)",
                MAX_OUTPUTS / (raw + 1)
            ))
        })?;
        Ok([[dimension + 1, 1], [dimension + latent, outputs]])
    }
}
