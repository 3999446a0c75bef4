//! The file format of models and checkpoints: safetensors, plus a JSON description of everything that is not a tensor.
//!
//! The header's `__metadata__` map holds
//!
//! | key | value |
//! |---|---|
//! | `sfeuot_description` | one JSON document |
//! | `sfeuot_format` | `sfeuot-model` or `sfeuot-checkpoint` |
//! | `sfeuot_format_version` | a whole number as text: `1`, `2` where a network has a description of its own, `3` where the problem's axes have lengths of their own, `4` where networks are convolutional, `5` where the weights of a network are a tensor for each matrix, as in every model, `6` for checkpoints whose tau comes to its value over steps, `7` for those whose value function's gradient has a penalty, and for files whose generator interpolates between pixels, normalises channels or has attention, `8` where the clock slows down towards the end, `9` where the value function has peaks, `10` where these have axes of their own |
//!
//! Names begin with `sfeuot_` so that a file still loads after another tool has read it and written it anew with a
//! `format` of its own. Older files have the names without `sfeuot_`; they are read as well. The order of tensors and
//! of metadata carries no meaning.
//!
//! Tensors are row-major and little-endian, element type F32. Equal content gives equal bytes.

use crate::error::Error;
use crate::quote;

/// The version that every reader understands.
pub(super) const FIRST_VERSION: u64 = 1;
/// The version of files in which the value network or the generator has a description of its own. Older readers do not
/// look for one.
pub(crate) const OWN_NETWORKS: u64 = 2;
/// The version of files whose problem has lengths and contractions along axes of its own. Older readers know one of
/// each.
pub(crate) const OWN_AXES: u64 = 3;
/// The version of files with convolutional networks.
pub(crate) const CONVOLUTIONS: u64 = 4;
/// The version of models whose weights are a tensor for each layer's matrix and one for its biases. Before, they were one
/// tensor for each network.
pub(crate) const NAMED_LAYERS: u64 = 5;
/// The version of checkpoints whose tau comes to its value over steps. Older readers would go on with it at once.
pub(crate) const TAU_SCHEDULE: u64 = 6;
/// The version of checkpoints with a penalty on the value function's gradient. Older readers would go on without it.
pub(crate) const GRADIENT_PENALTY: u64 = 7;
/// The version of files whose convolutional networks have layers beside those of before, or other ones in their place.
pub(crate) const LAYERS: u64 = 7;
/// The version of files whose clock slows down towards the end. Older readers would take the times of one that does not.
pub(crate) const EASED_CLOCK: u64 = 8;
/// The version of files whose value function has peaks. Older readers would leave them out.
pub(crate) const PEAKS: u64 = 9;
/// The version of files whose peaks have axes of their own. Older readers would take those of the problem.
pub(crate) const PEAK_AXES: u64 = 10;
/// The newest version that is read. A file has the oldest version whose readers understand it.
pub(super) const FORMAT_VERSION: u64 = PEAK_AXES;
/// The name of the tensor with a problem's axes.
pub(super) const AXES: &str = "axes";
/// The name of the tensor with the axes of peaks.
pub(super) const AXES_OF_PEAKS: &str = "peaks.axes";
/// The longest quotation of a file's own words in an error, in bytes: a hostile file must not make messages long.
const MAX_CLAUSE: usize = 400;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A frozen generator and value function.
    Model,
    /// Everything a training run needs to go on bit for bit.
    Checkpoint,
}

impl FileKind {
    pub(super) const ALL: [Self; 2] = [Self::Model, Self::Checkpoint];

    pub(super) fn format(self) -> &'static str {
        match self {
            Self::Model => "sfeuot-model",
            Self::Checkpoint => "sfeuot-checkpoint",
        }
    }

    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Checkpoint => "training checkpoint",
        }
    }
}

/// A key of the metadata by which the library recognises its files.
#[derive(Clone, Copy)]
pub(super) enum Key {
    Description = 0,
    Format = 1,
    Version = 2,
}

impl Key {
    /// The present names of all keys, then the former ones.
    pub const ALL: [&'static str; 6] =
        ["sfeuot_description", "sfeuot_format", "sfeuot_format_version", "description", "format", "format_version"];

    /// Returns where the two names of the key are in [`Self::ALL`].
    pub fn places(self) -> [usize; 2] {
        [self as usize, self as usize + Self::ALL.len() / 2]
    }

    /// Returns the present name.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize]
    }
}

/// Returns the error that a file cannot be loaded. `origin` says where it came from.
pub(super) fn cannot_load(origin: &str, what: impl std::fmt::Display) -> Error {
    Error::Format(format!("cannot load from '{origin}': {}", quote::text(&what.to_string(), MAX_CLAUSE)))
}

pub(crate) fn cannot_save(kind: FileKind, what: impl std::fmt::Display) -> Error {
    Error::Format(format!("cannot save the {}: {}", kind.noun(), quote::text(&what.to_string(), MAX_CLAUSE)))
}

/// Returns a clause that a number of a tensor is not finite.
pub(crate) fn not_finite(name: &str, index: usize, value: f32) -> String {
    format!("its tensor '{name}' holds {value} at index {index}, and every value must be finite")
}
