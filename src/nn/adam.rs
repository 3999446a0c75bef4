//! Adam (Kingma and Ba, ICLR 2015) over a stretch of the flat parameter vector.

/// Constants of one network's optimiser.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Keeps the division finite.
    pub epsilon: f32,
}

/// One update's factors, the same for every parameter.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    adam: Adam,
    rate: f32,
    clip: f32,
    second_correction: f32,
}

impl Adam {
    /// Update number `step` (from 1) with learning rate `rate`; gradients are multiplied by `clip` first.
    pub fn update(&self, step: u64, rate: f64, clip: f64) -> Update {
        let step = i32::try_from(step).unwrap_or(i32::MAX);
        Update {
            adam: *self,
            rate: (rate / (1.0 - f64::from(self.beta1).powi(step))) as f32,
            clip: clip as f32,
            second_correction: (1.0 / (1.0 - f64::from(self.beta2).powi(step))) as f32,
        }
    }
}

impl Update {
    /// Applies it to equally long stretches of parameters, gradient and both moments.
    #[inline(always)]
    pub fn apply(&self, weights: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]) {
        let Adam { beta1, beta2, epsilon } = self.adam;
        for (((w, g), m), v) in weights.iter_mut().zip(gradient).zip(first).zip(second) {
            let g = g * self.clip;
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * (g * g);
            *w -= self.rate * *m / ((*v * self.second_correction).sqrt() + epsilon);
        }
    }
}
