//! Shapes of the two networks that the method trains against each other.

use super::conditional::Conditional;
use super::gaussian_bridge::GaussianBridge;
use crate::device::layout::Layout;
use crate::error::{Error, Result};
use crate::formulas::squares::Centre;
use crate::formulas::{Activation, Head};
use crate::nn::network::Mlp;

/// Outputs of the generator at most: its last layer must stay addressable too.
const MAX_OUTPUTS: usize = 1 << 24;

/// What shapes them.
pub(crate) struct Networks<'a> {
    pub conditional: Conditional,
    pub deterministic: bool,
    /// Both see the squares of a sample's numbers too, counted from the mean squares of this bridge; without, they do not.
    pub centred_by: Option<&'a GaussianBridge>,
    pub width: usize,
    pub hidden: usize,
    pub activation: Activation,
}

impl Networks<'_> {
    /// For samples of `dimension` numbers the value function, inputs \[x, t\] and one output, and the generator, inputs \[x0, z\]
    /// and for each component of x1 given them a mean and, unless deterministic, a log-standard deviation for each number of a
    /// sample.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for components that are too many for the dimension; [`Error::OutOfMemory`].
    pub fn shapes(&self, dimension: usize) -> Result<(Mlp, Mlp)> {
        let [value, generator] = self.ends(dimension)?;
        let [along, at_start] = match self.centred_by {
            None => [Centre::default(), Centre::default()],
            Some(bridge) => {
                let [start, end] = &bridge.mean_squares;
                [Centre::between(start, end)?, Centre::between(start, start)?]
            }
        };
        let mlp = |[inputs, outputs]: [usize; 2], centre| {
            Mlp::new(inputs, centre, self.width, self.hidden, outputs, self.activation)
        };
        Ok((mlp(value, along), mlp(generator, at_start)))
    }

    /// Where the weights of both lie, which takes no memory that grows with the dimension.
    ///
    /// # Errors
    /// As [`Self::shapes`].
    pub fn layouts(&self, dimension: usize) -> Result<[Layout; 2]> {
        let squares = if self.centred_by.is_some() { dimension } else { 0 };
        let ends = self.ends(dimension)?;
        Ok(ends.map(|[inputs, outputs]| Layout::new(inputs + squares, self.width, self.hidden, outputs)))
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
