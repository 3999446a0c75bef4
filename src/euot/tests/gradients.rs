//! Checks of the two steps: gradients against central differences in f64 over random problems, and agreement of every
//! instruction set. The same code runs in f32 in production.

use super::case::Case;
use super::random::{cases, cases_along_own_axes, normals, pictures};
use crate::device::Sums;
use crate::device::cpu::simd::Isa;
use crate::euot::conditional::Conditional;
use crate::nn::tests::check_gradient;
use crate::rng::Stream;
use proptest::prelude::*;

/// Draws of a group in [`left_out_part_is_noise`].
const SAMPLES: usize = 400;

fn value_gradient(case: &Case) -> Result<(), TestCaseError> {
    let gradient = case.value_step::<f64>(Isa::Portable).1;
    check_gradient(case, &gradient, |c| &mut c.value_weights, Case::value_loss)
}

fn generator_gradient(case: &Case) -> Result<(), TestCaseError> {
    let gradient = case.generator_step::<f64>(Isa::Portable).1;
    if case.head.deterministic {
        return check_gradient(case, &gradient, |c| &mut c.generator_weights, Case::generator_loss);
    }
    let (loss, plain) = (case.generator_loss(), case.loss_of_samples(case));
    prop_assert!((loss - plain).abs() < 1e-9 * (1.0 + loss.abs()), "{} against {}", loss, plain);
    check_gradient(case, &gradient, |c| &mut c.generator_weights, |moved| moved.loss_of_samples(case))
}

/// f32 on every instruction set of this processor against f64.
fn sets_agree(case: &Case) -> Result<(), TestCaseError> {
    let exact = [case.value_step::<f64>(Isa::Portable).1, case.generator_step::<f64>(Isa::Portable).1];
    for &isa in Isa::available() {
        let single = [case.value_step::<f32>(isa).1, case.generator_step::<f32>(isa).1];
        for (exact, single) in exact.iter().zip(&single) {
            let norm = exact.iter().map(|g| g * g).sum::<f64>().sqrt();
            let error = exact.iter().zip(single).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
            prop_assert!(error < 3e-4 * (norm + 1e-2), "{isa:?}: error {error} of {norm}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn value_step_gradient(case in prop_oneof![2 => cases(), 1 => pictures()]) {
        value_gradient(&case)?;
    }

    #[test]
    fn generator_step_gradient(case in prop_oneof![2 => cases(), 1 => pictures()]) {
        generator_gradient(&case)?;
    }

    /// Matrices of whole vectors, of less and of more.
    #[test]
    fn steps_along_own_axes(case in cases_along_own_axes().prop_filter("components near a boundary", Case::decided)) {
        value_gradient(&case)?;
        generator_gradient(&case)?;
        sets_agree(&case)?;
    }

    /// The generator passed once for all source samples, and V for some after the others, give what all at once do.
    #[test]
    fn parts_add_up(case in prop_oneof![2 => cases(), 1 => pictures()]) {
        fn agree(tolerance: f64, whole: [(Sums, Vec<f64>); 2], parts: [(Sums, Vec<f64>); 2]) -> Result<(), TestCaseError> {
            for ((whole_sums, whole), (sums, parts)) in whole.into_iter().zip(parts) {
                let terms = |s: Sums| {
                    let [generated, target] = s.distances;
                    let losses = [s.generated, s.conjugate, s.density_ratio, s.action, s.generator];
                    losses.into_iter().chain([s.target, s.ratio_squares, generated, target])
                };
                for (whole, part) in terms(whole_sums).zip(terms(sums)) {
                    prop_assert!((whole - part).abs() <= tolerance * (1.0 + whole.abs()), "{} of {}", part, whole);
                }
                let norm = whole.iter().map(|g| g * g).sum::<f64>().sqrt();
                let error = whole.iter().zip(&parts).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
                prop_assert!(error <= tolerance * (norm + 1e-2), "error {} of {}", error, norm);
            }
            Ok(())
        }
        let whole = [case.value_step::<f64>(Isa::Portable), case.generator_step::<f64>(Isa::Portable)];
        agree(1e-12, whole, case.by_parts::<f64>(Isa::Portable))?;
        let isa = Isa::detect();
        agree(1e-4, [case.value_step::<f32>(isa), case.generator_step::<f32>(isa)], case.by_parts::<f32>(isa))?;
    }

    /// The sums at both ends against plain loops over the ends.
    #[test]
    fn sums_at_the_ends(case in prop_oneof![2 => cases(), 1 => pictures()]) {
        let (sums, ends) = case.value_terms();
        let (generated, target) = ends.split_at(ends.len() / 2);
        let (rows, each) = (target.len(), case.conditional.components);
        let ratio = |v: f64| case.conjugate.evaluate(v).1;
        let total = |side: &[(Vec<f64>, f64)], term: &dyn Fn(f64) -> f64| side.iter().map(|(_, v)| term(*v)).sum::<f64>();
        let distances = |side: &[(Vec<f64>, f64)]| -> f64 {
            let pairs = (0..rows - each.min(rows)).filter(|r| r / each % 2 == 0);
            let distance = |r: usize| side[r].0.iter().zip(&side[r + each].0).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            pairs.map(distance).sum()
        };
        for (what, found, expected) in [
            ("generated", sums.generated, total(generated, &|v| v)),
            ("target", sums.target, total(target, &|v| v)),
            ("conjugate", sums.conjugate, total(target, &|v| case.conjugate.evaluate(v).0)),
            ("density ratio", sums.density_ratio, total(target, &ratio)),
            ("its squares", sums.ratio_squares, total(target, &|v| ratio(v).powi(2))),
            ("distances of generated samples", sums.distances[0], distances(generated)),
            ("distances of target samples", sums.distances[1], distances(target)),
        ] {
            prop_assert!((found - expected).abs() <= 1e-9 * (1.0 + expected.abs()), "{what}: {found}, not {expected}");
        }
    }

    #[test]
    fn instruction_sets_agree(
        case in prop_oneof![2 => cases(), 1 => pictures()].prop_filter("components near a boundary", Case::decided),
    ) {
        sets_agree(&case)?;
    }

    /// What the gradient of the generator step leaves out, the part through the components, is zero on average.
    #[test]
    fn left_out_part_is_noise(case in cases().prop_filter("no std", |c| !c.head.deterministic)) {
        let Conditional { components, latent } = case.conditional;
        // The network's own components cannot be fewer than they are.
        let k = if latent == 0 { components } else { 4 };
        let conditional = Conditional { components: k, latent };
        let mut case = Case { sources: 1, conditional, y: vec![0.0; k * case.d], ..case };
        let mut noise = normals(5, Stream::Bridge, SAMPLES * k * (latent + 2 * case.d)).into_iter();
        let mut take = |n: usize| -> Vec<f64> { noise.by_ref().take(n).collect() };
        let direction = normals(6, Stream::Init, case.generator_weights.len());
        let mut parts = Vec::new();
        for _ in 0..SAMPLES {
            (case.z, case.xi, case.eta) = (take(k * latent), take(k * case.d), take(k * case.d));
            let path: f64 = case.generator_step::<f64>(Isa::Portable).1.iter().zip(&direction).map(|(g, e)| g * e).sum();
            let at = |h: f64| {
                let mut moved = case.clone();
                moved.generator_weights.iter_mut().zip(&direction).for_each(|(w, e)| *w += h * e);
                moved.generator_loss()
            };
            // So short that hardly a log-deviation crosses the end of its range in between, where the slope jumps.
            parts.push((at(1e-6) - at(-1e-6)) / 2e-6 - path);
        }
        let mean = parts.iter().sum::<f64>() / SAMPLES as f64;
        let deviation = (parts.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / SAMPLES as f64).sqrt();
        prop_assert!(mean.abs() < 6.0 * deviation / (SAMPLES as f64).sqrt() + 1e-9, "{} of {}", mean, deviation);
    }
}
