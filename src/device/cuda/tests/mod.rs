//! The CUDA kernels of cuda/, run on the host against the CPU device: the very sources, compiled as C++.

mod action;
mod activation;
mod batch;
mod bridge;
mod dual;
mod guarded;
mod host;
mod mixture;
mod optimiser;
mod philox;
#[path = "../../../../tests/common/place.rs"]
mod place;
mod rates;
mod support;
