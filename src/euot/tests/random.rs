//! Random problems, for the checks.

use super::case::Case;
use crate::euot::conditional::Conditional;
use crate::euot::gaussian_bridge::GaussianBridge;
use crate::euot::networks::Networks;
use crate::formulas::axes::{Axis, Part};
use crate::formulas::peaks::{MOST_PEAKS, PeakAxes};
use crate::formulas::{Activation, Axes, Clock, Conjugate, Divergence, Head, Peaks};
use crate::nn::convolutions::{Convolutions, Upsampling};
use crate::nn::network::Network;
use crate::nn::spec::NetworkSpec;
use crate::rng::{Sequence, Stream};
use proptest::prelude::*;

pub(super) fn normals(seed: u64, stream: Stream, n: usize) -> Vec<f64> {
    let mut x = vec![0f32; n];
    Sequence::new(seed, 0, stream).normals(0, &mut x);
    x.into_iter().map(f64::from).collect()
}

type Sizes = (usize, usize, usize, usize, usize, usize);
type Problem = (f64, f64, usize, usize, bool, u64);

fn problems() -> impl Strategy<Value = Problem> {
    (0.05f64..2.0, 0.3f64..3.0, 0..Divergence::ALL.len(), 0..Activation::ALL.len(), any::<bool>(), any::<u64>())
}

pub(super) fn cases() -> impl Strategy<Value = Case> {
    // Above, on and below whole vectors, and rows of more than one.
    let dimension = prop_oneof![4 => 1usize..6, 1 => proptest::sample::select(vec![8, 15, 16, 17, 31, 32, 33])];
    let sizes = (dimension, 0usize..5, 1usize..4, 1usize..19, 1usize..4, 1usize..40);
    (sizes, problems()).prop_map(|(sizes, problem)| case_of(sizes, problem))
}

/// Cases whose peaks have axes of their own.
pub(super) fn cases_along_own_axes() -> impl Strategy<Value = Case> {
    let dimension = proptest::sample::select(vec![2usize, 3, 4, 5, 8, 9, 12, 15, 16, 17, 31, 33, 64]);
    let sizes = (dimension, Just(0usize), 1usize..4, 2usize..35, 1usize..3, 1usize..20);
    (sizes, problems()).prop_map(|(sizes, (sigma, tau, psi, act, _, seed))| {
        // Such seeds have peaks with axes of their own.
        let case = case_of(sizes, (sigma, tau, psi, act, false, seed - seed % 40));
        assert!(case.axes.turned);
        case
    })
}

fn case_of(
    (d, latent, sources, components, hidden, width): Sizes,
    (sigma, tau, psi, act, deterministic, seed): Problem,
) -> Case {
    let conditional = Conditional { components, latent };
    let head = Head { deterministic: deterministic && !conditional.has_own_components() };
    // Axes of one kind, or each with a noise and a time of its own.
    let spread = if seed % 5 < 2 { 0.0 } else { 1.0 };
    let range = spread * 3.0;
    let (noises, rates) = (normals(seed ^ 7, Stream::Init, d), normals(seed ^ 8, Stream::Init, d));
    let (curves, slopes) = (normals(seed ^ 9, Stream::Init, d), normals(seed ^ 3, Stream::Init, d));
    let axis = |j: usize| Axis {
        sigma: sigma * (0.3 * spread * noises[j]).exp(),
        rate: (-range * (0.5 + 0.5 * rates[j].sin())).exp(),
        curvature: 0.3 * curves[j],
        slope: 0.3 * slopes[j],
    };
    let axes = Axes::new((0..d).map(axis), Clock::new(range, 1.0 / (1 + seed % 3) as f64), sigma * sigma, 0.1).unwrap();
    // Half of the problems that may have peaks have some.
    let peaked = conditional.has_own_components() && seed.is_multiple_of(2);
    let axes =
        if peaked { peaked_axes(axes, 1 + (seed / 2) as usize % components.min(MOST_PEAKS), seed) } else { axes };
    let activation = Activation::ALL[act];
    let divergence = Divergence::ALL[psi];
    let mut bridge = GaussianBridge::none(d).unwrap();
    bridge.mean_squares = [seed ^ 4, seed ^ 5]
        .map(|seed| normals(seed, Stream::Init, d).iter().map(|x| x * x).collect::<Vec<_>>().into());
    let value = NetworkSpec {
        activation,
        hidden_width: width,
        hidden_layers: hidden,
        squares: seed % 4 > 0,
        ..NetworkSpec::default()
    };
    // Now and then the generator is another network.
    let generator = match seed % 3 {
        0 => NetworkSpec {
            activation: Activation::Tanh,
            hidden_width: 41 - width,
            hidden_layers: 4 - hidden,
            squares: !value.squares,
            ..value.clone()
        },
        _ => value.clone(),
    };
    let networks =
        Networks { conditional, deterministic: head.deterministic, bridge: &bridge, value, generator, unit: 1.0 };
    random_case(networks, d, sources, axes, Conjugate { divergence, tau }, seed)
}

/// Returns random orthogonal axes, one a row.
pub(super) fn random_axes(d: usize, seed: u64) -> Vec<f32> {
    let mut axes = normals(seed, Stream::Init, d * d);
    // Twice, for the digits of 32-bit numbers.
    for _ in 0..2 {
        for j in 0..d {
            let (before, axis) = axes.split_at_mut(j * d);
            let axis = &mut axis[..d];
            for other in before.chunks_exact(d) {
                let along: f64 = axis.iter().zip(other).map(|(a, b)| a * b).sum();
                axis.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
            }
            let length = axis.iter().map(|a| a * a).sum::<f64>().sqrt();
            axis.iter_mut().for_each(|a| *a /= length);
        }
    }
    axes.into_iter().map(|a| a as f32).collect()
}

/// Returns these axes with random peaks: flat ones, narrow ones, and such that are wider than points carried by the noise. Where all
/// axes are alike, half of the problems have peaks with axes of their own.
pub(super) fn peaked_axes(axes: Axes<Vec<f64>>, count: usize, seed: u64) -> Axes<Vec<f64>> {
    let d = axes.dimension;
    let sigma = axes.part(Part::Sigma)[..d].to_vec();
    let rates = &axes.part(Part::Rate)[..d];
    let alike = sigma.iter().all(|other| *other == sigma[0]) && rates.iter().all(|other| *other == rates[0]);
    let numbers = |salt: u64, length| normals(seed ^ salt, Stream::Init, length);
    let wide = numbers(10, count * d);
    let precision = |at: usize| if at.is_multiple_of(5) { 0.0 } else { (wide[at].exp() - 0.6) / sigma[at % d].powi(2) };
    let tilts = numbers(12, count * d).into_iter().enumerate();
    let peaks = Peaks {
        weights: numbers(9, count).into(),
        precisions: (0..count * d).map(precision).collect::<Vec<_>>().into(),
        centres: numbers(11, count * d).into(),
        tilts: tilts.map(|(at, tilt)| 0.3 * tilt / sigma[at % d]).collect::<Vec<_>>().into(),
        axes: (alike && (seed / 4).is_multiple_of(2))
            .then(|| PeakAxes::new((0..count as u64).flat_map(|k| random_axes(d, seed ^ (40 + k))).collect())),
    };
    let noises: Vec<f64> = sigma.iter().map(|sigma| sigma * sigma).collect();
    peaks.check(noises.iter().copied(), count).unwrap();
    axes.with_peaks(&peaks).unwrap()
}

/// Cases with convolutional networks.
pub(super) fn pictures() -> impl Strategy<Value = Case> {
    let picture = [1usize..3, 1..6, 1..6];
    // Of four channels or more, convolutions go by minimal filtering.
    let range = prop_oneof![Just(None), Just(Some([-1.0, 2.0]))];
    let form = (picture, 1usize..6, 1usize..3, (any::<bool>(), any::<bool>(), any::<bool>(), 0usize..3), range);
    let problem = (0.3f64..2.0, 1.0f64..9.0, 0..Divergence::ALL.len(), 0..Activation::ALL.len(), any::<u64>());
    (form, 1usize..4, 1usize..4, problem).prop_map(
        |(
            (picture, channels, blocks, (residual, bilinear, normalised, heads), range),
            latent,
            sources,
            (sigma, tau, psi, act, seed),
        )| {
            let upsampling = if bilinear { Upsampling::Bilinear } else { Upsampling::Nearest };
            let form = Convolutions { channels, blocks, residual, range, upsampling, ..Convolutions::default() };
            let form = form.of_samples(&picture, "").unwrap();
            let d = form.numbers();
            let norm_groups = if normalised { channels } else { 0 };
            let attention_heads = if channels.is_multiple_of(heads.max(1)) { heads } else { 1 };
            let axis = Axis { sigma, rate: 1.0, curvature: 0.0, slope: 0.0 };
            let axes = Axes::new((0..d).map(|_| axis), Clock::EVEN, sigma * sigma, 0.0).unwrap();
            let spec = NetworkSpec { activation: Activation::ALL[act], ..NetworkSpec::convolutional(form) };
            let networks = Networks {
                conditional: Conditional { components: 1, latent },
                deterministic: true,
                bridge: &GaussianBridge::none(d).unwrap(),
                value: spec.clone(),
                generator: NetworkSpec {
                    convolutions: Some(Convolutions { norm_groups, attention_heads, ..form }),
                    ..spec
                },
                unit: 0.7,
            };
            random_case(networks, d, sources, axes, Conjugate { divergence: Divergence::ALL[psi], tau }, seed)
        },
    )
}

/// Returns a case with random numbers.
fn random_case(
    networks: Networks<'_>,
    d: usize,
    sources: usize,
    axes: Axes<Vec<f64>>,
    conjugate: Conjugate,
    seed: u64,
) -> Case {
    let (value, generator) = networks.shapes(d).unwrap();
    let Conditional { components, latent } = networks.conditional;
    let weights = |network: &Network, stream| {
        let mut w = normals(seed, stream, network.layout.len());
        for layer in &network.layout.layers {
            w[layer.weights()].iter_mut().for_each(|x| *x /= (layer.fan_in() as f64).sqrt());
        }
        w
    };
    let rows = sources * components;
    let [mut time, mut component] = [0; 2].map(|_| vec![0f32; sources]);
    Sequence::new(seed, 0, Stream::Time).uniforms(0, &mut time);
    Sequence::new(seed, 0, Stream::Component).uniforms(0, &mut component);
    Case {
        d,
        sources,
        conditional: networks.conditional,
        head: Head { deterministic: networks.deterministic },
        atoms: value.graph.is_some(),
        conjugate,
        penalty: if seed.is_multiple_of(3) { 0.7 } else { 0.0 },
        axes,
        value_weights: weights(&value, Stream::Init),
        generator_weights: weights(&generator, Stream::SourceIndex),
        value,
        generator,
        x0: normals(seed ^ 1, Stream::Init, sources * d),
        y: normals(seed ^ 2, Stream::Init, rows * d),
        z: normals(seed, Stream::Latent, rows * latent),
        xi: normals(seed, Stream::Endpoint, rows * d),
        eta: normals(seed, Stream::Bridge, rows * d),
        time: time.into_iter().map(|t| f64::from(t) * 0.98).collect(),
        component: component.into_iter().map(f64::from).collect(),
    }
}
