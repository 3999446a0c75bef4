use super::*;
use crate::context::ContextConfig;
use crate::data::{Data, Normalisation, Sides, TensorView};
use crate::nn::init::kaiming;
use crate::train::config::TrainerConfig;
use crate::train::plan::outline;

const DIMENSION: usize = 3;

fn context(threads: usize) -> Context {
    Context::new(ContextConfig { threads, ..Default::default() }).expect("a context")
}

fn plan(config: TrainerConfig, dimension: usize) -> Plan {
    outline(&TrainerConfig { sigma: 0.5, ..config }, dimension).expect("a sound configuration")
}

fn engine(threads: usize, plan: &Plan) -> (CpuEngine, Samplers) {
    let samples = |shift: f32| (0..300).map(|i| shift + (i as f32 * 0.37).sin()).collect::<Vec<f32>>();
    let (source, target) = (samples(0.0), samples(1.0));
    let shape = [100, DIMENSION];
    let data = |values| Data::array(TensorView::from_f32(values, &shape).expect("as many numbers"));
    let sides = Sides::check(data(&source), data(&target)).expect("sound samples");
    let units = Normalisation { shift: vec![0.0; DIMENSION].into(), scale: 1.0 };
    let data = sides.prepare([units.seen(), units.seen()]).expect("finite samples");
    let (samplers, arrays) = Samplers::part(data.into(), plan.halves.batch_rows()).expect("memory");
    let networks = [&plan.halves.value, &plan.halves.generator]
        .map(|network| NetworkState::new(kaiming(network, 7, 0, |_| (1.0, 0.0)).expect("memory")).expect("memory"));
    (CpuEngine::new(&context(threads), plan.clone(), networks, arrays).expect("memory"), samplers)
}

/// Gives `to` what `from` has of these shards, as another process would send it.
fn send(from: &CpuEngine, to: &mut CpuEngine, half: Half, shards: Range<usize>) {
    let (from, to) = (&from.networks[half as usize].shards, &mut to.networks[half as usize].shards);
    for (from, to) in from[shards.clone()].iter().zip(&mut to[shards]) {
        to.gradient.values.copy_from_slice(&from.gradient.values);
        to.sums = from.sums;
    }
}

#[test]
fn shards_computed_apart_and_reduced_in_order_give_the_bits_of_one_engine() {
    let forms = [
        TrainerConfig { batch_sources: 200, components: 4, ..Default::default() },
        TrainerConfig { batch_sources: 150, components: 3, latent_dimension: 2, ..Default::default() },
    ];
    for form in forms {
        let plan = plan(TrainerConfig { hidden_width: 24, hidden_layers: 2, ..form }, DIMENSION);
        let (mut whole, samplers) = engine(2, &plan);
        let ((mut one, _), (mut other, _)) = (engine(1, &plan), engine(2, &plan));
        let (count, cut) = (whole.shards.count, 2);
        assert!(count > cut + 1, "{count} shards");
        for step in 0..3 {
            for half in Half::BOTH {
                whole.gradient(half, step, 0..count, &samplers, &|| false);
                one.gradient(half, step, 0..cut, &samplers, &|| false);
                other.gradient(half, step, cut..count, &samplers, &|| false);
                send(&one, &mut other, half, 0..cut);
                send(&other, &mut one, half, cut..count);
                let outcomes = [&mut whole, &mut one, &mut other].map(|engine| {
                    let outcome = engine.reduce(half);
                    engine.update(half, step, &outcome).expect("finite numbers");
                    (outcome.sums, outcome.gradient_norm)
                });
                assert!(outcomes[0].1 > 0.0);
                assert_eq!(outcomes[0], outcomes[1]);
                assert_eq!(outcomes[0], outcomes[2]);
            }
        }
        let expected = whole.state().expect("memory");
        assert_eq!(one.state().expect("memory"), expected);
        assert_eq!(other.state().expect("memory"), expected);
    }
}

#[test]
fn a_block_has_64_rows_unless_they_take_too_much() {
    let rows = |dimension: usize, components: usize| {
        let config = TrainerConfig { components, batch_sources: 128, ..Default::default() };
        cut(&plan(config, dimension)).0.block * components
    };
    for (dimension, components) in [(2, 8), (3, 64), (784, 4), (3072, 8), (12288, 2)] {
        assert_eq!(rows(dimension, components), 64, "{dimension} numbers, {components} components");
    }
    // One source sample has at least as many rows as components.
    assert_eq!(rows(2, 100), 100);
    let large = 1 << 18;
    let fewer = rows(large, 1);
    assert!(fewer < 64 && fewer.is_power_of_two(), "{fewer} rows");
    let numbers = |rows: usize| {
        let plan = plan(TrainerConfig { components: 1, batch_sources: 128, ..Default::default() }, large);
        workspace(&plan, 0..rows, rows).numbers()
    };
    assert!(numbers(fewer) <= BLOCK_NUMBERS && numbers(2 * fewer) > BLOCK_NUMBERS);
}
