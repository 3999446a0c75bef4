//! The processor's kernels, a whole training step and one-step generation, on one thread:
//!
//!     cargo bench --bench kernels                # all
//!     cargo bench --bench kernels -- mixture     # those whose name has it: one filter, a regular expression
//!     cargo bench --bench kernels -- '_c(32|64)/'    # convolutions of 32 and of 64 channels
//!     cargo bench --bench kernels -- --test      # each once, in seconds
//!
//! Rates are of floating-point operations where there are products, else of rows, normals or parameters. Those of
//! convolutions count what the definition has: minimal filtering makes fewer, so its rate may be above the processor's.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use sfeuot::kernels::{Kernels, Op, PictureOp, Pictures, Work};
use sfeuot::{Context, ContextConfig, Data, DeviceKind, Session, TensorView, Trainer, TrainerConfig};

/// Dimension and width: the standard sizes of the measurements in `bench/`.
const SIZES: [(usize, usize); 2] = [(2, 128), (16, 256)];

const OPS: [(&str, Op); 17] = [
    ("product", Op::Product),
    ("squares", Op::Squares),
    ("layer_first", Op::FirstLayer),
    ("layer", Op::Activated),
    ("layer_derivatives", Op::ActivatedCurved),
    ("layer_backward", Op::Backward),
    ("layer_tangent", Op::Tangent),
    ("layer_tangent_backward", Op::TangentBackward),
    ("weights", Op::Weights),
    ("weights_of_two", Op::WeightsOfTwo),
    ("bridge", Op::Bridge),
    ("choose", Op::Choose),
    ("mixture", Op::Mixture),
    ("noise", Op::Noise),
    ("optimiser", Op::Optimiser),
    ("value_step", Op::ValueStep),
    ("generator_step", Op::GeneratorStep),
];

fn group(c: &mut Criterion, (dimension, width): (usize, usize)) -> BenchmarkGroup<'_, WallTime> {
    let mut group = c.benchmark_group(format!("d{dimension}_w{width}"));
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(20);
    group
}

fn kernels(c: &mut Criterion) {
    for size in SIZES {
        let mut group = group(c, size);
        let mut kernels = Kernels::new(size.0, size.1);
        for (name, op) in OPS {
            group.throughput(match kernels.work(op) {
                Work::Flops(flops) | Work::Elements(flops) => Throughput::Elements(flops),
            });
            group.bench_function(name, |b| b.iter(|| kernels.run(op)));
        }
        // What the processor's own vectors bring is the rate of `product` over this one.
        let mut kernels = Kernels::portable(size.0, size.1);
        if let Work::Flops(flops) = kernels.work(Op::Product) {
            group.throughput(Throughput::Elements(flops));
            group.bench_function("product_portable", |b| b.iter(|| kernels.run(Op::Product)));
        }
    }
}

/// Sides and channels of pictures.
const PICTURES: [(usize, usize); 6] = [(32, 32), (32, 64), (16, 32), (16, 64), (8, 32), (8, 64)];

const PICTURE_OPS: [(&str, PictureOp); 5] = [
    ("product", PictureOp::Product),
    ("convolution", PictureOp::Forward),
    ("convolution_reverse", PictureOp::Reverse),
    ("convolution_weights", PictureOp::Weights),
    ("convolution_weights_of_two", PictureOp::WeightsOfTwo),
];

fn pictures(c: &mut Criterion) {
    for (side, channels) in PICTURES {
        let mut group = c.benchmark_group(format!("{side}x{side}_c{channels}"));
        group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(20);
        let mut pictures = Pictures::new(side, channels);
        for (name, op) in PICTURE_OPS {
            group.throughput(Throughput::Elements(pictures.flops(op)));
            group.bench_function(name, |b| b.iter(|| pictures.run(op)));
        }
    }
}

/// A training on points on curves, after two steps.
fn trainer((dimension, width): (usize, usize)) -> sfeuot::Result<Trainer> {
    let source: Vec<f32> = (0..1000 * dimension).map(|i| (i as f32 * 0.7).sin()).collect();
    let target: Vec<f32> = source.iter().map(|x| 2.0 + 0.5 * x).collect();
    let context = Context::new(ContextConfig { device: DeviceKind::Cpu, threads: 1, ..ContextConfig::default() })?;
    let config = TrainerConfig {
        sigma: 1.0,
        hidden_width: width,
        batch_sources: 128,
        components: 8,
        ..TrainerConfig::default()
    };
    let shape = [1000, dimension];
    let side = |values| Ok::<_, sfeuot::Error>(Data::array(TensorView::from_f32(values, &shape)?));
    let mut trainer = Trainer::new(&context, config, side(&source)?, side(&target)?)?;
    trainer.step(2)?;
    Ok(trainer)
}

fn interface(c: &mut Criterion) {
    for size in SIZES {
        let mut group = group(c, size);
        let mut trainer = trainer(size).expect("a training with default settings");
        group.throughput(Throughput::Elements(1));
        group.bench_function("training_step", |b| b.iter(|| trainer.step(1).expect("a finite loss")));
        let mut session = Session::new(&trainer.model().expect("a model")).expect("a session");
        for rows in [1, 4096] {
            let source = vec![0.3f32; rows * size.0];
            let mut generated = vec![0f32; rows * size.0];
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(format!("generate_{rows}"), |b| {
                b.iter(|| session.generate(black_box(&source), 1, 0, &mut generated).expect("whole rows"));
            });
        }
    }
}

criterion_group!(benches, kernels, pictures, interface);
criterion_main!(benches);
