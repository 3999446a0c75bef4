//! Files on disk: the container that models and training checkpoints share, and writing that never leaves half a file.

pub(crate) mod atomic;
pub(crate) mod container;
mod header;
mod tensor;

#[cfg(test)]
mod tests;
