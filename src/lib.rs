//! Entropic unbalanced optimal transport, trained from samples and called as a one-step generator.
//!
//! Given samples of a source and a target, a [`Trainer`] finds the stochastic transport that minimises
//! E\[1/2 |x1 - x0|^2\] - sigma^2 H + D_Psi(end marginal | target): the Schroedinger bridge between the two, with the
//! target's masses free to deviate at a price. A [`Model`] is its frozen result; a [`Session`] draws x1 for an x0 in
//! one forward pass. The method is that of Choi and Choi, "Scalable Simulation-free Entropic Unbalanced Optimal
//! Transport" (arXiv 2410.02656), in first-order form.
//!
//! # Layers
//!
//! A module uses modules of lower levels, and those of its own level that its line names; no two files use each other,
//! but for one case: `device/cpu/simd.rs` chooses among its forms for each processor, `simd_*.rs`, which implement its
//! trait. `tests/layers` reads this map and holds the sources to it.
//!
//! ```text
//! 1  quote: text of others, safe to print
//!    float_mode: the processor's floating-point mode, standard inside of the library and the host's own outside
//!    finite: whether many numbers are finite
//!    rng: Philox noise by place: what is drawn does not depend on how work is shared out
//!    error: what can go wrong [uses quote]
//!    log: lines for the host's log [uses float_mode]
//!    memory: room that is asked for and can be refused [uses error]
//!    numbers: short lists of numbers, counted in memory [uses error, memory]
//!    process: which process this is, after a fork [uses error]
//!    symmetric: symmetric matrices and their axes [uses error, memory]
//!    joint_axes: the axes that several symmetric matrices share [uses error, memory, symmetric]
//!    vectors: loops over numbers in the widest vectors of the processor
//!    lanes: what Gaussians have of samples, several at a time [uses vectors]
//! 2  formulas: formulas of the method, each in one place, with its twin in cuda/
//! 3  data: samples of the host, their moments and units
//!    file: files that are read, and written whole or not at all [uses data]
//! 4  device: arithmetic on blocks of rows, on the CPU and on CUDA
//! 5  context: the device that work runs on, its threads and log
//!    nn: networks: passes over layers
//! 6  euot: the method's losses and gradients, over any device
//! 7  onnx: a transport as a graph of the operators that other programs run
//!    model: what was learnt, and sessions that answer with it [uses onnx]
//!    problem: the bridge and the losses as calls, for networks of the host's own
//! 8  train: the training and its checkpoints
//! 9  lib: the names of the Rust API
//! 10 abi: the C ABI over the Rust API
//!    kernels: what benches/ measure, opened to them alone
//! ```
//!
//! # Example
//!
//! ```
//! use sfeuot::{Context, Data, Session, TensorView, Trainer, TrainerConfig};
//! # fn main() -> sfeuot::Result<()> {
//! let source: Vec<f32> = (0..600).map(|i| (i as f32 * 0.37).sin()).collect();
//! let target: Vec<f32> = source.iter().map(|x| 3.0 + 0.5 * x).collect();
//!
//! let context = Context::new(Default::default())?;
//! let config = TrainerConfig { sigma: 0.3, hidden_width: 32, ..Default::default() };
//! let mut trainer = Trainer::new(
//!     &context,
//!     config,
//!     Data::array(TensorView::from_f32(&source, &[200, 3])?),
//!     Data::array(TensorView::from_f32(&target, &[200, 3])?),
//! )?;
//! trainer.step(20)?;
//!
//! let mut session = Session::new(&trainer.model()?)?;
//! let mut x1 = [0f32; 6];
//! session.generate(&source[..6], 1, 0, &mut x1)?;
//! assert!(x1.iter().all(|x| x.is_finite()));
//! # Ok(())
//! # }
//! ```

#![cfg_attr(
    not(feature = "cuda"),
    allow(dead_code, unused_imports, reason = "what a GPU is told of samples and steps")
)]
#![cfg_attr(
    feature = "ndarray",
    doc = r"
# Arrays of `ndarray`

With the feature `ndarray`, views of that crate's arrays are tensors: samples are read and rows written where they lie.

```
use ndarray::Array2;
use sfeuot::{Context, Data, Session, Trainer, TrainerConfig};
# fn main() -> sfeuot::Result<()> {
let source = Array2::from_shape_fn((200, 3), |(i, j)| ((3 * i + j) as f32 * 0.37).sin());
let target = source.mapv(|x| 3.0 + 0.5 * x);

let context = Context::new(Default::default())?;
let config = TrainerConfig { sigma: 0.3, hidden_width: 32, ..Default::default() };
let (from, to) = (Data::array(source.view().try_into()?), Data::array(target.view().try_into()?));
let mut trainer = Trainer::new(&context, config, from, to)?;
trainer.step(20)?;

let mut session = Session::new(&trainer.model()?)?;
let mut x1 = Array2::<f32>::zeros((200, 3));
session.generate_tensor(&source.view().try_into()?, 1, 0, &mut x1.view_mut().try_into()?)?;
assert!(x1.iter().all(|x| x.is_finite()));
# Ok(())
# }
```
"
)]

pub mod abi;
mod context;
mod data;
mod device;
mod error;
mod euot;
mod file;
mod finite;
mod float_mode;
mod formulas;
mod joint_axes;
#[cfg(feature = "bench-internals")]
#[doc(hidden)]
pub mod kernels;
mod lanes;
mod log;
mod memory;
mod model;
mod nn;
mod numbers;
mod onnx;
mod problem;
mod process;
mod quote;
mod rng;
mod symmetric;
mod train;
mod vectors;

pub use context::{Context, ContextConfig, DeviceKind, MAX_THREADS};
pub use data::{Augmentation, DType, Data, MAX_RANK, STATISTICS_ROWS, Sampler, TensorView, TensorViewMut};

pub use device::cuda::driver::devices;
pub use device::gpus::{CudaConfig, CudaDevice, DeviceInfo, HostHandle, Precision, Products};
pub use error::{Error, Result};
pub use formulas::{Activation, Divergence};
pub use half;
pub use log::{LogLevel, LogSink};
pub use model::{Conversion, DeviceRows, Lut, Model, ModelInfo, Session, SessionConfig};
pub use nn::convolutions::{Convolutions, Upsampling};
pub use nn::spec::{NetworkKind, NetworkSpec};
pub use onnx::{OPERATOR_SET, OnnxGraph};
pub use train::{CancelToken, Control, Metrics, SigmaUnits, Trainer, TrainerConfig};
