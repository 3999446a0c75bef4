//! Stand-ins for the core: the surface the C ABI uses, with behaviour just plausible enough to test that surface.

use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::data::{DType, Data, TensorView};
use crate::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    Auto = 0,
    Cpu = 1,
    Cuda = 2,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Error = 0,
    Warn = 1,
    Info = 2,
    Debug = 3,
}
pub type LogSink = Box<dyn Fn(LogLevel, &str) + Send + Sync>;
pub struct ContextConfig {
    pub device: DeviceKind,
    pub threads: usize,
    pub log: Option<LogSink>,
    pub log_level: LogLevel,
}
impl Default for ContextConfig {
    fn default() -> Self {
        Self {
            device: DeviceKind::Auto,
            threads: 0,
            log: None,
            log_level: LogLevel::Warn,
        }
    }
}
#[derive(Clone)]
pub struct Context(Arc<ContextConfig>);
impl Context {
    pub fn new(config: ContextConfig) -> Result<Self> {
        if config.device == DeviceKind::Cuda {
            return Err(Error::UnsupportedDevice(
                "device is CUDA, and no CUDA driver was found".into(),
            ));
        }
        let context = Self(Arc::new(config));
        context.log(
            LogLevel::Info,
            &format!("context on {} threads", context.threads()),
        );
        Ok(context)
    }
    pub fn threads(&self) -> usize {
        self.0.threads.max(1)
    }
    pub fn log(&self, level: LogLevel, message: &str) {
        if let Some(log) = &self.0.log
            && level <= self.0.log_level
        {
            log(level, message);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Divergence {
    Balanced = 0,
    Kl = 1,
    Chi2 = 2,
    Softplus = 3,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    Silu = 0,
    Tanh = 1,
    Softplus = 2,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigmaUnits {
    Data = 0,
    Relative = 1,
}
#[derive(Clone, Debug)]
pub struct TrainerConfig {
    pub divergence: Divergence,
    pub sigma: f64,
    pub tau: f64,
    pub sigma_units: SigmaUnits,
    pub activation: Activation,
    pub hidden_width: usize,
    pub hidden_layers: usize,
    pub latent_dimension: usize,
    pub deterministic: bool,
    pub batch_sources: usize,
    pub latents_per_source: usize,
    pub generator_learning_rate: f64,
    pub value_learning_rate: f64,
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub ema_decay: f64,
    pub gradient_clip: f64,
    pub decay_steps: u64,
    pub decay_floor: f64,
    pub seed: u64,
}
impl Default for TrainerConfig {
    fn default() -> Self {
        Self {
            divergence: Divergence::Kl,
            sigma: 0.0,
            tau: 1.0,
            sigma_units: SigmaUnits::Data,
            activation: Activation::Silu,
            hidden_width: 128,
            hidden_layers: 3,
            latent_dimension: 8,
            deterministic: false,
            batch_sources: 64,
            latents_per_source: 16,
            generator_learning_rate: 1e-3,
            value_learning_rate: 3e-4,
            adam_beta1: 0.5,
            adam_beta2: 0.99,
            ema_decay: 0.998,
            gradient_clip: 0.0,
            decay_steps: 0,
            decay_floor: 0.02,
            seed: 0,
        }
    }
}
#[derive(Clone, Copy, Debug, Default)]
pub struct Metrics {
    pub step: u64,
    pub dual: f64,
    pub value_loss: f64,
    pub generator_loss: f64,
    pub potential: f64,
    pub action: f64,
    pub value_gradient_norm: f64,
    pub generator_gradient_norm: f64,
    pub density_ratio_mean: f64,
    pub steps_per_second: f64,
}
pub enum Control {
    Continue,
    Stop,
}
#[derive(Clone)]
pub struct CancelToken(Arc<AtomicBool>);
impl CancelToken {
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Side {
    shape: Vec<usize>,
    sampler: Option<Box<dyn crate::data::Sampler>>,
}
impl Side {
    fn new(name: &str, data: Data<'_>) -> Result<Self> {
        match data {
            Data::Array { samples, weights } => {
                let values = samples.values();
                if samples.shape.len() < 2 {
                    return Err(Error::invalid(format!(
                        "{name} samples have rank {}",
                        samples.shape.len()
                    )));
                }
                if let Some(bad) = values.iter().find(|v| !v.is_finite()) {
                    return Err(Error::invalid(format!(
                        "{name} samples hold {bad}; every value must be finite"
                    )));
                }
                if let Some(weights) = weights {
                    if weights.shape != [samples.shape[0]] {
                        return Err(Error::invalid(format!(
                            "{name} weights have shape {:?}",
                            weights.shape
                        )));
                    }
                    if let Some(bad) = weights
                        .values()
                        .iter()
                        .find(|v| !(v.is_finite() && **v >= 0.0))
                    {
                        return Err(Error::invalid(format!(
                            "{name} weights hold {bad}; they must be >= 0"
                        )));
                    }
                }
                Ok(Self {
                    shape: samples.shape[1..].to_vec(),
                    sampler: None,
                })
            }
            Data::Sampler {
                sample_shape,
                sampler,
            } => Ok(Self {
                shape: sample_shape,
                sampler: Some(sampler),
            }),
        }
    }
    fn draw(&mut self, rows: usize) -> Result<()> {
        let dimension = self.shape.iter().product();
        if let Some(sampler) = &mut self.sampler {
            let mut batch = vec![0.0; rows * dimension];
            sampler
                .fill(&mut batch, rows, dimension)
                .map_err(Error::Callback)?;
        }
        Ok(())
    }
}

pub struct Trainer {
    context: Context,
    config: TrainerConfig,
    sides: [Side; 2],
    metrics: Metrics,
    cancel: Arc<AtomicBool>,
}
impl Trainer {
    pub fn new(
        context: &Context,
        config: TrainerConfig,
        source: Data<'_>,
        target: Data<'_>,
    ) -> Result<Self> {
        let positive = |name: &str, v: f64| {
            if v.is_finite() && v > 0.0 {
                Ok(())
            } else {
                Err(Error::invalid(format!(
                    "{name} is {v}; it must be finite and greater than 0"
                )))
            }
        };
        positive("sigma", config.sigma)?;
        positive("tau", config.tau)?;
        positive("generator_learning_rate", config.generator_learning_rate)?;
        positive("value_learning_rate", config.value_learning_rate)?;
        for (name, v) in [
            ("adam_beta1", config.adam_beta1),
            ("adam_beta2", config.adam_beta2),
            ("ema_decay", config.ema_decay),
            ("decay_floor", config.decay_floor),
        ] {
            if !(0.0..1.0).contains(&v) {
                return Err(Error::invalid(format!(
                    "{name} is {v}; it must lie in [0, 1)"
                )));
            }
        }
        if !(config.gradient_clip.is_finite() && config.gradient_clip >= 0.0) {
            return Err(Error::invalid("gradient_clip must be >= 0"));
        }
        for (name, v) in [
            ("hidden_width", config.hidden_width),
            ("hidden_layers", config.hidden_layers),
            ("batch_sources", config.batch_sources),
            ("latents_per_source", config.latents_per_source),
        ] {
            if v == 0 || v > 1 << 20 {
                return Err(Error::invalid(format!(
                    "{name} is {v}; it must lie in 1..=1048576"
                )));
            }
        }
        let sides = [Side::new("source", source)?, Side::new("target", target)?];
        if sides[0].shape != sides[1].shape {
            return Err(Error::invalid(format!(
                "source samples have shape {:?} and target samples {:?}; they must agree",
                sides[0].shape, sides[1].shape
            )));
        }
        Ok(Self {
            context: context.clone(),
            config,
            sides,
            metrics: Metrics::default(),
            cancel: Arc::default(),
        })
    }
    fn one(&mut self) -> Result<()> {
        for side in &mut self.sides {
            side.draw(self.config.batch_sources)?;
        }
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled {
                step: self.metrics.step,
            });
        }
        self.metrics.step += 1;
        self.metrics.density_ratio_mean = 1.0;
        self.metrics.steps_per_second = 1.0;
        std::thread::sleep(Duration::from_micros(20));
        Ok(())
    }
    pub fn step(&mut self, steps: u64) -> Result<Metrics> {
        self.cancel.store(false, Ordering::Relaxed);
        for _ in 0..steps {
            self.one()?;
        }
        Ok(self.metrics)
    }
    pub fn run(
        &mut self,
        steps: u64,
        every: u64,
        progress: &mut dyn FnMut(&Metrics) -> Control,
    ) -> Result<Metrics> {
        self.cancel.store(false, Ordering::Relaxed);
        for i in 1..=steps {
            self.one()?;
            if (i % every == 0 || i == steps)
                && let Control::Stop = progress(&self.metrics)
            {
                return Err(Error::Cancelled {
                    step: self.metrics.step,
                });
            }
        }
        self.context.log(LogLevel::Info, "the run is over");
        Ok(self.metrics)
    }
    pub fn run_for(&mut self, duration: Duration) -> Result<(u64, Metrics)> {
        self.cancel.store(false, Ordering::Relaxed);
        let (start, before) = (Instant::now(), self.metrics.step);
        loop {
            self.one()?;
            if start.elapsed() >= duration {
                return Ok((self.metrics.step - before, self.metrics));
            }
        }
    }
    pub fn cancel_token(&self) -> CancelToken {
        CancelToken(self.cancel.clone())
    }
    pub fn metrics(&self) -> Metrics {
        self.metrics
    }
    pub fn model(&self) -> Model {
        let shape = self.sides[0].shape.clone();
        Model(Arc::new(ModelInfo {
            dimension: shape.iter().product(),
            sample_shape: shape,
            latent_dimension: self.config.latent_dimension,
            divergence: self.config.divergence,
            sigma: self.config.sigma,
            tau: self.config.tau,
            data_scale: 1.0,
            steps: self.metrics.step,
            parameters: 1,
        }))
    }
    pub fn save(&self, path: &Path) -> Result<()> {
        self.model().save(path)
    }
    pub fn load(
        context: &Context,
        path: &Path,
        source: Data<'_>,
        target: Data<'_>,
    ) -> Result<Self> {
        let model = Model::load(context, path)?;
        let config = TrainerConfig {
            sigma: model.0.sigma,
            ..TrainerConfig::default()
        };
        let mut trainer = Self::new(context, config, source, target)?;
        trainer.metrics.step = model.0.steps;
        Ok(trainer)
    }
}

#[derive(Clone)]
pub struct Model(Arc<ModelInfo>);
pub struct ModelInfo {
    pub sample_shape: Vec<usize>,
    pub dimension: usize,
    pub latent_dimension: usize,
    pub divergence: Divergence,
    pub sigma: f64,
    pub tau: f64,
    pub data_scale: f64,
    pub steps: u64,
    pub parameters: u64,
}
impl Model {
    pub fn save(&self, path: &Path) -> Result<()> {
        let bytes = format!(
            "stub {} {} {}",
            self.0.dimension, self.0.sigma, self.0.steps
        );
        std::fs::write(path, bytes).map_err(|source| Error::Io {
            action: "cannot write",
            path: path.into(),
            source,
        })
    }
    pub fn load(context: &Context, path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|source| Error::Io {
            action: "cannot read",
            path: path.into(),
            source,
        })?;
        Self::load_memory(context, &bytes)
    }
    pub fn load_memory(_context: &Context, bytes: &[u8]) -> Result<Self> {
        let foreign = || Error::Format("the bytes are not a model file".into());
        let text = std::str::from_utf8(bytes).map_err(|_| foreign())?;
        let words: Vec<&str> = text.split(' ').collect();
        let ["stub", dimension, sigma, steps] = words[..] else {
            return Err(foreign());
        };
        let dimension = dimension.parse().map_err(|_| foreign())?;
        Ok(Self(Arc::new(ModelInfo {
            sample_shape: vec![dimension],
            dimension,
            latent_dimension: 8,
            divergence: Divergence::Kl,
            sigma: sigma.parse().map_err(|_| foreign())?,
            tau: 1.0,
            data_scale: 1.0,
            steps: steps.parse().map_err(|_| foreign())?,
            parameters: 1,
        })))
    }
    pub fn info(&self) -> &ModelInfo {
        &self.0
    }
}

pub struct Session {
    model: Model,
}
impl Session {
    pub fn new(model: &Model) -> Result<Self> {
        Ok(Self {
            model: model.clone(),
        })
    }
    pub fn generate(
        &mut self,
        source: &[f32],
        _seed: u64,
        _first_row: u64,
        generated: &mut [f32],
    ) -> Result<()> {
        generated.copy_from_slice(source);
        Ok(())
    }
    pub fn conditional_mean(
        &mut self,
        source: &[f32],
        latents: usize,
        seed: u64,
        first_row: u64,
        mean: &mut [f32],
    ) -> Result<()> {
        assert!(latents > 0);
        self.generate(source, seed, first_row, mean)
    }
    pub fn trajectory(
        &mut self,
        source: &[f32],
        times: &[f64],
        _seed: u64,
        _first_row: u64,
        path: &mut [f32],
    ) -> Result<()> {
        if !times.is_sorted() || times.iter().any(|t| !(0.0..=1.0).contains(t)) {
            return Err(Error::invalid("times must ascend within [0, 1]"));
        }
        let dimension = self.model.0.dimension;
        for (row, out) in source
            .chunks(dimension)
            .zip(path.chunks_mut(dimension * times.len()))
        {
            out.chunks_mut(dimension)
                .for_each(|point| point.copy_from_slice(row));
        }
        Ok(())
    }
    pub fn drift(&mut self, time: f64, state: &[f32], drift: &mut [f32]) -> Result<()> {
        if !(0.0..=1.0).contains(&time) {
            return Err(Error::invalid(format!(
                "time is {time}; it must lie in [0, 1]"
            )));
        }
        drift.copy_from_slice(state);
        Ok(())
    }
    pub fn density_ratio(&mut self, target: &[f32], ratio: &mut [f32]) -> Result<()> {
        assert_eq!(target.len(), ratio.len() * self.model.0.dimension);
        ratio.fill(1.0);
        Ok(())
    }
}

impl<'a> TensorView<'a> {
    /// # Safety
    /// `data` is readable at every index the shape and strides reach, for `'a`.
    pub unsafe fn from_raw(
        dtype: DType,
        data: *const u8,
        shape: &[usize],
        strides: Option<&[isize]>,
        scale: f64,
        offset: f64,
    ) -> Result<TensorView<'a>> {
        if !(scale.is_finite() && offset.is_finite()) {
            return Err(Error::invalid(format!(
                "scale is {scale} and offset {offset}; both must be finite"
            )));
        }
        if shape.is_empty() || shape.contains(&0) {
            return Err(Error::invalid(format!(
                "shape is {shape:?}; every axis must be at least 1"
            )));
        }
        let mut dense = vec![1isize; shape.len()];
        for axis in (0..shape.len() - 1).rev() {
            dense[axis] = dense[axis + 1] * shape[axis + 1] as isize;
        }
        Ok(TensorView {
            dtype,
            data,
            shape: shape.to_vec(),
            strides: strides.map_or(dense, <[isize]>::to_vec),
            scale,
            offset,
            lifetime: PhantomData,
        })
    }

    fn values(&self) -> Vec<f64> {
        let mut values = Vec::new();
        for mut index in 0..self.shape.iter().product::<usize>() {
            let mut at = 0isize;
            for axis in (0..self.shape.len()).rev() {
                at += (index % self.shape[axis]) as isize * self.strides[axis];
                index /= self.shape[axis];
            }
            // SAFETY: `from_raw`'s caller promised that every index is readable.
            let value = unsafe {
                match self.dtype {
                    DType::F32 => f64::from(self.data.cast::<f32>().offset(at).read()),
                    DType::F64 => self.data.cast::<f64>().offset(at).read(),
                    DType::F16 => self.data.cast::<half::f16>().offset(at).read().to_f64(),
                    DType::BF16 => self.data.cast::<half::bf16>().offset(at).read().to_f64(),
                    DType::U8 => f64::from(self.data.offset(at).read()),
                }
            };
            values.push(value * self.scale + self.offset);
        }
        values
    }
}
