//! The CUDA kernels of cuda/, run on the host against the CPU device: the very sources, compiled as C++.

mod action;
mod activation;
mod attention;
mod batch;
mod bridge;
mod components;
mod conv;
mod dual;
mod forgotten;
mod group_norm;
mod guarded;
mod heads;
pub mod host;
mod inference;
mod maps;
mod mixture;
mod optimiser;
mod peaks;
mod philox;
mod product;
mod rates;
mod real;
mod samples;
mod simulated;
#[path = "../../../../tests/common/simulator.rs"]
pub mod simulator;
mod squares;
mod support;
mod turned_block;
mod turned_bridge;
mod turned_mixture;
