//! Where each layer's weights lie in the flat parameter vector of a network.

/// Hidden layers of a network at most: lets the passes keep their handles on the stack.
pub const MAX_HIDDEN: usize = 16;

/// One affine layer: W (inputs x outputs, by rows) and then b in the flat vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Rows of W.
    pub inputs: usize,
    /// Columns of W, and length of b.
    pub outputs: usize,
    /// Index of W's first element; b follows W.
    pub offset: usize,
}

impl Layer {
    /// Index of b's first element.
    pub fn bias(&self) -> usize {
        self.offset + self.inputs * self.outputs
    }

    /// Index past b's last element.
    pub fn end(&self) -> usize {
        self.bias() + self.outputs
    }
}

/// Layers of a multilayer perceptron: `hidden` equal hidden layers between inputs and outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// From input to output; at least two.
    pub layers: Vec<Layer>,
}

impl Layout {
    /// `hidden` is at least 1 and at most [`MAX_HIDDEN`].
    pub fn new(inputs: usize, width: usize, hidden: usize, outputs: usize) -> Self {
        assert!((1..=MAX_HIDDEN).contains(&hidden));
        let mut layers = Vec::with_capacity(hidden + 1);
        let mut offset = 0;
        for l in 0..=hidden {
            let layer = Layer {
                inputs: if l == 0 { inputs } else { width },
                outputs: if l == hidden { outputs } else { width },
                offset,
            };
            offset = layer.end();
            layers.push(layer);
        }
        Self { layers }
    }

    /// Number of parameters.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.layers.last().map_or(0, Layer::end)
    }
}
