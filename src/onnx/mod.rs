//! A trained transport as a graph of the operators that other programs run: ONNX, operator set 13.
//!
//! What the networks see of a sample (normalisation, axes, squares) and the way back to data units are part of the
//! graph, so that it takes and gives samples in data units, any number of them at a time. Noise comes in as inputs, in
//! the form in which a session draws it ([`crate::Model::noise`]), so that a graph and a session give the same.
//!
//! The guide lists what graphs are made of, and TensorRT, DirectML and Unity's Sentis have all of these operators. A test
//! holds graphs to that list.

mod activations;
mod builder;
mod clock;
mod dense;
mod graph;
mod message;
mod peaks;
mod pictures;
mod transport;

pub use graph::{OPERATOR_SET, OnnxGraph};
pub(crate) use message::Message;
pub(crate) use transport::{Exported, message};
