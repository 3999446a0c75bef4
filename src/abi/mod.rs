//! The C ABI and nothing else: a thin skin over the crate's Rust API, one file per C noun.
//!
//! `include/sfeuot.h` is generated from these files and is the manual of the C side; what follows
//! is for their reader.
//!
//! * Every exported function's body is one call of `panic::guard` (or `guard_value`), which is
//!   the panic boundary, writes the thread's error text and turns the outcome into a status. A test
//!   walks the sources for it.
//! * Handles are not addresses (`handle.rs` says why), so a wild, released or foreign one is refused
//!   without being read.
//! * Outputs are checked before the work begins and written after it succeeded.
//! * Nothing is validated twice: this module checks what only C can get wrong (pointers, sizes,
//!   counts, handles, enum numbers, overlaps); the core checks what the numbers mean.
//!
//! The unsafe functions here share one contract: every non-NULL pointer is valid for what the
//! header says of it.

// The header is where the contract of each function is written out; see above.
#![allow(clippy::missing_safety_doc)]

pub mod activation;
mod arguments;
pub mod bridge;
pub mod callbacks;
mod config;
pub mod conjugate;
pub mod context;
pub mod data;
pub mod data_rows;
pub mod device;
pub mod divergence;
pub mod dlpack;
mod enums;
mod error_text;
mod exclusive;
mod handle;
pub mod last_error;
pub mod loss;
pub mod lut;
pub mod metrics;
pub mod model;
pub mod network;
mod numbers;
pub mod object_error;
pub mod onnx;
mod panic;
pub mod problem;
mod rows;
mod sentence;
pub mod session;
pub mod session_answers;
pub mod session_config;
pub mod session_generate;
pub mod status;
pub mod tensor;
mod tensor_checks;
pub mod trainer;
pub mod trainer_config;
mod used;
pub mod version;

pub use activation::*;
pub use bridge::*;
pub use callbacks::*;
pub use conjugate::*;
pub use context::*;
pub use data::*;
pub use data_rows::*;
pub use device::*;
pub use divergence::*;
pub use dlpack::*;
pub use last_error::*;
pub use loss::*;
pub use lut::*;
pub use metrics::*;
pub use model::*;
pub use network::*;
pub use object_error::*;
pub use onnx::*;
pub use problem::*;
pub use session::*;
pub use session_answers::*;
pub use session_config::*;
pub use session_generate::*;
pub use status::*;
pub use tensor::*;
pub use trainer::*;
pub use trainer_config::*;
pub use version::*;
