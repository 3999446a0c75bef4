//! What the tests of the Rust API share: reproducible data, contexts, and problems small enough to train at once.
#![allow(dead_code, reason = "each test uses its part")]

#[allow(clippy::duplicate_mod, reason = "a test may have tests/common as well")]
#[path = "../common/place.rs"]
mod place;

use std::path::PathBuf;
use std::sync::OnceLock;

use sfeuot::{
    Context, ContextConfig, Data, DeviceKind, Divergence, Model, SigmaUnits, TensorView, Trainer, TrainerConfig,
};

pub fn context(threads: usize) -> Context {
    let config = ContextConfig { device: DeviceKind::Cpu, threads, ..Default::default() };
    Context::new(config).expect("the processor is always there")
}

/// A problem with networks of a few units and a batch whose sizes are multiples of nothing.
pub fn small() -> TrainerConfig {
    TrainerConfig {
        sigma: 0.5,
        sigma_units: SigmaUnits::Data,
        hidden_width: 20,
        hidden_layers: 2,
        batch_sources: 7,
        components: 5,
        seed: 11,
        ..Default::default()
    }
}

/// The same with a generator that has latents.
pub fn with_latents() -> TrainerConfig {
    TrainerConfig { latent_dimension: 3, ..small() }
}

/// Every form of a generator: its own components, latents, and latents with no noise beside them.
pub fn forms() -> [TrainerConfig; 3] {
    [small(), with_latents(), TrainerConfig { deterministic: true, squares: false, ..with_latents() }]
}

/// Independent standard normal numbers: splitmix64 and Box-Muller.
pub fn normals(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut uniform = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..count).map(|_| (-2.0 * (1.0 - uniform()).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()).collect()
}

/// Two clouds of 100 samples, row-major.
pub struct Clouds {
    pub dimension: usize,
    pub source: Vec<f64>,
    pub target: Vec<f64>,
}

pub const SAMPLES: usize = 100;

impl Clouds {
    pub fn new(dimension: usize) -> Self {
        let count = SAMPLES * dimension;
        let target = normals(count, 2).iter().map(|x| 1.5 + 0.6 * x).collect();
        Self { dimension, source: normals(count, 1), target }
    }

    /// Source samples around 0, and target samples in clusters apart from each other.
    pub fn clustered(dimension: usize, clusters: usize) -> Self {
        const EACH: usize = 200;
        let (noise, centres) = (normals(clusters * EACH * dimension, 2), normals(clusters * dimension, 3_000_000));
        let target = noise.iter().enumerate().map(|(i, x)| {
            let cluster = i / dimension % clusters;
            3.0 * centres[cluster * dimension + i % dimension] + 0.15 * x
        });
        Self { dimension, source: normals(EACH * dimension, 1), target: target.collect() }
    }

    /// The same with clusters that are each long and thin along axes of its own.
    pub fn stretched(dimension: usize, clusters: usize) -> Self {
        const EACH: usize = 1000;
        let (mut target, centres) =
            (normals(clusters * EACH * dimension, 5000), normals(clusters * dimension, 3_000_000));
        for (row, x) in target.chunks_exact_mut(dimension).enumerate() {
            let cluster = row % clusters;
            x.iter_mut().enumerate().for_each(|(j, x)| *x *= if j % 2 == 0 { 1.0 } else { 0.15 });
            for j in 1..dimension {
                let (sine, cosine) = f64::sin_cos(0.5 + 0.9 * cluster as f64 + 0.7 * j as f64);
                (x[j - 1], x[j]) = (cosine * x[j - 1] - sine * x[j], sine * x[j - 1] + cosine * x[j]);
            }
            x.iter_mut().zip(&centres[cluster * dimension..]).for_each(|(x, centre)| *x += 4.0 * centre);
        }
        Self { dimension, source: normals(EACH * dimension, 1), target }
    }

    pub fn trainer(&self, context: &Context, config: TrainerConfig) -> Trainer {
        Trainer::new(context, config, array(&self.source, self.dimension), array(&self.target, self.dimension))
            .expect("a sound problem")
    }

    /// The model of a training of so many steps.
    pub fn model(&self, config: TrainerConfig, steps: u64) -> Model {
        let mut trainer = self.trainer(&context(1), config);
        trainer.step(steps).expect("a sound problem");
        trainer.model().unwrap()
    }
}

/// The model of two steps of balanced transport onto three clusters, whose value function has peaks.
pub fn clusters(components: usize) -> Model {
    let (source, mut target) = (normals(1200, 8), normals(1200, 9));
    for (row, x) in target.chunks_exact_mut(2).enumerate() {
        let [a, b] = [[-5.0, -3.0], [5.0, -3.0], [0.0, 6.0]][row % 3];
        (x[0], x[1]) = (0.3 * x[0] + a, 0.3 * x[1] + b);
    }
    onto_clusters(&source, &target, TrainerConfig { components, ..small() })
}

/// The same onto clusters that are each stretched along axes of its own.
pub fn own_clusters(components: usize) -> Model {
    let (source, mut target) = (normals(8000, 8), normals(8000, 50_000));
    for (row, x) in target.chunks_exact_mut(2).enumerate() {
        let ([a, b], angle) = [([-5.0, -6.0], 0.3), ([5.0, -3.0], 1.2), ([4.0, 6.0], 2.0)][row % 3];
        let ((sine, cosine), [long, thin]) = (f64::sin_cos(angle), [1.5 * x[0], 0.15 * x[1]]);
        (x[0], x[1]) = (cosine * long - sine * thin + a, sine * long + cosine * thin + b);
    }
    onto_clusters(&source, &target, TrainerConfig { components, sigma: 2.0, ..small() })
}

fn onto_clusters(source: &[f64], target: &[f64], config: TrainerConfig) -> Model {
    let config = TrainerConfig { divergence: Divergence::Balanced, ..config };
    let mut trainer = Trainer::new(&context(1), config, array(source, 2), array(target, 2)).expect("a sound problem");
    trainer.step(2).expect("a sound problem");
    trainer.model().expect("a model")
}

pub fn array(values: &[f64], dimension: usize) -> Data<'_> {
    Data::array(view(values, dimension))
}

pub fn view(values: &[f64], dimension: usize) -> TensorView<'_> {
    TensorView::from_f64(values, &[values.len() / dimension, dimension]).expect("whole rows")
}

pub fn floats(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&x| x as f32).collect()
}

/// Mean and variance.
pub fn moments(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let values: Vec<f64> = values.into_iter().collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64;
    (mean, variance)
}

/// A path of the test's own in the target folder, with nothing there. The folder is this process's, since a test may
/// run in several at once, and goes with it.
pub fn scratch(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    extern "C" fn remove() {
        let _ = std::fs::remove_dir_all(FOLDER.get().expect("made before"));
    }
    let folder = FOLDER.get_or_init(|| {
        let folder = place::room().join(format!("rust_api-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("the target folder is writable");
        #[cfg(unix)]
        // SAFETY: the function takes and gives nothing, and stays.
        unsafe {
            libc::atexit(remove)
        };
        folder
    });
    let path = folder.join(name);
    let _ = std::fs::remove_file(&path);
    path
}

/// The bytes of a model's file: weights and description.
pub fn bytes(model: &Model, test: &str) -> Vec<u8> {
    let path = scratch(&format!("{test}.model"));
    model.save(&path).expect("the target folder is writable");
    std::fs::read(path).expect("the file was written")
}

/// A model's file with weights changed by `change`, which is told their place.
pub fn changed(file: &[u8], mut change: impl FnMut(usize, f32) -> f32) -> Vec<u8> {
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    let mut out = file.to_vec();
    // The axes of the problem are no weights; they come first where there are any.
    let header: serde_json::Value = serde_json::from_slice(&file[8..8 + length]).expect("a header");
    let axes = header["axes"]["data_offsets"][1].as_u64().unwrap_or(0) as usize;
    for (i, number) in out[8 + length + axes..].chunks_exact_mut(4).enumerate() {
        let new = change(i, f32::from_le_bytes(number.try_into().expect("four bytes")));
        number.copy_from_slice(&new.to_le_bytes());
    }
    out
}

/// The folder of files that tests read.
pub fn fixtures() -> PathBuf {
    place::root().join("tests/fixtures")
}
