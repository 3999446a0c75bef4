//! Networks over a device's operations: their descriptions, passes and initial weights.

pub mod convolutions;
pub mod graph;
mod graph_passes;
pub mod init;
pub mod network;
mod picture_draft;
pub mod pictures;
pub mod spec;

#[cfg(test)]
pub(crate) mod tests;
