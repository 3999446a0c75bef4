//! Adam (Kingma and Ba, ICLR 2015) over a range of the flat parameter vector.

use crate::finite::Finite;

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
    /// Returns the factors of update number `step` (from 1) with learning rate `rate`. Gradients are multiplied by
    /// `clip` first.
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
    /// Applies the update to a range of parameters: weights, moving average (with decay `averaging`), first and second
    /// moment, from `old` to `new`. Returns whether every new number is finite.
    #[inline(always)]
    pub fn apply(&self, averaging: f32, old: [&[f32]; 4], gradient: &[f32], new: [&mut [f32]; 4]) -> bool {
        let Adam { beta1, beta2, epsilon } = self.adam;
        let n = gradient.len();
        let [w0, a0, m0, v0] = old.map(|x| &x[..n]);
        let [w1, a1, m1, v1] = new.map(|x| &mut x[..n]);
        let mut all = Finite::new();
        for i in 0..n {
            let g = gradient[i] * self.clip;
            let m = beta1 * m0[i] + (1.0 - beta1) * g;
            let v = beta2 * v0[i] + (1.0 - beta2) * (g * g);
            let w = w0[i] - self.rate * m / ((v * self.second_correction).sqrt() + epsilon);
            let a = averaging * a0[i] + (1.0 - averaging) * w;
            w1[i] = w;
            a1[i] = a;
            m1[i] = m;
            v1[i] = v;
            for x in [w, a, m, v] {
                all.see(x);
            }
        }
        all.were()
    }
}
