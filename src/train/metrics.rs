//! What a step tells the host.

/// State of a training after its last step; costs in the data's units squared.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Metrics {
    /// Steps done since the trainer was made.
    pub step: u64,
    /// L(V, theta) on the last batch: potential - action. At the optimum the value of the dynamic problem,
    /// E int 1/2 |u|^2 dt + D_Psi, with u the drift.
    pub dual: f64,
    /// What the value step minimises: minus `dual`.
    pub value_loss: f64,
    /// G(theta) on the last batch: sigma^2 times a Kullback-Leibler divergence, up to a constant.
    pub generator_loss: f64,
    /// E\[V(1, x1)\] - E\[Psi*(V(1, y))\]; at the optimum D_Psi of the end marginal.
    pub potential: f64,
    /// E_t\[1/2 |grad V|^2 + <grad V, b>\]; at the optimum minus the kinetic energy.
    pub action: f64,
    /// Norm of the value function's gradient before clipping, in units of the problem that the networks see.
    pub value_gradient_norm: f64,
    /// Norm of the generator's gradient before clipping, in units of the problem that the networks see.
    pub generator_gradient_norm: f64,
    /// E\[Psi*'(V(1, y))\] over the target: 1 when the masses agree.
    pub density_ratio_mean: f64,
    /// Speed over the last call that trained.
    pub steps_per_second: f64,
}
