//! Agreement of both steps with an independent float64 implementation by automatic differentiation, on the problems
//! in tests/fixtures: same weights, same noise.

use super::case::Case;
use crate::device::cpu::simd::Isa;
use crate::euot::conditional::Conditional;
use crate::euot::gaussian_bridge::GaussianBridge;
use crate::euot::networks::Networks;
use crate::formulas::{Activation, Axes, Conjugate, Divergence, Head};
use crate::nn::spec::NetworkSpec;
use crate::numbers::Numbers;
use serde::Deserialize;

#[derive(Deserialize)]
struct Layer {
    inputs: usize,
    outputs: usize,
    w: Vec<f64>,
    b: Vec<f64>,
}

#[derive(Deserialize)]
struct Noise {
    x0: Vec<f64>,
    y: Vec<f64>,
    z: Vec<f64>,
    xi: Vec<f64>,
    eta: Vec<f64>,
    t: Vec<f64>,
    /// Absent where the generator has latents.
    #[serde(default)]
    component: Vec<f64>,
}

#[derive(Deserialize)]
struct ValueResults {
    dual: f64,
    potential: f64,
    action: f64,
    density_ratio_mean: f64,
    gradient: Vec<Layer>,
}

#[derive(Deserialize)]
struct GeneratorResults {
    loss: f64,
    gradient: Vec<Layer>,
}

#[derive(Deserialize)]
struct Fixture {
    d: usize,
    latent: usize,
    hidden: usize,
    layers: usize,
    k: usize,
    n: usize,
    sigma: f64,
    tau: f64,
    divergence: Divergence,
    activation: Activation,
    deterministic: bool,
    /// Mean squares of both sides, that the networks' squares are counted from; without, they have none.
    squares: Option<[Numbers; 2]>,
    value: Vec<Layer>,
    generator: Vec<Layer>,
    noise: Noise,
    value_step: ValueResults,
    generator_step: GeneratorResults,
}

fn flat(layers: &[Layer]) -> Vec<f64> {
    layers
        .iter()
        .flat_map(|l| {
            assert_eq!(l.w.len(), l.inputs * l.outputs);
            l.w.iter().chain(&l.b).copied()
        })
        .collect()
}

fn norm(x: impl Iterator<Item = f64>) -> f64 {
    x.map(|x| x * x).sum::<f64>().sqrt()
}

fn check(json: &str) {
    let f: Fixture = serde_json::from_str(json).unwrap();
    let conditional = Conditional { components: f.k, latent: f.latent };
    let mut bridge = GaussianBridge::none(f.d).unwrap();
    let squares = f.squares.is_some();
    bridge.mean_squares = f.squares.unwrap_or(bridge.mean_squares);
    let spec = NetworkSpec {
        activation: f.activation,
        hidden_width: f.hidden,
        hidden_layers: f.layers,
        squares,
        ..NetworkSpec::default()
    };
    let networks = Networks {
        conditional,
        deterministic: f.deterministic,
        bridge: &bridge,
        value: spec.clone(),
        generator: spec,
        unit: 1.0,
    };
    let (value, generator) = networks.shapes(f.d).unwrap();
    let head = Head { deterministic: f.deterministic };
    let case = Case {
        atoms: false,
        d: f.d,
        sources: f.n,
        conditional,
        head,
        conjugate: Conjugate { divergence: f.divergence, tau: f.tau },
        penalty: 0.0,
        axes: Axes::even(f.d, f.sigma),
        value,
        generator,
        value_weights: flat(&f.value),
        generator_weights: flat(&f.generator),
        x0: f.noise.x0,
        y: f.noise.y,
        z: f.noise.z,
        xi: f.noise.xi,
        eta: f.noise.eta,
        time: f.noise.t,
        component: if f.noise.component.is_empty() { vec![1.0; f.n] } else { f.noise.component },
    };
    let rows = (f.n * f.k) as f64;
    let close = |what: &str, found: f64, expected: f64, scale: f64, tolerance: f64| {
        assert!((found - expected).abs() <= tolerance * scale.abs(), "{what}: {found}, expected {expected}");
    };
    let gradient = |what: &str, found: &[f64], expected: &[Layer], tolerance: f64| {
        let expected = flat(expected);
        assert_eq!(found.len(), expected.len());
        let error = norm(found.iter().zip(&expected).map(|(a, b)| a - b));
        assert!(error <= tolerance * norm(expected.into_iter()), "{what}: error {error}");
    };
    for (what, tolerance, value, generator) in [
        ("f64", 1e-12, case.value_step::<f64>(Isa::Portable), case.generator_step::<f64>(Isa::Portable)),
        ("f32", 1e-5, case.value_step::<f32>(Isa::detect()), case.generator_step::<f32>(Isa::detect())),
    ] {
        let sums = value.0;
        let expected = &f.value_step;
        let potential = (sums.generated - sums.conjugate) / rows;
        close(what, potential, expected.potential, expected.potential, tolerance);
        close(what, sums.action / rows, expected.action, expected.action, tolerance);
        // The dual is a difference: its error is measured against its terms.
        let scale = expected.potential.abs().max(expected.action.abs());
        close(what, potential - sums.action / rows, expected.dual, scale, tolerance);
        close(what, sums.density_ratio / rows, expected.density_ratio_mean, expected.density_ratio_mean, tolerance);
        gradient(what, &value.1, &expected.gradient, 3.0 * tolerance);
        close(what, generator.0.generator / rows, f.generator_step.loss, f.generator_step.loss, tolerance);
        gradient(what, &generator.1, &f.generator_step.gradient, 3.0 * tolerance);
    }
}

macro_rules! fixtures {
    ($($name:ident)+) => {$(
        #[test]
        fn $name() {
            check(include_str!(concat!("../../../tests/fixtures/", stringify!($name), ".json")));
        }
    )+};
}

fixtures!(balanced_d2 chi2_d2 components_d2 components_kl_d3 deterministic_d3 kl_d3 kl_large_d1 softplus_d5 squares_d3 squares_latents_d2);
