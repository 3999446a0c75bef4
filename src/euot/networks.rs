//! Shapes of the two networks that the method trains against each other.

use super::conditional::Conditional;
use super::gaussian_bridge::GaussianBridge;
use crate::device::layout::Layout;
use crate::error::{Error, Result};
use crate::formulas::Head;
use crate::formulas::squares::Centre;
use crate::nn::convolutions::Convolutions;
use crate::nn::graph::Graph;
use crate::nn::network::Network;
use crate::nn::pictures::Role;
use crate::nn::spec::NetworkSpec;

/// The largest number of the generator's outputs: its last layer must stay addressable too.
const MAX_OUTPUTS: usize = 1 << 24;

/// A convolutional value function is its network's output times this for each number of a sample, in the units that it
/// sees. Costs are sums over the numbers, and a network's output is about 1.
const VALUE_OF_NUMBER: f64 = 0.5;

/// The most numbers that a convolutional network may keep of a picture: a gigabyte.
const MOST_TAPE: usize = 1 << 28;

/// What determines their shapes.
pub(crate) struct Networks<'a> {
    pub conditional: Conditional,
    pub deterministic: bool,
    /// A network that sees squares counts them from the mean squares of this bridge.
    pub bridge: &'a GaussianBridge,
    pub value: NetworkSpec,
    pub generator: NetworkSpec,
    /// Length in data units that is 1 for the networks.
    pub unit: f64,
}

impl Networks<'_> {
    /// Returns the value function and the generator for samples of `dimension` numbers. The value function has the
    /// inputs \[x, t\] and one output. The generator has the inputs \[x0, z\]. For each component of x1 it gives a mean
    /// and, unless deterministic, a log-standard deviation for each number of a sample.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for components that are too many for the dimension, and for pictures of another size;
    /// [`Error::OutOfMemory`].
    pub fn shapes(&self, dimension: usize) -> Result<(Network, Network)> {
        let [(value, of_value), (generator, of_generator)] = self.built(dimension)?;
        let [start, end] = &self.bridge.mean_squares;
        let centre = |spec: &NetworkSpec, end| match sees_squares(spec) {
            true => Centre::between(start, end),
            false => Ok(Centre::default()),
        };
        let network = |layout, graph, centre, activation| match graph {
            Some(graph) => Network::of_graph(layout, graph, activation),
            None => Network::new(layout, centre, activation),
        };
        let [along, at_start] = [centre(&self.value, end)?, centre(&self.generator, start)?];
        Ok((
            network(value, of_value, along, self.value.activation),
            network(generator, of_generator, at_start, self.generator.activation),
        ))
    }

    /// Returns where the weights of both lie. This takes no memory that grows with the dimension.
    ///
    /// # Errors
    /// As [`Self::shapes`].
    pub fn layouts(&self, dimension: usize) -> Result<[Layout; 2]> {
        Ok(self.built(dimension)?.map(|(layout, _)| layout))
    }

    /// Returns the layers of both, with the graphs that they form where they do not follow each other.
    fn built(&self, dimension: usize) -> Result<[(Layout, Option<Graph>); 2]> {
        let build = |spec: &NetworkSpec, [inputs, outputs]: [usize; 2], role| match spec.convolutions() {
            None => {
                let squares = if spec.squares { dimension } else { 0 };
                Ok((spec.layout(inputs + squares, outputs), None))
            }
            Some(form) if form.numbers() == dimension => {
                let (layout, graph) = form.build(role, spec.activation);
                let tape = graph.widths()[0];
                if tape > MOST_TAPE {
                    let Convolutions { picture, channels, levels, blocks, .. } = form;
                    return Err(Error::invalid(format!(
                        "a convolutional network with channels {channels}, levels {levels} and blocks {blocks} keeps {tape} \
                         numbers of a picture {picture:?}, but may keep {MOST_TAPE}"
                    )));
                }
                Ok((layout, Some(graph)))
            }
            Some(form) => Err(Error::invalid(format!(
                "a convolutional network is for pictures of {:?} numbers, but the samples have {dimension}",
                form.picture
            ))),
        };
        let [value, generator] = self.ends(dimension)?;
        let range = self.generator.convolutions().and_then(|form| form.range);
        let half = range.map(|[low, high]| 0.5 * (high - low) / self.unit);
        Ok([
            build(&self.value, value, Role::Value(VALUE_OF_NUMBER * dimension as f64))?,
            build(&self.generator, generator, Role::Generator(self.conditional.latent, half))?,
        ])
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

/// Returns whether a network sees the squares of a sample's numbers.
fn sees_squares(spec: &NetworkSpec) -> bool {
    spec.squares && spec.convolutions().is_none()
}
