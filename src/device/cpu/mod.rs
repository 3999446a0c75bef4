//! The CPU device. A worker carries one block of rows through the whole computation while it stays in the core's cache;
//! products are single-threaded and the library's own, so that activations and derivatives are fused into them.

mod activation;
mod activations;
mod attention;
pub(crate) mod batch;
mod bilinear;
mod block;
mod channels;
mod components;
mod conv;
mod conv_direct;
mod conv_gradient;
mod crew;
mod dense;
mod device;
pub(crate) mod disjoint;
mod exchange;
mod fixed;
mod gemm;
mod group_norm;
mod measure;
mod memory;
mod method;
mod mixture;
pub mod net;
pub(crate) mod optimiser;
mod peaks;
pub mod pool;
mod rows;
pub mod simd;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod simd_neon;
#[cfg(target_arch = "x86_64")]
mod simd_x86;
mod squares;
mod team;
mod turned;
mod turned_bridge;
mod turned_mixture;
mod turned_peaks;
mod winograd;
mod winograd_cuts;
mod winograd_gradient;
mod winograd_transforms;

#[cfg(any(test, feature = "bench-internals"))]
pub use block::CpuNoise;
pub use block::{CpuBlock, Sizes};
pub use crew::Crew;
pub use measure::Measure;
