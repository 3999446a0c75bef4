//! The CUDA device, through libraries that are loaded when they are first needed: the driver with its contexts, memory
//! and graphs, the kernels of cuda/ and their launches, products by cublasLt, and the device traits over them.

mod account;
mod attention;
pub mod batch;
pub mod block;
pub mod branches;
mod conv;
mod current;
mod device;
pub mod driver;
mod epilogue_grid;
mod exchange;
mod forms;
pub mod gpu;
pub mod gradient;
pub mod graph;
mod group_norm;
pub mod image;
pub mod kernels;
mod layers;
mod maps;
pub mod memory;
mod method;
pub mod network;
pub mod optimiser;
mod peaks;
pub mod place;
mod pointer;
mod product;
mod quiet;
pub mod report;
pub mod resident;
pub mod rows;
pub mod samples;
pub mod step;
mod stream;
pub mod sums;
mod turned;
pub mod weights;
pub mod workspace;

#[cfg(all(test, target_os = "linux"))]
mod tests;
