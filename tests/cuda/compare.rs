//! Trainings of the CPU and of a GPU beside each other, and what they are compared by.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::problems::*;
use sfeuot::*;

pub fn cuda(cuda: CudaConfig) -> Context {
    Context::new(ContextConfig { device: DeviceKind::Cuda, cuda, ..Default::default() }).expect("a GPU")
}

pub const BOTH: [Products; 2] = [Products::Fused, Products::CublasLt];

pub fn by(products: Products) -> CudaConfig {
    CudaConfig { products, ..Default::default() }
}

pub fn with(products: Products) -> Context {
    cuda(by(products))
}

/// Every tensor of a checkpoint.
pub fn tensors(trainer: &mut Trainer, test: &str) -> HashMap<String, Vec<f32>> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let path = scratch(&format!("{test}{}.checkpoint", NUMBER.fetch_add(1, Ordering::Relaxed)));
    trainer.save(&path).expect("the target folder is writable");
    let tensors = read(&path);
    std::fs::remove_file(path).expect("the file was written");
    tensors
}

pub fn read(path: &Path) -> HashMap<String, Vec<f32>> {
    let file = std::fs::read(path).expect("the file was written");
    let tensors = safetensors::SafeTensors::deserialize(&file).expect("a safetensors file");
    let numbers = |view: safetensors::tensor::TensorView<'_>| {
        view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    };
    tensors.tensors().into_iter().map(|(name, view)| (name, numbers(view))).collect()
}

/// The largest difference of two tensors, relative to the largest number.
pub fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let size = a.iter().fold(0f32, |size, x| size.max(x.abs()));
    let apart = a.iter().zip(b).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(size.is_finite() && apart.is_finite());
    apart / size.max(f32::MIN_POSITIVE)
}

/// Takes the optimiser's first step, rate g / (|g| + 1e-8), off weights and averages again, each with the gradient g of
/// its own: of a gradient that is all rounding that step has its whole size, in either direction. What is left is where
/// both began, if both made the step that their gradients ask for; and gradients are compared themselves.
pub fn take_back(tensors: &mut HashMap<String, Vec<f32>>, config: &TrainerConfig) {
    for (network, rate) in [("value", config.value_learning_rate), ("generator", config.generator_learning_rate)] {
        let moment = tensors[&format!("{network}.first_moment")].clone();
        // The average has nine tenths of the first step.
        for (part, share) in [("weights", 1.0), ("average", 0.9)] {
            let values = tensors.get_mut(&format!("{network}.{part}")).expect("a checkpoint has it");
            for (value, &m) in values.iter_mut().zip(&moment) {
                let gradient = f64::from(m) / (1.0 - config.adam_beta1);
                *value += (share * rate * gradient / (gradient.abs() + 1e-8)) as f32;
            }
        }
    }
}

/// Gradients, as the first moment keeps them, and weights and averages after `steps` steps on the CPU and on the GPU.
pub fn compare(clouds: &Clouds, config: &TrainerConfig, products: Products, steps: u64, bound: f32) {
    compare_trainings(&|context| clouds.trainer(context, config.clone()), &by(products), steps, bound);
}

/// The same of any training.
pub fn compare_trainings(make: &dyn Fn(&Context) -> Trainer, on: &CudaConfig, steps: u64, bound: f32) {
    let mut cpu = make(&context(1));
    let mut gpu = make(&cuda(on.clone()));
    let config = &cpu.config().clone();
    let (expected, found) = (cpu.step(steps).expect("sound"), gpu.step(steps).expect("sound"));
    assert_eq!(expected.step, found.step);
    for (what, a, b) in [
        ("dual", expected.dual, found.dual),
        ("generator_loss", expected.generator_loss, found.generator_loss),
        ("action", expected.action, found.action),
        ("density_ratio_mean", expected.density_ratio_mean, found.density_ratio_mean),
        ("value_generated", expected.value_generated, found.value_generated),
        ("value_target", expected.value_target, found.value_target),
        ("matched_share", expected.matched_share, found.matched_share),
        ("spread", expected.spread, found.spread),
        ("value_gradient_norm", expected.value_gradient_norm, found.value_gradient_norm),
        ("generator_gradient_norm", expected.generator_gradient_norm, found.generator_gradient_norm),
    ] {
        let scale = a.abs().max(expected.action.abs()).max(expected.potential.abs());
        assert!((a - b).abs() <= 10.0 * f64::from(bound) * scale, "{what}: {b}, expected {a}; {config:?} {on:?}");
    }
    let (mut expected, mut found) = (tensors(&mut cpu, "cpu"), tensors(&mut gpu, "gpu"));
    if steps == 1 {
        for tensors in [&mut expected, &mut found] {
            take_back(tensors, config);
        }
    }
    for (name, expected) in &expected {
        let apart = difference(expected, &found[name]);
        let bound = if name.ends_with("moment") { 10.0 * bound } else { bound };
        assert!(apart < bound, "{name}: {apart:e}; {config:?} {on:?}");
    }
}

/// Samples of this shape, as many as [`Clouds`] has; those with more than one channel are drawn mirrored and moved.
pub fn pictures(values: &[f64], [channels, height, width]: [usize; 3]) -> Data<'_> {
    let count = values.len() / (channels * height * width);
    let samples = TensorView::from_f64(values, &[count, channels, height, width]).expect("whole pictures");
    Data::array(samples).augmented(Augmentation { flip: channels > 1, crop: channels as u32 - 1 })
}

/// What a session gives for rows of so many numbers with a model on the CPU, and with the same on the GPU.
pub fn compare_sessions(models: &[Model; 2], dimension: usize, bound: f32) {
    let [mut cpu, mut gpu] = models.each_ref().map(|model| Session::new(model).expect("a workspace"));
    let rows = 23;
    let x = floats(&normals(rows * dimension, 5));
    let close = |what: &str, expected: &[f32], found: &[f32]| {
        let apart = difference(expected, found);
        assert!(apart < bound, "{what}: {apart:e} apart, d = {dimension}");
    };
    let [mut a, mut b] = [0; 2].map(|_| vec![f32::NAN; x.len()]);
    cpu.generate(&x, 3, 100, &mut a).expect("finite rows");
    gpu.generate(&x, 3, 100, &mut b).expect("finite rows");
    close("generate", &a, &b);
    // Rows drawn in pieces are the rows drawn at once.
    let mut pieces = vec![f32::NAN; x.len()];
    let cut = 9 * dimension;
    gpu.generate(&x[..cut], 3, 100, &mut pieces[..cut]).expect("finite rows");
    gpu.generate(&x[cut..], 3, 109, &mut pieces[cut..]).expect("finite rows");
    close("pieces", &b, &pieces);
    for latents in [1, 70] {
        cpu.conditional_mean(&x, latents, 4, 7, &mut a).expect("finite rows");
        gpu.conditional_mean(&x, latents, 4, 7, &mut b).expect("finite rows");
        close("conditional_mean", &a, &b);
    }
    for time in [0.0, 0.3, 0.9] {
        cpu.drift(time, &x, &mut a).expect("finite rows");
        gpu.drift(time, &x, &mut b).expect("finite rows");
        close("drift", &a, &b);
    }
    let times = [0.0, 0.25, 0.25, 0.9, 1.0];
    let [mut a, mut b] = [0; 2].map(|_| vec![f32::NAN; x.len() * times.len()]);
    cpu.trajectory(&x, &times, 5, 11, &mut a).expect("ascending times");
    gpu.trajectory(&x, &times, 5, 11, &mut b).expect("ascending times");
    close("trajectory", &a, &b);
    for (x, path) in x.chunks(dimension).zip(b.chunks(times.len() * dimension)) {
        assert_eq!(&path[..dimension], x, "a path begins at its source");
    }
    let [mut a, mut b] = [0; 2].map(|_| vec![f32::NAN; rows]);
    cpu.density_ratio(&x, &mut a).expect("finite rows");
    gpu.density_ratio(&x, &mut b).expect("finite rows");
    close("density_ratio", &a, &b);
}
