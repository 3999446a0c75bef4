//! The numbers that a host sees of a step.

use crate::rng::MAX_STEPS;

/// State of a training after its last step. Costs are in the data's units squared.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Metrics {
    /// Steps done since the trainer was made.
    pub step: u64,
    /// L(V, theta) on the last batch: potential - action. At the optimum it is the value of the dynamic problem, E int
    /// 1/2 |u|^2 dt + D_Psi, with u the drift.
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

impl Metrics {
    /// Checks metrics that were read from a file.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.step > MAX_STEPS {
            return Err(format!("metrics.step is {}, but a training has at most {MAX_STEPS} steps", self.step));
        }
        let Self { value_gradient_norm, generator_gradient_norm, density_ratio_mean, steps_per_second, .. } = *self;
        for (name, x) in [
            ("value_gradient_norm", value_gradient_norm),
            ("generator_gradient_norm", generator_gradient_norm),
            ("density_ratio_mean", density_ratio_mean),
            ("steps_per_second", steps_per_second),
        ] {
            if x < 0.0 {
                return Err(format!("metrics.{name} is {x:e}, but must be at least 0"));
            }
        }
        let numbers = [self.dual, self.value_loss, self.generator_loss, self.potential, self.action];
        let all = numbers.into_iter().chain([value_gradient_norm, generator_gradient_norm, density_ratio_mean]);
        if all.chain([steps_per_second]).any(|x| !x.is_finite()) {
            return Err("metrics has a number that is not finite".into());
        }
        Ok(())
    }
}
