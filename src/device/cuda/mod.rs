//! The CUDA kernels of cuda/, run on the host against the CPU device: the very sources, compiled as C++.

mod guarded;
mod host;
mod philox;
