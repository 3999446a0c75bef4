//! Networks over a device's operations: shapes, passes and initial weights.

pub mod init;
pub mod network;

#[cfg(test)]
pub(crate) mod tests;
