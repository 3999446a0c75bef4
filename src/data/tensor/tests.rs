//! What a view reads, and which descriptions it refuses.

use super::*;
use crate::data::array_layout::contiguous_strides;
use proptest::prelude::*;

fn message<T>(result: Result<T>) -> String {
    result.err().expect("must be refused").to_string()
}

/// A shape with one stride each, its reach kept inside one buffer, and the index of the origin element.
fn layouts() -> impl Strategy<Value = (Vec<(usize, isize)>, usize, usize)> {
    prop::collection::vec((1usize..5, -4isize..5), 1..6).prop_map(|axes| {
        let span = |sign: isize| -> usize { axes.iter().map(|&(n, s)| (s * sign).max(0) as usize * (n - 1)).sum() };
        let (before, after) = (span(-1), span(1));
        (axes, before, before + after + 1)
    })
}

/// What the strides mean, one index at a time.
fn naive(axes: &[(usize, isize)], origin: usize, buffer: &[f64]) -> Vec<f64> {
    let count: usize = axes.iter().map(|axis| axis.0).product();
    (0..count)
        .map(|mut flat| {
            let mut at = origin as isize;
            for &(extent, stride) in axes.iter().rev() {
                at += (flat % extent) as isize * stride;
                flat /= extent;
            }
            buffer[at as usize]
        })
        .collect()
}

proptest! {
    #[test]
    fn strided_views_read_what_indexing_reads((axes, origin, length) in layouts(), permuted in any::<bool>()) {
        let buffer: Vec<f64> = (0..length).map(|k| k as f64).collect();
        let mut axes = axes;
        let (mut origin, mut buffer) = (origin, buffer);
        if permuted {
            // A transposed contiguous array instead of arbitrary strides.
            let shape: Vec<usize> = axes.iter().map(|axis| axis.0).collect();
            axes = shape.iter().copied().zip(contiguous_strides(&shape).iter().copied()).rev().collect();
            origin = 0;
            buffer = (0..shape.iter().product()).map(|k| k as f64).collect();
        }
        let (shape, strides): (Vec<usize>, Vec<isize>) = axes.iter().copied().unzip();
        let expected = naive(&axes, origin, &buffer);
        // SAFETY: the layout was made to stay inside the buffer.
        let view = unsafe {
            TensorView::from_raw(DType::F64, buffer[origin..].as_ptr().cast(), &shape, Some(&strides), 1.0, 0.0)
        }.unwrap();
        prop_assert_eq!(view.to_f64("x").unwrap(), expected.clone());

        let bytes: Vec<u8> = buffer.iter().map(|&value| value as u8).collect();
        // SAFETY: as above, with bytes.
        let view = unsafe {
            TensorView::from_raw(DType::U8, bytes[origin..].as_ptr(), &shape, Some(&strides), 2.0, -1.0)
        }.unwrap();
        let expected: Vec<f64> = expected.iter().map(|&value| f64::from(value as u8) * 2.0 - 1.0).collect();
        prop_assert_eq!(view.to_f64("x").unwrap(), expected);
    }

    #[test]
    fn every_element_type_is_widened_exactly(values in prop::collection::vec(-6e4f32..6e4, 1..9)) {
        let shape = [values.len()];
        let halves: Vec<f16> = values.iter().map(|&v| f16::from_f32(v)).collect();
        let brains: Vec<bf16> = values.iter().map(|&v| bf16::from_f32(v)).collect();
        let doubles: Vec<f64> = values.iter().map(|&v| f64::from(v) / 3.0).collect();
        let read = |view: Result<TensorView>| view.unwrap().to_f64("x").unwrap();
        prop_assert_eq!(read(TensorView::from_f32(&values, &shape)), values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
        prop_assert_eq!(read(TensorView::from_f16(&halves, &shape)), halves.iter().map(|v| v.to_f64()).collect::<Vec<_>>());
        prop_assert_eq!(read(TensorView::from_bf16(&brains, &shape)), brains.iter().map(|v| v.to_f64()).collect::<Vec<_>>());
        prop_assert_eq!(read(TensorView::from_f64(&doubles, &shape)), doubles);
    }

    #[test]
    fn a_value_that_is_not_finite_is_named(
        count in 1usize..3000, dimension in 1usize..6, at in any::<prop::sample::Index>(),
        bad in prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY)],
    ) {
        let mut values = vec![0.5f32; count * dimension];
        let at = at.index(values.len());
        values[at] = bad;
        let view = TensorView::from_f32(&values, &[count, dimension]).unwrap();
        let expected = format!(
            "target.samples holds {bad} at sample {}, component {}; every value must be finite",
            at / dimension, at % dimension
        );
        prop_assert_eq!(message(view.to_f64("target.samples")), expected);
    }
}

#[test]
fn broadcast_axes_repeat_and_huge_samples_are_read_whole() {
    let row: Vec<f32> = (0..3 * BLOCK_ELEMENTS + 7).map(|k| k as f32).collect();
    // SAFETY: a sample stride of 0 reads the one row again and again.
    let view =
        unsafe { TensorView::from_raw(DType::F32, row.as_ptr().cast(), &[3, row.len()], Some(&[0, 1]), 1.0, 0.0) }
            .unwrap();
    let values = view.to_f64("x").unwrap();
    assert_eq!(values.len(), 3 * row.len());
    assert!(values.iter().zip(row.iter().cycle()).all(|(a, &b)| *a == f64::from(b)));
}

#[test]
fn bad_descriptions_are_refused_with_a_sentence() {
    let data = [0.0f64; 4];
    let pointer: *const u8 = data.as_ptr().cast();
    let raw = |pointer, shape: &[usize], strides: Option<&[isize]>, scale, offset| {
        // SAFETY: refused before anything is read.
        message(unsafe { TensorView::from_raw(DType::F64, pointer, shape, strides, scale, offset) })
    };
    let cases = [
        (raw(std::ptr::null(), &[4], None, 1.0, 0.0), ["data is NULL", "must point"]),
        (raw(pointer.wrapping_add(1), &[1], None, 1.0, 0.0), ["multiple of 8", "F64"]),
        (raw(pointer, &[], None, 1.0, 0.0), ["shape has 0 axes", "1 to 8"]),
        (raw(pointer, &[1; 9], None, 1.0, 0.0), ["shape has 9 axes", "1 to 8"]),
        (raw(pointer, &[2, 0], None, 1.0, 0.0), ["shape[1] is 0", "at least 1"]),
        (raw(pointer, &[1 << 40, 1 << 40], None, 1.0, 0.0), ["shape", "addressed"]),
        (raw(pointer, &[1 << 61], Some(&[0]), 1.0, 0.0), ["shape", "addressed"]),
        (raw(pointer, &[2, 2], Some(&[1]), 1.0, 0.0), ["strides has 1", "one per axis"]),
        (raw(pointer, &[4], Some(&[isize::MIN]), 1.0, 0.0), ["strides", "elements"]),
        (raw(pointer, &[4], None, 0.0, 0.0), ["scale is 0", "finite"]),
        (raw(pointer, &[4], None, f64::NAN, 0.0), ["scale is NaN", "finite"]),
        (raw(pointer, &[4], None, 1.0, f64::INFINITY), ["offset is inf", "finite"]),
        (message(TensorView::from_f64(&data, &[3])), ["3 elements", "has 4"]),
    ];
    for (text, parts) in &cases {
        for part in parts {
            assert!(text.contains(part), "{text:?} lacks {part:?}");
        }
    }
}

#[test]
fn an_axis_of_one_element_may_have_any_stride() {
    let data = [1.0f32, 2.0];
    // SAFETY: only the second axis is stepped along.
    let view = unsafe {
        TensorView::from_raw(DType::F32, data.as_ptr().cast(), &[1, 2, 1], Some(&[isize::MAX, 1, isize::MIN]), 1.0, 0.0)
    };
    assert_eq!(view.unwrap().to_f64("x").unwrap(), [1.0, 2.0]);
}
