//! The layers of a network: what each computes, and where its weights and biases lie in the flat parameter vector.

use std::ops::Range;

/// The largest number of hidden layers of a network. The bound lets the passes keep their handles on the stack.
pub const MAX_HIDDEN: usize = 16;

/// The affine map that a layer applies to each row, before any activation. Code that computes with the numbers of a map
/// matches on it, so that the compiler names every place that a further kind of map needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Map {
    /// x W + b. W lies by rows, one for each input.
    Dense {
        /// Rows of W.
        inputs: usize,
        /// Columns of W, and length of b.
        outputs: usize,
    },
    /// A convolution of each row, which is a picture.
    Conv(Conv),
}

/// The size of a picture. A row of a matrix that holds one has the channels of a pixel beside each other, pixels by
/// rows of the picture, nothing between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows of pixels.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Numbers of a pixel.
    pub channels: usize,
}

impl Shape {
    /// Returns how many numbers the picture has.
    pub fn numbers(&self) -> usize {
        self.height * self.width * self.channels
    }
}

/// A convolution: out(y, x) = b + sum over taps (i, j) of in(stride y + i - side / 2, stride x + j - side / 2) W_ij,
/// where pixels beyond the edges are zero. Its weights are the W_ij (inputs x outputs, by rows), one tap after the
/// other by rows of taps; its biases are one for each output channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv {
    /// The picture that it takes.
    pub from: Shape,
    /// Channels that it gives.
    pub channels: usize,
    /// Taps along each side: 1 or 3.
    pub side: usize,
    /// Distance of the places where it is computed, in pixels: 1 or 2.
    pub stride: usize,
}

impl Conv {
    /// Returns the picture that it gives.
    pub fn to(&self) -> Shape {
        let [height, width] = [self.from.height, self.from.width].map(|side| side.div_ceil(self.stride));
        Shape { height, width, channels: self.channels }
    }

    /// Returns how many taps it has.
    pub fn taps(&self) -> usize {
        self.side * self.side
    }
}

/// One layer: its map, and where its parameters lie. The biases follow the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// What it computes.
    pub map: Map,
    /// Index of the first weight in the flat parameter vector.
    pub offset: usize,
}

impl Layer {
    /// Numbers in a row that the layer takes.
    #[inline]
    pub fn inputs(&self) -> usize {
        match self.map {
            Map::Dense { inputs, .. } => inputs,
            Map::Conv(conv) => conv.from.numbers(),
        }
    }

    /// Numbers in a row that the layer gives.
    #[inline]
    pub fn outputs(&self) -> usize {
        match self.map {
            Map::Dense { outputs, .. } => outputs,
            Map::Conv(conv) => conv.to().numbers(),
        }
    }

    /// Returns whether it is a convolution.
    pub fn is_convolution(&self) -> bool {
        matches!(self.map, Map::Conv(_))
    }

    /// Returns how many products add up to one output. Initial weights are scaled by it.
    pub fn fan_in(&self) -> usize {
        match self.map {
            Map::Dense { inputs, .. } => inputs,
            Map::Conv(conv) => conv.taps() * conv.from.channels,
        }
    }

    /// Indices of the weights.
    #[inline]
    pub fn weights(&self) -> Range<usize> {
        let count = match self.map {
            Map::Dense { inputs, outputs } => inputs * outputs,
            Map::Conv(conv) => conv.taps() * conv.from.channels * conv.channels,
        };
        self.offset..self.offset + count
    }

    /// Indices of the biases.
    #[inline]
    pub fn biases(&self) -> Range<usize> {
        let count = match self.map {
            Map::Dense { outputs, .. } => outputs,
            Map::Conv(conv) => conv.channels,
        };
        let start = self.weights().end;
        start..start + count
    }

    /// Indices of the weights and the biases.
    #[inline]
    pub fn parameters(&self) -> Range<usize> {
        self.offset..self.biases().end
    }
}

/// The layers of a network from input to output. The last one has no activation, the others are the hidden ones. Each
/// takes rows as wide as the one before gives; widths may differ from layer to layer.
///
/// Where the layers form a graph, the list says what they compute and where their parameters lie, and nothing of their
/// order, of the rows that the network takes, and of activations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The layers: 2 to [`MAX_HIDDEN`] + 1, of a graph any number.
    pub layers: Vec<Layer>,
}

impl Layout {
    /// Layers that compute these maps, one after the other. Each map takes rows as wide as the one before gives.
    pub fn of(maps: impl Iterator<Item = Map>) -> Self {
        let mut layers: Vec<Layer> = Vec::with_capacity(maps.size_hint().0);
        for map in maps {
            let layer = Layer { map, offset: parameters(&layers) };
            assert!(layers.last().is_none_or(|before| before.outputs() == layer.inputs()), "layers do not meet");
            layers.push(layer);
        }
        assert!((2..=MAX_HIDDEN + 1).contains(&layers.len()), "a network has 1 to {MAX_HIDDEN} hidden layers");
        Self { layers }
    }

    /// Layers of a network in which they form a graph, in the order of their parameters.
    pub fn of_graph(maps: impl Iterator<Item = Map>) -> Self {
        let mut layers: Vec<Layer> = Vec::with_capacity(maps.size_hint().0);
        for map in maps {
            layers.push(Layer { map, offset: parameters(&layers) });
        }
        Self { layers }
    }

    /// Dense layers from each of these widths to the next, so one more width than layers.
    pub fn dense(widths: &[usize]) -> Self {
        Self::of(widths.windows(2).map(|ends| Map::Dense { inputs: ends[0], outputs: ends[1] }))
    }

    /// Numbers in a row that the first layer takes: those of the network, unless its layers form a graph.
    pub fn inputs(&self) -> usize {
        self.layers.first().map_or(0, Layer::inputs)
    }

    /// Numbers in a row that the last layer gives: those of the network, unless its layers form a graph.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(0, Layer::outputs)
    }

    /// Number of hidden layers, which is the index of the last one.
    pub fn hidden(&self) -> usize {
        self.layers.len() - 1
    }

    /// Number of parameters.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        parameters(&self.layers)
    }
}

/// Number of parameters of these layers, the first of which begins the flat vector.
pub fn parameters(layers: &[Layer]) -> usize {
    layers.last().map_or(0, |layer| layer.parameters().end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_unequal_layers_lie_behind_each_other() {
        let layout = Layout::dense(&[3, 5, 2, 4]);
        assert_eq!((layout.inputs(), layout.outputs(), layout.hidden(), layout.len()), (3, 4, 2, 20 + 12 + 12));
        let mut end = 0;
        for (layer, [inputs, outputs]) in layout.layers.iter().zip([[3, 5], [5, 2], [2, 4]]) {
            assert_eq!((layer.inputs(), layer.outputs(), layer.fan_in()), (inputs, outputs, inputs));
            assert_eq!(layer.weights(), end..end + inputs * outputs);
            assert_eq!(layer.biases(), layer.weights().end..layer.weights().end + outputs);
            assert_eq!(layer.parameters(), end..layer.biases().end);
            end = layer.biases().end;
        }
    }
}
