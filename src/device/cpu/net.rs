//! The weights of a network in the arrangement that the CPU's products read.

use super::gemm::PANEL_VECTORS;
use super::memory::Aligned;
use super::simd::{Isa, Portable, Real};
use super::winograd_transforms::{self as transforms, PLACES, is_filtered};
use crate::device::layout::{Layer, Layout, Map};
use crate::error::Result;
use crate::formulas::squares::Centre;
use crate::memory;

/// The name of this memory in errors.
const WEIGHTS: &str = "a network's weights, arranged for products";

/// The largest number of columns for which a product is made of dot products along contiguous rows. A register tile
/// would compute mostly padding.
const FEW_COLUMNS: usize = 6;

/// One operand B (k x n), arranged.
pub(super) struct Packed<T> {
    pub data: Aligned<T>,
    pub k: usize,
    pub n: usize,
    pub form: Form,
}

/// The arrangement of B.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// Panels of `width` columns, each k rows, contiguous; padded with zeros.
    Panels { width: usize },
    /// B^T by rows of `stride` elements, for few columns.
    Rows { stride: usize },
}

impl<T: Real> Packed<T> {
    /// Returns the arrangement of B, and the numbers that it takes with padding.
    fn form(isa: Isa, Extents { k, n, panels }: Extents, few: bool) -> (Form, usize) {
        let width = PANEL_VECTORS * T::lanes(isa);
        if few && n <= FEW_COLUMNS && !panels {
            let stride = k.next_multiple_of(16);
            (Form::Rows { stride }, n.saturating_mul(stride))
        } else {
            (Form::Panels { width }, n.next_multiple_of(width).saturating_mul(k))
        }
    }

    fn new(isa: Isa, extents: Extents, few: bool) -> Result<Self> {
        let (form, len) = Self::form(isa, extents, few);
        let Extents { k, n, .. } = extents;
        Ok(Self { data: Aligned::zeros(WEIGHTS, len)?, k, n, form })
    }

    /// Takes the transforms of 3 x 3 taps, place by place: `weight(tap, i, j)` is the number of a tap in row i and column j.
    fn pack_transforms(&mut self, weight: impl Fn(usize, usize, usize) -> T) {
        const LANES: usize = 8;
        let Form::Panels { width } = self.form else { unreachable!("a convolution has panels") };
        let (n, rows) = (self.n, self.k / PLACES);
        let half = [T::of(0.5); LANES];
        for (p, panel) in self.data.chunks_exact_mut(width * self.k).enumerate() {
            for (row, part) in (0..rows).flat_map(|row| (0..width).step_by(LANES).map(move |part| (row, part))) {
                let at = |tap: usize| {
                    let number = |j: usize| if j < n { weight(tap, row, j) } else { T::zero() };
                    std::array::from_fn(|lane| number(p * width + part + lane))
                };
                let taps = std::array::from_fn(|i| std::array::from_fn(|j| at(3 * i + j)));
                // SAFETY: arrays need no feature of the processor.
                let places = unsafe { transforms::weights::<Portable<T>>(taps, half) };
                for (place, numbers) in places.iter().flatten().enumerate() {
                    panel[(place * rows + row) * width + part..][..LANES].copy_from_slice(numbers);
                }
            }
        }
    }

    /// Copies the transposes of a convolution's taps, one after the other, each of which has `outputs` columns.
    fn pack_taps(&mut self, weights: &[T], outputs: usize) {
        let Form::Panels { width } = self.form else { unreachable!("a convolution has panels") };
        for (p, panel) in self.data.chunks_exact_mut(width * self.k).enumerate() {
            let first = p * width;
            let cols = width.min(self.n - first);
            for (at, line) in panel.chunks_exact_mut(width).enumerate() {
                let (tap, output) = (at / outputs, at % outputs);
                for (j, x) in line[..cols].iter_mut().enumerate() {
                    *x = weights[(tap * self.n + first + j) * outputs + output];
                }
            }
        }
    }

    /// Copies B, whose element (i, j) is `weights[i * row + j * col]`.
    fn pack(&mut self, weights: &[T], row: usize, col: usize) {
        match self.form {
            Form::Panels { width } => {
                for (p, panel) in self.data.chunks_exact_mut(width * self.k).enumerate() {
                    let first = p * width;
                    let cols = width.min(self.n - first);
                    for (i, line) in panel.chunks_exact_mut(width).enumerate() {
                        let from = &weights[i * row + first * col..];
                        if col == 1 {
                            line[..cols].copy_from_slice(&from[..cols]);
                        } else {
                            for (j, x) in line[..cols].iter_mut().enumerate() {
                                *x = from[j * col];
                            }
                        }
                    }
                }
            }
            Form::Rows { stride } => {
                for (j, line) in self.data.chunks_exact_mut(stride).enumerate() {
                    for (i, x) in line[..self.k].iter_mut().enumerate() {
                        *x = weights[i * row + j * col];
                    }
                }
            }
        }
    }
}

/// One layer's weights, arranged for x W and for delta W^T.
pub struct PackedLayer<T> {
    pub(super) layer: Layer,
    pub(super) forward: Packed<T>,
    /// Absent where only forward passes are wanted.
    pub(super) transposed: Option<Packed<T>>,
    pub(super) bias: Aligned<T>,
    /// What a convolution reads beyond the edges of a picture: a zero for each channel of a pixel, in whole vectors.
    pub(super) zeros: Aligned<T>,
}

impl<T: Real> PackedLayer<T> {
    /// Takes the layer's parameters, which are those of the flat vector at [`Layer::parameters`].
    pub fn pack(&mut self, weights: &[T]) {
        let (weights, biases) = weights.split_at(self.layer.weights().len());
        match self.layer.map {
            Map::Dense { outputs, .. } => {
                self.forward.pack(weights, outputs, 1);
                if let Some(transposed) = &mut self.transposed {
                    transposed.pack(weights, 1, outputs);
                }
            }
            Map::Conv(conv) if is_filtered(&conv) => {
                let (inputs, outputs) = (conv.from.channels, conv.channels);
                self.forward.pack_transforms(|tap, i, j| weights[(tap * inputs + i) * outputs + j]);
                if let Some(transposed) = &mut self.transposed {
                    transposed.pack_transforms(|tap, i, j| weights[((8 - tap) * inputs + j) * outputs + i]);
                }
            }
            Map::Conv(conv) => {
                self.forward.pack(weights, conv.channels, 1);
                if let Some(transposed) = &mut self.transposed {
                    transposed.pack_taps(weights, conv.channels);
                }
            }
        }
        self.bias[..biases.len()].copy_from_slice(biases);
    }
}

/// The extents of an operand B (k x n).
#[derive(Clone, Copy)]
struct Extents {
    k: usize,
    n: usize,
    /// Whether B has to lie in panels.
    panels: bool,
}

/// Returns the extents of what a layer multiplies rows by, and gradients. A convolution's rows are those of all its taps, or
/// of all places of minimal filtering.
fn operands(layer: &Layer) -> [Extents; 2] {
    match layer.map {
        Map::Dense { inputs, outputs } => {
            [Extents { k: inputs, n: outputs, panels: false }, Extents { k: outputs, n: inputs, panels: false }]
        }
        Map::Conv(conv) => {
            let (inputs, outputs) = (conv.from.channels, conv.channels);
            let taps = if is_filtered(&conv) { PLACES } else { conv.taps() };
            [
                Extents { k: taps * inputs, n: outputs, panels: true },
                Extents { k: taps * outputs, n: inputs, panels: true },
            ]
        }
    }
}

/// Returns how many zeros a layer needs.
fn zeros_len(layer: &Layer) -> usize {
    match layer.map {
        Map::Dense { .. } => 0,
        Map::Conv(conv) => conv.from.channels.max(conv.channels).next_multiple_of(32),
    }
}

/// Returns the numbers that a layer's biases take with padding.
fn bias_len(layer: &Layer) -> usize {
    layer.biases().len().next_multiple_of(32)
}

/// A network's arranged weights.
pub struct CpuNet<T> {
    /// The layers from input to output. Passes read them, and the optimiser packs them one by one.
    pub layers: Vec<PackedLayer<T>>,
    /// Centre of the squares: where it starts, then how far it moves until time 1.
    pub(super) centre: Vec<T>,
}

impl<T: Real> CpuNet<T> {
    /// Returns zero weights of a network that sees squares from this centre. With `reverse` the transposed form is kept
    /// too.
    pub fn new(isa: Isa, layout: &Layout, centre: &Centre, reverse: bool) -> Result<Self> {
        let last = layout.hidden();
        let pack = |l: usize| {
            let (layer, few) = (layout.layers[l], [l == last, l == 0]);
            let [forward, transposed] = operands(&layer);
            Ok(PackedLayer {
                layer,
                // Hidden layers carry an epilogue, which only tiles have; outputs and inputs are the narrow ones
                // anyway.
                forward: Packed::new(isa, forward, few[0])?,
                transposed: reverse.then(|| Packed::new(isa, transposed, few[1])).transpose()?,
                bias: Aligned::zeros(WEIGHTS, bias_len(&layer))?,
                zeros: Aligned::zeros(WEIGHTS, zeros_len(&layer))?,
            })
        };
        Ok(Self { layers: memory::made(WEIGHTS, layout.layers.len(), pack)?, centre: centre.numbers()? })
    }

    /// Bytes of such a network.
    pub fn bytes(isa: Isa, layout: &Layout, centre: &Centre, reverse: bool) -> usize {
        let last = layout.hidden();
        let bytes = |(l, layer): (usize, &Layer)| {
            let [forward, transposed] = operands(layer);
            let (_, forward) = Packed::<T>::form(isa, forward, l == last);
            let (_, transposed) = Packed::<T>::form(isa, transposed, l == 0);
            let transposed = if reverse { transposed } else { 0 };
            let numbers = [forward, transposed, bias_len(layer), zeros_len(layer)].map(Aligned::<T>::bytes);
            numbers.into_iter().fold(size_of::<PackedLayer<T>>(), usize::saturating_add)
        };
        let centre = 2 * centre.count() * size_of::<T>();
        layout.layers.iter().enumerate().map(bytes).fold(centre, usize::saturating_add)
    }

    /// Takes all weights from the flat parameter vector.
    pub fn pack(&mut self, weights: &[T]) {
        for layer in &mut self.layers {
            layer.pack(&weights[layer.layer.parameters()]);
        }
    }
}

/// Accumulated gradient of a network, in the order of its flat parameter vector.
pub struct CpuGradient<T> {
    pub(super) layers: Vec<Layer>,
    /// One number for each parameter. Between [`Self::restart`] and [`Self::complete`] some are left from before.
    pub values: Aligned<T>,
    /// Whether each layer's weights, and its biases, are still to be written, whatever stands there.
    unwritten: Vec<[bool; 2]>,
}

impl<T: Real> CpuGradient<T> {
    /// Returns a zero gradient.
    pub fn new(layout: &Layout) -> Result<Self> {
        Ok(Self {
            layers: layout.layers.clone(),
            values: Aligned::zeros("a network's gradients", layout.len())?,
            unwritten: vec![[false; 2]; layout.layers.len()],
        })
    }

    /// Returns the bytes of a gradient.
    pub fn bytes(layout: &Layout) -> usize {
        let of_layers = layout.layers.len() * (size_of::<Layer>() + size_of::<[bool; 2]>());
        Aligned::<T>::bytes(layout.len()).saturating_add(of_layers)
    }

    /// Begins anew at zero. Nothing is written: the first contribution takes the place of what is there, and
    /// [`Self::complete`] clears what has none.
    pub fn restart(&mut self) {
        self.unwritten.fill([true; 2]);
    }

    /// Returns the weights of a layer, and whether to add to them.
    pub(super) fn weights(&mut self, layer: usize) -> (&mut [T], bool) {
        let add = !std::mem::take(&mut self.unwritten[layer][0]);
        (&mut self.values[self.layers[layer].weights()], add)
    }

    /// Returns the biases of a layer, and whether to add to them.
    pub(super) fn biases(&mut self, layer: usize) -> (&mut [T], bool) {
        let add = !std::mem::take(&mut self.unwritten[layer][1]);
        (&mut self.values[self.layers[layer].biases()], add)
    }

    /// Writes zeros where nothing was added.
    pub fn complete(&mut self) {
        for layer in 0..self.layers.len() {
            let clear = |(values, add): (&mut [T], bool)| {
                if !add {
                    values.fill(T::zero());
                }
            };
            clear(self.weights(layer));
            clear(self.biases(layer));
        }
    }
}
