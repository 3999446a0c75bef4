//! Activations as C has them: constants, and what they mean to the core.

use super::enums::codes;
use crate::Activation;

/// Activations, for SfeuotTrainerConfig.activation and SfeuotNetwork.activation.
///
/// ---
///
/// x sigmoid(x).
pub const SFEUOT_ACTIVATION_SILU: i32 = 0;
/// tanh(x).
pub const SFEUOT_ACTIVATION_TANH: i32 = 1;
/// log(1 + exp(x)).
pub const SFEUOT_ACTIVATION_SOFTPLUS: i32 = 2;

codes!(Activation, "config.activation":
    SFEUOT_ACTIVATION_SILU => Silu, SFEUOT_ACTIVATION_TANH => Tanh, SFEUOT_ACTIVATION_SOFTPLUS => Softplus);
