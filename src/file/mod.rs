//! Files on disk: the format of models and checkpoints. Readers trust no file, and a writer never leaves half a file.

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
