//! What a trainer may rely on after [`Sides`](super::Sides), whatever the host handed over.

use super::*;
use crate::data::Augmentation;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Both sides in the units measured on them; with these and the shape of a sample.
fn prepare(source: Data<'_>, target: Data<'_>) -> Result<(DataSource, DataSource, Normalisation, Vec<usize>)> {
    let mut sides = Sides::check(source, target)?;
    let units = sides.measure(None, false)?.units;
    let shape = sides.sample_shape().to_vec();
    let (source, target) = sides.prepare([units.seen(), units.seen()])?;
    Ok((source, target, units, shape))
}

/// As on resuming: in units measured before.
fn prepare_with(units: &Normalisation, source: Data<'_>, target: Data<'_>) -> Result<(DataSource, DataSource)> {
    Sides::check(source, target)?.prepare([units.seen(), units.seen()])
}

fn message<T>(result: Result<T>) -> String {
    result.err().expect("must be refused").to_string()
}

fn array(source: &DataSource) -> &ArraySource {
    match source {
        DataSource::Array(array) => array,
        _ => panic!("an array was handed over"),
    }
}

fn sampler(source: DataSource) -> SamplerSource {
    match source {
        DataSource::Sampler(sampler) => sampler,
        _ => panic!("a sampler was handed over"),
    }
}

fn wave(count: usize, phase: f64) -> Vec<f64> {
    (0..count).map(|k| (k as f64 * 0.37 + phase).sin() * 3.0 + phase).collect()
}

/// A sampler of a wave that counts the rows asked of it.
fn counted(rows_drawn: &Arc<AtomicUsize>) -> impl Sampler + 'static {
    let rows_drawn = Arc::clone(rows_drawn);
    let mut at = 0.0f32;
    move |batch: &mut [f32], rows: usize, dimension: usize| {
        assert_eq!(batch.len(), rows * dimension);
        rows_drawn.fetch_add(rows, Ordering::Relaxed);
        for value in batch {
            *value = 5.0 + 2.0 * at.sin();
            at += 0.37;
        }
        Ok(())
    }
}

#[test]
fn pictures_that_are_drawn_moved_have_one_shift_for_the_pixels_of_a_channel() {
    let (source, target) = (wave(5 * 24, 0.0), wave(3 * 24, 40.0));
    let of = |values, count| Data::array(TensorView::from_f64(values, &[count, 2, 3, 4]).unwrap());
    let crop = Augmentation { flip: false, crop: 1 };
    let (_, moved, units, _) = prepare(of(&source, 5), of(&target, 3).augmented(crop)).unwrap();
    let mean = |values: &[f64], channel: usize| {
        values.chunks_exact(24).flat_map(|picture| &picture[12 * channel..][..12]).sum::<f64>()
            / (values.len() / 2) as f64
    };
    let mut square = 0.0;
    for (at, &shift) in units.shift.iter().enumerate() {
        let expected = 0.5 * mean(&source, at / 12) + 0.5 * mean(&target, at / 12);
        assert!((shift - expected).abs() < 1e-12 && shift == units.shift[at / 12 * 12]);
        for values in [&source, &target] {
            let own = values.iter().skip(at).step_by(24);
            square += own.map(|x| (x - shift).powi(2)).sum::<f64>() / (values.len() / 24) as f64 / 48.0;
        }
    }
    assert!((units.scale / square.sqrt() - 1.0).abs() < 1e-12);
    assert!(array(&moved).changes().is_some_and(|changes| changes.crop == 1 && changes.pixels() == 12));
}

#[test]
fn rows_are_the_samples_in_normalised_units() {
    let (source, target) = (wave(60, 0.0), wave(36, 40.0));
    let shape = [3, 2, 2];
    let view = TensorView::from_f64(&source, &[5, 3, 2, 2]).unwrap();
    let (prepared, _, normalisation, sample_shape) =
        prepare(Data::array(view), Data::array(TensorView::from_f64(&target, &[3, 3, 2, 2]).unwrap())).unwrap();
    assert_eq!(sample_shape, shape);
    assert_eq!(prepared.dimension(), 12);
    let rows = array(&prepared);
    assert_eq!(rows.size().count, 5);
    for (k, (&row, &value)) in rows.rows().iter().zip(&source).enumerate() {
        let expected = (value - normalisation.shift[k % 12]) / normalisation.scale;
        assert!((f64::from(row) - expected).abs() < 1e-6, "{row} against {expected}");
    }
}

#[test]
fn every_element_type_and_layout_of_the_same_values_prepares_the_same() {
    let bytes: Vec<u8> = (0..24u8).map(|k| k.wrapping_mul(37)).collect();
    let doubles: Vec<f64> = bytes.iter().map(|&b| f64::from(b) * 0.5 - 3.0).collect();
    let floats: Vec<f32> = doubles.iter().map(|&value| value as f32).collect();
    let transposed: Vec<f32> = (0..24).map(|k| floats[(k % 8) * 3 + k / 8]).collect();
    let target = wave(9, 1.0);
    let print = |view: TensorView| {
        let target = TensorView::from_f64(&target, &[3, 3]).unwrap();
        let (source, _, normalisation, _) = prepare(Data::array(view), Data::array(target)).unwrap();
        (source.fingerprint().hash().unwrap(), normalisation)
    };
    let expected = print(TensorView::from_f64(&doubles, &[8, 3]).unwrap());
    assert_eq!(print(TensorView::from_f32(&floats, &[8, 3]).unwrap()), expected);
    let scaled = TensorView::from_u8(&bytes, &[8, 3]).and_then(|view| view.scaled(0.5, -3.0)).unwrap();
    assert_eq!(print(scaled), expected);
    // SAFETY: an 8 x 3 view into a 3 x 8 array.
    let view = unsafe {
        let data = transposed.as_ptr().cast();
        TensorView::from_raw(super::super::DType::F32, data, &[8, 3], Some(&[1, 8]), 1.0, 0.0)
    };
    assert_eq!(print(view.unwrap()), expected);
}

#[test]
fn a_weight_of_zero_leaves_a_sample_out_of_statistics_and_draws() {
    // Enough samples that they are read in several blocks.
    let weights: Vec<u8> = (0..6000).map(|k| if k % 3 == 2 || k > 5000 { 0 } else { 7 }).collect();
    let kept: Vec<f64> = wave(4000, 0.5);
    let mut next = kept.iter();
    let all: Vec<f64> = weights.iter().map(|&w| if w == 0 { 1e6 } else { *next.next().unwrap() }).collect();
    let kept = &kept[..kept.len() - next.len()];
    let target = || Data::array(TensorView::from_f32(&[0.0, 1.0], &[2, 1]).unwrap());

    let samples = TensorView::from_f64(&all, &[all.len()]).unwrap();
    let view = TensorView::from_u8(&weights, &[weights.len()]).unwrap();
    let (source, _, with_weights, shape) = prepare(Data::weighted(samples, view), target()).unwrap();
    let samples = TensorView::from_f64(kept, &[kept.len()]).unwrap();
    let (_, _, without, _) = prepare(Data::array(samples), target()).unwrap();
    assert_eq!(shape, [1], "an array of rank 1 holds samples of shape [1]");
    assert!((with_weights.scale - without.scale).abs() < 1e-12);
    assert!((with_weights.shift[0] - without.shift[0]).abs() < 1e-12);

    let mut seen = vec![0u32; weights.len()];
    for k in 0..200_000u64 {
        let random = k.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        seen[array(&source).draw((random >> 32) as u32, random as u32) as usize] += 1;
    }
    for (index, (&seen, &weight)) in seen.iter().zip(&weights).enumerate() {
        assert_eq!(seen > 0, weight > 0, "sample {index} of weight {weight} was drawn {seen} times");
    }
}

#[test]
fn samplers_are_measured_normalised_and_not_touched_when_resuming() {
    let drawn = Arc::new(AtomicUsize::new(0));
    let target = wave(40, 0.0);
    let target = || Data::array(TensorView::from_f64(&target, &[10, 4]).unwrap());
    let (source, _, normalisation, shape) = prepare(Data::sampler(&[4], counted(&drawn)), target()).unwrap();
    assert_eq!(drawn.load(Ordering::Relaxed), STATISTICS_ROWS);
    assert_eq!((shape, source.fingerprint().hash().unwrap()), (vec![4], None));

    let (resumed, other) = prepare_with(&normalisation, Data::sampler(&[4], counted(&drawn)), target()).unwrap();
    assert_eq!(drawn.load(Ordering::Relaxed), STATISTICS_ROWS);
    assert!(other.fingerprint().hash().unwrap().is_some());
    let mut out = vec![0.0f32; 50 * 4];
    sampler(resumed).fill(50, &mut out, "source").unwrap();
    for (k, &value) in out.iter().enumerate() {
        let data = f64::from(value) * normalisation.scale + normalisation.shift[k % 4];
        let expected = 5.0 + 2.0 * (k as f64 * 0.37).sin();
        assert!((data - expected).abs() < 1e-3, "{data} against {expected}");
    }
}

#[test]
fn a_wide_sample_is_measured_in_several_batches() {
    let drawn = Arc::new(AtomicUsize::new(0));
    let dimension = STATISTICS_BATCH / 1000;
    let shape = [dimension];
    let result = prepare(Data::sampler(&shape, counted(&drawn)), Data::sampler(&shape, counted(&drawn)));
    let (_, _, normalisation, _) = result.unwrap();
    assert_eq!(drawn.load(Ordering::Relaxed), 2 * STATISTICS_ROWS);
    assert!((normalisation.scale - 2f64.sqrt()).abs() < 0.05);
}

#[test]
fn resuming_on_the_same_data_keeps_the_fingerprint() {
    let (source, target) = (wave(30, 0.0), wave(45, 2.0));
    let sides = || {
        let source = TensorView::from_f64(&source, &[10, 3]).unwrap();
        let target = TensorView::from_f64(&target, &[15, 3]).unwrap();
        (Data::array(source), Data::array(target))
    };
    let (first, second) = sides();
    let (a, b, normalisation, _) = prepare(first, second).unwrap();
    let (first, second) = sides();
    let (c, d) = prepare_with(&normalisation, first, second).unwrap();
    assert_eq!(a.fingerprint().hash().unwrap(), c.fingerprint().hash().unwrap());
    assert_eq!(b.fingerprint().hash().unwrap(), d.fingerprint().hash().unwrap());
    assert_ne!(a.fingerprint().hash().unwrap(), b.fingerprint().hash().unwrap());

    let (first, second) = sides();
    let other = Normalisation { shift: vec![0.0; 2].into(), scale: 1.0 };
    let text = message(prepare_with(&other, first, second));
    assert!(text.contains("2 components") && text.contains('3'), "{text}");
}

#[test]
fn shapes_that_differ_are_named_before_anything_is_drawn() {
    let drawn = Arc::new(AtomicUsize::new(0));
    let target = [0.5f32; 8];
    let text = message(prepare(
        Data::sampler(&[2, 2], counted(&drawn)),
        Data::array(TensorView::from_f32(&target, &[2, 4]).unwrap()),
    ));
    assert!(text.contains("[2, 2]") && text.contains("[4]"), "{text}");
    assert_eq!(drawn.load(Ordering::Relaxed), 0);
    // Before weights, too, which are read into memory.
    let weighted = || {
        let samples = TensorView::from_f32(&target, &[2, 4]).unwrap();
        Data::weighted(samples, TensorView::from_f32(&[-1.0, 1.0], &[2]).unwrap())
    };
    for (source, target) in
        [(weighted(), Data::sampler(&[3], counted(&drawn))), (Data::sampler(&[3], counted(&drawn)), weighted())]
    {
        let text = message(prepare(source, target));
        assert!(text.starts_with("one sample has shape ["), "{text}");
    }
    for shape in [&[][..], &[0], &[1; 8], &[1 << 40, 1 << 40]] {
        let text = message(prepare(Data::sampler(&[2], counted(&drawn)), Data::sampler(shape, counted(&drawn))));
        assert!(text.starts_with("target.sample_shape"), "{text}");
    }
}

#[test]
fn bad_values_are_named_by_side_sample_and_component() {
    let good = wave(12, 0.0);
    let mut bad = wave(12, 1.0);
    bad[7] = f64::NEG_INFINITY;
    fn view(data: &[f64]) -> Data<'_> {
        Data::array(TensorView::from_f64(data, &[4, 3]).unwrap())
    }
    assert_eq!(
        message(prepare(view(&good), view(&bad))),
        "target.samples holds -inf at sample 2, component 1; every value must be finite"
    );
    assert!(message(prepare(view(&bad), view(&good))).starts_with("source.samples"));

    // Finite, weightless, and still impossible to normalise.
    bad[7] = 1e60;
    let weights = [1u8, 1, 0, 1];
    let side =
        Data::weighted(TensorView::from_f64(&bad, &[4, 3]).unwrap(), TensorView::from_u8(&weights, &[4]).unwrap());
    let text = message(prepare(view(&good), side));
    assert!(text.starts_with("target.samples holds 1e60 at sample 2, component 1"), "{text}");
}

#[test]
fn a_failing_sampler_is_named_with_its_reason() {
    let target = wave(6, 0.0);
    let target = || Data::array(TensorView::from_f64(&target, &[3, 2]).unwrap());
    let broken = |_: &mut [f32], _: usize, _: usize| Err("the camera is unplugged".to_owned());
    match prepare(Data::sampler(&[2], broken), target()) {
        Err(Error::Callback(text)) => assert_eq!(text, "the source sampler reported failure: the camera is unplugged"),
        other => panic!("not a callback error: {:?}", other.err()),
    }

    let normalisation = Normalisation { shift: vec![0.0; 2].into(), scale: 1e-3 };
    let fill = |write: fn(&mut [f32])| {
        let side = Data::sampler(&[2], move |batch: &mut [f32], _: usize, _: usize| {
            write(batch);
            Ok(())
        });
        let (_, side) = prepare_with(&normalisation, target(), side).unwrap();
        message(sampler(side).fill(4, &mut [0.0; 8], "target"))
    };
    let forgotten = fill(|batch| batch[..5].fill(1.0));
    assert!(forgotten.starts_with("the target sampler gave NaN at row 2, component 1"), "{forgotten}");
    let far = fill(|batch| {
        batch.fill(1.0);
        batch[6] = 1e38;
    });
    assert!(far.contains("target sampler") && far.contains("row 3, component 0"), "{far}");
}
