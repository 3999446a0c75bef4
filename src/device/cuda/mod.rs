//! The CUDA device: the driver and its contexts, memory, the kernels of cuda/ with their launches, products by cublasLt,
//! and the device trait over them.
#[cfg(all(test, target_os = "linux"))]
mod action;
#[cfg(all(test, target_os = "linux"))]
mod activation;
#[cfg(all(test, target_os = "linux"))]
mod batch;
pub mod block;
#[cfg(all(test, target_os = "linux"))]
mod bridge;
pub mod driver;
#[cfg(all(test, target_os = "linux"))]
mod dual;
pub mod gpu;
pub mod graph;
#[cfg(all(test, target_os = "linux"))]
mod guarded;
#[cfg(all(test, target_os = "linux"))]
mod host;
pub mod image;
pub mod kernels;
mod layers;
pub mod memory;
#[cfg(all(test, target_os = "linux"))]
mod mixture;
#[cfg(all(test, target_os = "linux"))]
mod optimiser;
#[cfg(all(test, target_os = "linux"))]
mod philox;
mod product;
#[cfg(all(test, target_os = "linux"))]
mod support;
