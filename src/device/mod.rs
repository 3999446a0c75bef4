//! The seam between a computation and a device: blocks of rows, and a small closed set of operations on them.
//!
//! The mathematics in `euot` and `nn` is written once over these traits. The CPU calls it for one block of rows after
//! another, each small enough to stay in a core's cache; a device that is filled by a whole batch calls it once with
//! all rows. Operations are fused to the limit of the mathematics: every one reads and writes its rows once.

pub mod attention;
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(not(feature = "cuda"))]
#[path = "no_cuda.rs"]
pub mod cuda;
pub(crate) mod draw;
pub(crate) mod exchange;
pub mod gpus;
pub(crate) mod half_work;
pub mod layers;
pub mod layout;
pub mod maps;
pub mod mat;
pub mod method;
pub mod rows;
pub(crate) mod training;
pub mod workspace;

pub use attention::{Attention, AttentionProduct};
pub use layers::Layers;
pub use maps::{ActivationRule, Fixed, Groups, Maps, NORM_EPSILON};
pub use mat::{Mat, Squares};
pub use method::{
    ActionTerm, Batch, Bridge, Chosen, DualTerm, Method, MixtureLoss, PeaksTerm, Points, StepNumber, Sums, TauAt,
    Weighted,
};
pub use rows::Rows;
pub use workspace::Workspace;
