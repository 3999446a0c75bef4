//! Networks over the device's operations: shapes, passes, initial weights, optimiser.

pub mod adam;
pub mod init;
pub mod layout;
pub mod mlp;

#[cfg(test)]
pub(crate) mod checks;
