//! Files on disk: the format that models and training checkpoints share, reading it without trust, and writing that
//! never leaves half a file.

pub(crate) mod atomic;
mod growing;
mod header;
pub(crate) mod input;
mod json;
pub(crate) mod kind;
mod open;
pub(crate) mod output;
mod temporary;

#[cfg(test)]
mod tests;
