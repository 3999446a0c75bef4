//! Nonlinearities of the hidden layers.

/// The nonlinearity behind every hidden layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(i32)]
pub enum Activation {
    /// a / (1 + e^-a).
    Silu = 0,
    /// Hyperbolic tangent.
    Tanh = 1,
    /// log(1 + e^a).
    Softplus = 2,
}

impl Activation {
    /// Every activation, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Silu, Self::Tanh, Self::Softplus];
}
