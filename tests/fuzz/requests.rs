//! Random configs, samples and tensors: valid ones, the ends of each range, and what lies beyond.

use std::sync::Arc;

use sfeuot::abi::*;
use sfeuot::{Activation, Divergence};

use super::common::init;
use super::host::{Caller, Host, log, sample};

/// A config for networks of a few units; now and then for the largest.
pub struct Config {
    pub config: SfeuotTrainerConfig,
    /// What it may point to.
    _networks: Box<[SfeuotNetwork; 2]>,
    /// Arithmetic of a step, roughly, without the samples' dimension.
    pub cost: f64,
}

impl Host {
    fn choose(&mut self, valid: &[i32]) -> i32 {
        if self.spoil() {
            let wrong = self.random.of(&[-1, valid.len() as i32, i32::MIN, i32::MAX]);
            return self.bad(wrong);
        }
        self.random.of(valid)
    }

    /// A number that has to be finite and above 0; most are usual.
    fn positive(&mut self, usual: f64) -> f64 {
        match self.random.below(60) {
            0 => self.bad_of(&[0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
            1 => {
                const EXTREMES: [f64; 12] =
                    [f64::MIN_POSITIVE, 5e-324, 1e-300, 1e-46, 1e-38, 1e-12, 1e-5, 1e5, 1e12, 1e38, 1e300, f64::MAX];
                let extreme = self.random.of(&EXTREMES);
                self.unsure(extreme)
            }
            _ => usual * (0.3 + self.random.unit()),
        }
    }

    fn fraction(&mut self, usual: f64) -> f64 {
        match self.random.below(60) {
            0 => self.bad_of(&[-1e-9, 1.5, f64::NAN, f64::INFINITY, -f64::MAX]),
            1 => {
                let end = self.random.of(&[0.0, 1e-300, 0.999_999_9, 1.0 - f64::EPSILON, 1.0]);
                self.unsure(end)
            }
            _ => usual,
        }
    }

    fn count(&mut self, usual: usize, most: u32, least: u32) -> u32 {
        match self.random.below(120) {
            0 => self.bad_of(&[most + 1, u32::MAX, u32::MAX / 2]),
            1 if least > 0 => self.bad(0),
            2 if self.random.once_in(6) => self.unsure(most),
            _ => self.random.between(least.max(1) as usize, usual) as u32,
        }
    }

    pub fn trainer_config(&mut self) -> Config {
        let mut config: SfeuotTrainerConfig = init(sfeuot_trainer_config_init_4);
        config.divergence = self.choose(&Divergence::ALL.map(i32::from));
        config.sigma_units = self.choose(&[0, 1]);
        config.activation = self.choose(&Activation::ALL.map(i32::from));
        config.squares = self.choose(&[0, 1]);
        config.sigma = self.positive(0.3);
        config.tau = self.positive(1.0);
        config.hidden_width = self.count(9, 4096, 1);
        config.hidden_layers = self.count(3, 16, 1);
        if self.random.once_in(3) {
            config.latent_dimension = self.count(4, 4096, 0);
            config.deterministic = self.choose(&[0, 1]);
        } else if self.random.once_in(50) {
            config.deterministic = self.bad(1);
        }
        config.batch_sources = self.count(9, 1 << 20, 0);
        config.components = self.count(5, 4096, 0);
        if u64::from(config.batch_sources) * u64::from(config.components) > 1 << 24 {
            self.bad(());
        }
        if self.random.once_in(100) {
            config.reserved = self.bad_of(&[1, u32::MAX]);
        }
        config.generator_learning_rate = self.positive(1e-3);
        config.value_learning_rate = self.positive(3e-4);
        config.adam_beta1 = self.fraction(0.5);
        config.adam_beta2 = self.fraction(0.99);
        config.ema_decay = self.fraction(0.9);
        config.decay_floor = self.fraction(0.02);
        config.gradient_clip = match self.random.below(40) {
            0 => self.bad_of(&[-1.0, f64::NAN, f64::INFINITY]),
            1 => self.random.of(&[1e-300, 5e-324, 1e-20, 1e300, f64::MAX]),
            2..10 => 1.0,
            _ => 0.0,
        };
        config.gradient_penalty = match self.random.below(40) {
            0 => self.bad_of(&[-1.0, f64::NAN, 1e300]),
            1..10 => self.random.of(&[5e-324, 0.1, 1000.0]),
            _ => 0.0,
        };
        config.decay_steps = self.random.of(&[0, 0, 0, 1, 2, 100, u64::MAX]);
        config.tau_steps = self.random.of(&[0, 0, 0, 1, 3, u64::MAX]);
        config.tau_start = if config.tau_steps == 0 { 1.0 } else { self.positive(0.1) };
        config.seed = self.random.next();
        let mut networks = Box::new([init(sfeuot_network_init_3); 2]);
        let mut sizes = (f64::from(config.hidden_width), f64::from(config.hidden_layers));
        if self.random.once_in(4) {
            let [value, generator] = &mut *networks;
            let places = [(value, &mut config.value_network), (generator, &mut config.generator_network)];
            for (network, place) in places {
                *place = self.optional(network);
                if place.is_null() {
                    continue;
                }
                self.network(network);
                sizes.0 = sizes.0.max(f64::from(network.hidden_width));
                sizes.1 = sizes.1.max(f64::from(network.hidden_layers));
            }
        }
        let rows = f64::from(config.batch_sources) * f64::from(config.components);
        let (width, layers) = sizes;
        let numbers = f64::from(config.latent_dimension) + width * layers;
        Config { config, _networks: networks, cost: rows * (width + 1.0) * (numbers + 8.0) }
    }

    fn network(&mut self, network: &mut SfeuotNetwork) {
        network.activation = self.choose(&[0, 1, 2]);
        network.hidden_width = self.count(9, 4096, 1);
        network.hidden_layers = self.count(3, 16, 1);
        network.squares = self.choose(&[0, 1]);
        if self.random.once_in(100) {
            network.kind = self.bad_of(&[5, -1, i32::MAX]);
        }
    }

    pub fn context_config(&mut self) -> SfeuotContextConfig {
        let mut config: SfeuotContextConfig = init(sfeuot_context_config_init_2);
        config.device = SFEUOT_DEVICE_CPU;
        if self.spoil() {
            config.device = self.random.of(&[SFEUOT_DEVICE_AUTO, SFEUOT_DEVICE_CUDA, -1, 3, i32::MAX]);
            self.sound = super::host::Sound::Unsure;
        }
        config.threads = match self.random.below(150) {
            // As many as there may be would leave the program itself no address space.
            0 => self.unsure(40),
            1 => self.bad(1025),
            2 => self.bad(u32::MAX),
            3..6 => 0,
            _ => self.random.between(1, 3) as u32,
        };
        config.log_level = self.choose(&[0, 1, 2, 3]);
        config.cuda_products = self.choose(&[0, 1, 2]);
        config.cuda_precision = self.choose(&[0, 1, 2]);
        if self.random.once_in(2) {
            config.log_callback = Some(log);
        }
        if self.spoil() {
            config.cuda_device = self.bad_of(&[-2, i32::MIN]);
        }
        config.memory_limit = self.random.of(&[0, 1, u64::MAX]);
        if self.random.once_in(9) && config.device == SFEUOT_DEVICE_CPU {
            // They mean nothing to the CPU.
            config.cuda_context = std::ptr::without_provenance_mut(self.random.next() as usize);
            config.cuda_stream = std::ptr::without_provenance_mut(self.random.next() as usize);
        }
        config
    }

    /// The shape of one sample.
    pub fn sample_shape(&mut self) -> Vec<i64> {
        if self.random.once_in(400) {
            let huge = self.random.of(&[&[1 << 20][..], &[1024, 1024], &[1 << 14], &[(1 << 20) + 1]]);
            return self.unsure(huge.to_vec());
        }
        let rank = if self.random.once_in(4) { self.random.between(1, 7) } else { 1 };
        let mut left = 12;
        (0..rank)
            .map(|_| {
                let axis = self.random.between(1, if rank == 1 { 6 } else { 2 }.min(left));
                left /= axis;
                axis as i64
            })
            .collect()
    }
}

/// One side of a problem: a struct for the library, and all that it points to.
pub struct Samples {
    pub data: SfeuotData,
    samples: SfeuotTensor,
    weights: SfeuotTensor,
    memory: Vec<u64>,
    shape: Vec<i64>,
    strides: Vec<i64>,
    weight_values: Vec<f64>,
    weight_shape: [i64; 2],
    pub caller: Option<Arc<Caller>>,
}

const SIZES: [usize; 5] = [4, 8, 2, 2, 1];

impl Samples {
    pub fn new(host: &mut Host, sample_shape: &[i64]) -> Box<Self> {
        let mut side = Box::new(Self {
            data: init(sfeuot_data_init_3),
            samples: init(sfeuot_tensor_init),
            weights: init(sfeuot_tensor_init),
            memory: vec![],
            shape: vec![],
            strides: vec![],
            weight_values: vec![],
            weight_shape: [0, 1],
            caller: None,
        });
        if host.random.once_in(4) {
            side.draw(host, sample_shape);
        } else {
            side.hold(host, sample_shape);
            if host.random.once_in(3) {
                side.weigh(host);
            }
        }
        if host.spoil() {
            side.confuse(host);
        }
        side
    }

    /// Samples from a callback.
    fn draw(&mut self, host: &mut Host, sample_shape: &[i64]) {
        self.shape = sample_shape.to_vec();
        let caller = host.caller();
        self.data.sample_callback = Some(sample);
        self.data.sample_userdata = Arc::as_ptr(&caller).cast_mut().cast();
        self.data.sample_rank = self.shape.len() as u32;
        self.data.sample_shape = self.shape.as_ptr();
        self.caller = Some(caller);
        host.unsure(());
        if host.spoil() {
            self.data.sample_rank = host.bad_of(&[0, 8, u32::MAX]);
        }
    }

    /// Samples in an array.
    fn hold(&mut self, host: &mut Host, sample_shape: &[i64]) {
        let dimension: usize = sample_shape.iter().product::<i64>() as usize;
        let rows = if dimension > 1000 { 3 } else { host.random.between(2, 40) };
        self.shape = [&[rows as i64], sample_shape].concat();
        self.samples.dtype = if host.random.once_in(2) { SFEUOT_DTYPE_F32 } else { host.random.below(5) as i32 };
        self.fill(host, rows * dimension);
        self.samples.data = self.memory.as_ptr().cast();
        self.samples.rank = self.shape.len() as u32;
        self.samples.shape = self.shape.as_ptr();
        if host.random.once_in(4) {
            self.stride(host);
        }
        match host.random.below(60) {
            0 => {
                self.samples.scale = host.random.of(&[1e-300, 1e300, f64::MAX, 1e-40, 1e38, -1e10, 5e-324]);
                host.unsure(());
            }
            1 => self.samples.scale = host.bad_of(&[0.0, f64::NAN, f64::INFINITY]),
            2 => {
                self.samples.offset = host.random.of(&[1e300, -1e38, 1e10, f64::MAX]);
                host.unsure(());
            }
            3 => self.samples.offset = host.bad(f64::NAN),
            4 => self.samples.dtype = host.bad_of(&[-1, 5, i32::MAX]),
            5 => self.samples.rank = host.bad_of(&[0, 9, u32::MAX]),
            6 => self.samples.data = host.bad(std::ptr::null()),
            7 => self.samples.shape = host.bad(std::ptr::null()),
            8 => self.samples.read_only = host.bad(2),
            9 => self.samples.memory = host.bad_of(&[SFEUOT_MEMORY_CUDA, -1, 2]),
            10 => {
                let axis = host.random.below(self.shape.len());
                self.shape[axis] = host.bad_of(&[0, -1, i64::MIN, i64::MAX, 1 << 61]);
            }
            11 => {
                let size = host.random.of(&[0, self.samples.struct_size + 1, u32::MAX]);
                self.samples.struct_size = host.bad(size);
            }
            12 if SIZES.get(self.samples.dtype as usize).is_some_and(|&size| size > 1) => {
                self.samples.data = host.bad(self.samples.data.wrapping_byte_add(1));
            }
            13 => {
                // Any number of samples may be the same numbers in memory.
                self.strides = vec![0; self.shape.len()];
                self.samples.strides = self.strides.as_ptr();
                self.shape[0] = host.random.of(&[1 << 16, 1 << 24, 1 << 33, 1 << 40, 1 << 50]);
                host.unsure(());
            }
            _ => {}
        }
    }

    /// Finite numbers of moderate size, or anything.
    fn fill(&mut self, host: &mut Host, count: usize) {
        let size = SIZES[self.samples.dtype as usize];
        self.memory = vec![0; (count * size).div_ceil(8)];
        let wild = host.random.once_in(25);
        if wild || matches!(self.samples.dtype, SFEUOT_DTYPE_U8) {
            host.unsure(());
        }
        // SAFETY: the array has so many bytes.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.memory.as_mut_ptr().cast::<u8>(), count * size) };
        for element in bytes.chunks_exact_mut(size) {
            let value = host.random.unit() * 3.0 - 1.0;
            match (wild, size) {
                (true, _) => element.copy_from_slice(&host.random.next().to_ne_bytes()[..size]),
                (_, 4) => element.copy_from_slice(&(value as f32).to_ne_bytes()),
                (_, 8) => element.copy_from_slice(&value.to_ne_bytes()),
                // A sign and exponent of about 1 in both types.
                (_, 2) => element.copy_from_slice(&(0x3C00 | host.random.below(0x3FF) as u16).to_ne_bytes()),
                _ => element[0] = host.random.next() as u8,
            }
        }
        if wild && host.random.once_in(2) && self.samples.dtype == SFEUOT_DTYPE_F32 {
            for element in bytes.chunks_exact_mut(4) {
                let value = host.random.of(&[1e38f32, -1e38, f32::MAX, 1e-40, 0.0]);
                element.copy_from_slice(&value.to_ne_bytes());
            }
        }
    }

    /// The same memory in another order, forwards or backwards, or a part of it.
    fn stride(&mut self, host: &mut Host) {
        self.strides = vec![0; self.shape.len()];
        let mut step = 1;
        let mut begin = 0;
        let mut axes: Vec<usize> = (0..self.shape.len()).collect();
        for left in (1..axes.len()).rev() {
            axes.swap(left, host.random.below(left + 1));
        }
        for axis in axes {
            self.strides[axis] = step;
            if host.random.once_in(3) {
                self.strides[axis] = -step;
                begin += step * (self.shape[axis] - 1);
            } else if host.random.once_in(6) {
                self.strides[axis] = 0;
                host.unsure(());
            }
            step *= self.shape[axis];
        }
        let size = SIZES[self.samples.dtype as usize];
        self.samples.data = self.samples.data.wrapping_byte_add(begin as usize * size);
        self.samples.strides = self.strides.as_ptr();
    }

    fn weigh(&mut self, host: &mut Host) {
        // The address space would not hold weights for as many rows as a shape may claim.
        let rows = self.shape[0].clamp(1, 4096);
        self.weight_values = (0..rows).map(|_| 0.1 + host.random.unit()).collect();
        self.weight_shape[0] = rows;
        self.weights.dtype = SFEUOT_DTYPE_F64;
        self.weights.rank = 1;
        if rows != self.shape[0] {
            host.bad(());
        }
        let one = host.random.below(rows as usize);
        match host.random.below(40) {
            0 => self.weight_values[one] = host.bad_of(&[-1.0, f64::NAN, f64::INFINITY]),
            1 => self.weight_values.fill(host.bad(0.0)),
            2 => {
                self.weight_shape[0] = rows - 1;
                host.bad(());
            }
            3 => self.weights.rank = host.bad_of(&[0, 9]),
            4 => {
                self.weight_values[one] = host.random.of(&[f64::MAX, 5e-324, 1e300, 0.0]);
                host.unsure(());
            }
            5 => {
                self.weight_values.fill(host.random.of(&[f64::MAX, 5e-324, 1e-300]));
                host.unsure(());
            }
            _ => {}
        }
        self.weights.data = self.weight_values.as_ptr().cast();
        self.weights.shape = self.weight_shape.as_ptr();
        self.data.weights = &raw const self.weights;
    }

    fn link(&mut self) {
        if self.caller.is_none() {
            self.data.samples = &raw const self.samples;
        }
    }

    fn confuse(&mut self, host: &mut Host) {
        match host.random.below(3) {
            0 => {
                self.caller = None;
                self.data = init(sfeuot_data_init_3);
                self.data.sample_rank = host.bad(1);
                // Neither samples nor a callback: `address` must not set them.
                self.data.struct_size = self.data.struct_size.wrapping_add(host.random.of(&[1, u32::MAX, 100]));
            }
            1 => self.data.struct_size = host.bad_of(&[0, self.data.struct_size - 1, u32::MAX]),
            _ => {
                self.data.weights = &raw const self.weights;
                self.weights.data = std::ptr::null();
                host.bad(());
            }
        }
    }

    /// The struct, in which the addresses are those of this box.
    pub fn address(&mut self) -> *const SfeuotData {
        self.link();
        &raw const self.data
    }
}
