//! Formulas of the method, each in one place. Those that the GPU computes too stand once more in cuda/, in a file of
//! the same name; a test compares the two.

pub mod activation;
pub mod adam;
pub mod axes;
pub mod clock;
pub mod divergence;
pub mod head;
pub mod peaks;
pub mod scalar;
pub mod squares;
pub mod tau_schedule;
pub mod units;

pub use activation::Activation;
pub use axes::Axes;
pub use clock::{Clock, Tick};
pub use divergence::{Conjugate, Divergence};
pub use head::Head;
pub use peaks::Peaks;
pub use scalar::Scalar;
pub use tau_schedule::TauSchedule;
