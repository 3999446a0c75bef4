//! Entropic unbalanced optimal transport, trained from samples and called as a one-step generator.
//!
//! Given samples of a source and a target, a [`Trainer`] finds the stochastic transport that minimises
//! E\[1/2 |x1 - x0|^2\] - sigma^2 H + D_Psi(end marginal | target): the Schroedinger bridge between the two, with the
//! target's masses free to deviate at a price. A [`Model`] is its frozen result; a [`Session`] draws x1 for an x0 in
//! one forward pass. The method is that of Choi and Choi, "Scalable Simulation-free Entropic Unbalanced Optimal
//! Transport" (arXiv 2410.02656), in first-order form.
//!
//! `abi` is the C ABI over the Rust API. `train` and `model` drive a training and call what came of it, with samples
//! from `data` and files from `file`. `euot` and `nn` are the mathematics, over any device: blocks of rows and a closed
//! set of operations, which `device` has. Noise is in `rng`. Between `device` and the others arrows point both ways: it
//! takes formulas from `euot`, layouts of weights from `nn`, the log from `context` and atomic files from `file`.
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
#[cfg(feature = "bench-internals")]
#[doc(hidden)]
pub mod kernels;
mod log;
mod memory;
mod model;
mod nn;
mod numbers;
mod process;
mod quote;
mod rng;
mod train;

pub use context::{Context, ContextConfig, DeviceKind, MAX_THREADS};
pub use data::{DType, Data, MAX_RANK, STATISTICS_ROWS, Sampler, TensorView};

pub use device::cuda::driver::{DeviceInfo, devices};
pub use device::cuda::place::{CudaConfig, CudaDevice, HostHandle, Products};
pub use error::{Error, Result};
pub use formulas::{Activation, Divergence};
pub use half;
pub use log::{LogLevel, LogSink};
pub use model::{DeviceRows, Model, ModelInfo, Session};
pub use nn::spec::{NetworkKind, NetworkSpec};
pub use train::{CancelToken, Control, Metrics, SigmaUnits, Trainer, TrainerConfig};
