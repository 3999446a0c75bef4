//! Builds an ONNX graph operator by operator. Numbers of fields are those of ONNX's `onnx.proto`.

use super::graph::OPERATOR_SET;
use super::message::Message;
use crate::error::{Error, Result};
use crate::memory;
use std::borrow::Cow;

/// The version of the file's form that came with operator set 13.
const IR_VERSION: i64 = 7;
/// The largest file that readers take: lengths are signed 32-bit numbers to them.
const MOST_BYTES: u64 = i32::MAX as u64;
/// Element types.
const FLOAT: i64 = 1;
const INT64: i64 = 7;

/// A tensor of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tensor(usize);

impl Tensor {
    /// An input that an operator may do without.
    pub const NONE: Self = Self(usize::MAX);
}

/// An attribute of an operator.
pub(super) enum Attribute<'a> {
    Int(i64),
    Ints(&'a [i64]),
    Text(&'static str),
}

/// See the module.
pub(super) struct Builder<'a> {
    graph: Message<'a>,
    /// How many tensors there are.
    tensors: usize,
    /// Names of inputs and outputs. Other tensors are called by their number.
    names: Vec<(Tensor, String)>,
    /// The first constant that is not a number.
    fault: Option<f32>,
}

impl<'a> Builder<'a> {
    pub fn new() -> Self {
        let mut graph = Message::default();
        graph.bytes(2, "transport");
        Self { graph, tensors: 0, names: Vec::new(), fault: None }
    }

    fn tensor(&mut self) -> Tensor {
        self.tensors += 1;
        Tensor(self.tensors - 1)
    }

    fn named(&mut self, name: &str) -> Tensor {
        let tensor = self.tensor();
        self.names.push((tensor, name.to_owned()));
        tensor
    }

    fn name(&self, tensor: Tensor) -> String {
        match self.names.iter().find(|(named, _)| *named == tensor) {
            Some((_, name)) => name.clone(),
            None if tensor == Tensor::NONE => String::new(),
            None => format!("t{}", tensor.0),
        }
    }

    /// An input of the graph with these sizes behind the number of rows.
    pub fn input(&mut self, name: &str, sizes: &[usize]) -> Tensor {
        self.graph.message(11, described(name, sizes));
        self.named(name)
    }

    /// Makes a tensor an output of the graph. Its sizes follow the number of rows.
    pub fn output(&mut self, tensor: Tensor, name: &str, sizes: &[usize]) {
        self.graph.message(12, described(name, sizes));
        let to = self.named(name);
        // A shape of its own is what every reader can give a result.
        let shape = self.shape(sizes);
        self.operator_to("Reshape", &[tensor, shape], &[], to);
    }

    /// A constant tensor.
    pub fn constant(&mut self, sizes: &[usize], values: impl Into<Cow<'a, [f32]>>) -> Tensor {
        let values = values.into();
        assert_eq!(sizes.iter().product::<usize>(), values.len());
        self.fault = self.fault.or_else(|| values.iter().copied().find(|value| !value.is_finite()));
        let tensor = self.tensor();
        let mut message = self.initializer(tensor, sizes, FLOAT);
        message.floats(9, values);
        self.graph.message(5, message);
        tensor
    }

    /// A constant number.
    pub fn number(&mut self, value: f64) -> Tensor {
        self.constant(&[1], vec![value as f32])
    }

    /// A constant with one number for each column, or one number where all are the same.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn columns(&mut self, values: impl ExactSizeIterator<Item = f64>) -> Result<Tensor> {
        let values = memory::collected("constants of a graph", values.map(|value| value as f32))?;
        let one = values.iter().all(|value| *value == values[0]);
        Ok(if one { self.constant(&[1], vec![values[0]]) } else { self.constant(&[1, values.len()], values) })
    }

    /// A constant list of whole numbers.
    pub fn list(&mut self, values: &[i64]) -> Tensor {
        self.integers(&[values.len()], values)
    }

    /// A constant whole number, without axes.
    pub fn whole(&mut self, value: i64) -> Tensor {
        self.integers(&[], &[value])
    }

    fn integers(&mut self, sizes: &[usize], values: &[i64]) -> Tensor {
        let tensor = self.tensor();
        let mut message = self.initializer(tensor, sizes, INT64);
        message.bytes(9, values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
        self.graph.message(5, message);
        tensor
    }

    fn initializer(&self, tensor: Tensor, sizes: &[usize], element: i64) -> Message<'a> {
        let mut message = Message::default();
        sizes.iter().for_each(|&size| message.number(1, size as i64));
        message.number(2, element);
        message.bytes(8, self.name(tensor));
        message
    }

    /// The list of a shape whose first size is the number of rows.
    fn shape(&mut self, sizes: &[usize]) -> Tensor {
        let sizes: Vec<i64> = std::iter::once(-1).chain(sizes.iter().map(|&size| size as i64)).collect();
        self.list(&sizes)
    }

    /// Adds an operator and returns its result.
    pub fn operator(&mut self, kind: &str, inputs: &[Tensor], attributes: &[(&str, Attribute)]) -> Tensor {
        let to = self.tensor();
        self.operator_to(kind, inputs, attributes, to);
        to
    }

    fn operator_to(&mut self, kind: &str, inputs: &[Tensor], attributes: &[(&str, Attribute)], to: Tensor) {
        let mut node = Message::default();
        inputs.iter().for_each(|&input| node.bytes(1, self.name(input)));
        node.bytes(2, self.name(to));
        node.bytes(3, format!("{kind}_{}", to.0));
        node.bytes(4, kind);
        attributes.iter().for_each(|(name, attribute)| node.message(5, attribute.message(name)));
        self.graph.message(1, node);
    }

    /// An operator without attributes.
    pub fn plain(&mut self, kind: &str, inputs: &[Tensor]) -> Tensor {
        self.operator(kind, inputs, &[])
    }

    pub fn add(&mut self, a: Tensor, b: Tensor) -> Tensor {
        self.plain("Add", &[a, b])
    }

    pub fn sub(&mut self, a: Tensor, b: Tensor) -> Tensor {
        self.plain("Sub", &[a, b])
    }

    pub fn mul(&mut self, a: Tensor, b: Tensor) -> Tensor {
        self.plain("Mul", &[a, b])
    }

    pub fn times(&mut self, a: Tensor, factor: f64) -> Tensor {
        let factor = self.number(factor);
        self.mul(a, factor)
    }

    pub fn plus(&mut self, a: Tensor, number: f64) -> Tensor {
        let number = self.number(number);
        self.add(a, number)
    }

    /// Gives rows these sizes.
    pub fn reshape(&mut self, x: Tensor, sizes: &[usize]) -> Tensor {
        let shape = self.shape(sizes);
        self.plain("Reshape", &[x, shape])
    }

    /// Returns the places from the first to the second along an axis.
    pub fn slice(&mut self, x: Tensor, axis: i64, range: std::ops::Range<usize>) -> Tensor {
        let [from, to, axis] = [range.start as i64, range.end as i64, axis].map(|value| self.list(&[value]));
        self.plain("Slice", &[x, from, to, axis])
    }

    /// Puts tensors behind each other along the second axis.
    pub fn concat(&mut self, parts: &[Tensor]) -> Tensor {
        match parts {
            [one] => *one,
            _ => self.operator("Concat", parts, &[("axis", Attribute::Int(1))]),
        }
    }

    /// Sums over one axis.
    pub fn sum(&mut self, x: Tensor, axis: i64, keep: bool) -> Tensor {
        let axes = self.list(&[axis]);
        self.operator("ReduceSum", &[x, axes], &[("keepdims", Attribute::Int(keep.into()))])
    }

    /// Returns the file.
    ///
    /// # Errors
    /// [`Error::Format`] for constants that are not finite, and for a file that is longer than readers take.
    pub fn finish(self, description: &str, metadata: &[(&str, &str)]) -> Result<Message<'a>> {
        if let Some(value) = self.fault {
            return Err(Error::Format(format!(
                "cannot export the model: its graph would hold {value}, but its numbers must be finite in 32 bits"
            )));
        }
        let mut model = Message::default();
        model.number(1, IR_VERSION);
        model.bytes(2, "libsfeuot");
        model.bytes(3, env!("CARGO_PKG_VERSION"));
        model.bytes(6, description);
        model.message(7, self.graph);
        let mut set = Message::default();
        set.bytes(1, "");
        set.number(2, OPERATOR_SET as i64);
        model.message(8, set);
        for (key, value) in metadata {
            let mut entry = Message::default();
            entry.bytes(1, key);
            entry.bytes(2, value);
            model.message(14, entry);
        }
        if model.len() > MOST_BYTES {
            return Err(Error::Format(format!(
                "cannot export the model: the file would have {} bytes, but an ONNX file may have {MOST_BYTES}",
                model.len()
            )));
        }
        model.whole()
    }
}

impl Attribute<'_> {
    fn message(&self, name: &str) -> Message<'static> {
        let mut message = Message::default();
        message.bytes(1, name);
        match *self {
            Self::Int(value) => {
                message.number(3, value);
                message.number(20, 2);
            }
            Self::Text(value) => {
                message.bytes(4, value);
                message.number(20, 3);
            }
            Self::Ints(values) => {
                values.iter().for_each(|&value| message.number(8, value));
                message.number(20, 7);
            }
        }
        message
    }
}

/// Describes an input or an output of floats with any number of rows of these sizes.
fn described(name: &str, sizes: &[usize]) -> Message<'static> {
    let mut shape = Message::default();
    let mut batch = Message::default();
    batch.bytes(2, "batch");
    shape.message(1, batch);
    for &size in sizes {
        let mut dimension = Message::default();
        dimension.number(1, size as i64);
        shape.message(1, dimension);
    }
    let mut tensor = Message::default();
    tensor.number(1, FLOAT);
    tensor.message(2, shape);
    let mut kind = Message::default();
    kind.message(1, tensor);
    let mut info = Message::default();
    info.bytes(1, name);
    info.message(2, kind);
    info
}
