//! The layout of an array's elements in the memory of the host or of a device, and their values.

use super::dtype::{DType, Element};
use super::per_axis::{MAX_RANK, PerAxis};
use crate::error::{Error, Result};
use crate::memory;
use half::{bf16, f16};
use std::ops::Range;

/// Shape, strides and element type of an array; the value of an element is `element * scale + offset`. Errors begin
/// with the name of the field at fault, as those of [`TensorView`](super::TensorView).
#[derive(Clone, Debug)]
pub struct ArrayLayout {
    pub(super) dtype: DType,
    shape: PerAxis<usize>,
    /// Distances between neighbours along each axis, in elements.
    strides: PerAxis<isize>,
    scale: f64,
    offset: f64,
}

/// Distances of a sample's components from its first one, in elements.
#[derive(Debug, PartialEq)]
pub(crate) enum Components {
    /// Multiples of one distance.
    Even(isize),
    /// One number a component.
    Listed(Vec<isize>),
}

/// One axis inside a sample, after axes that follow each other in memory have been joined.
#[derive(Clone, Copy, Default)]
pub(super) struct Axis {
    pub extent: usize,
    pub stride: isize,
}

impl ArrayLayout {
    /// `strides` of `None` means row-major and contiguous.
    ///
    /// Errors: a rank outside 1 to 8, an extent of 0, a number of strides other than the rank, sizes that overflow the
    /// address space, and those of [`ArrayLayout::scaled`].
    pub(crate) fn new(
        dtype: DType,
        shape: &[usize],
        strides: Option<&[isize]>,
        scale: f64,
        offset: f64,
    ) -> Result<Self> {
        element_count(shape)?;
        let strides = match strides {
            Some(strides) => checked_strides(dtype, shape, strides)?,
            None => contiguous_strides(shape),
        };
        Self { dtype, shape: shape.iter().copied().collect(), strides, scale: 1.0, offset: 0.0 }.scaled(scale, offset)
    }

    /// Returns the same layout with another scale and offset.
    ///
    /// Errors: a `scale` of 0; `scale` or `offset` not finite.
    pub(super) fn scaled(mut self, scale: f64, offset: f64) -> Result<Self> {
        if !scale.is_finite() || scale == 0.0 {
            return Err(Error::invalid(format!("scale is {scale}; it must be finite and not zero")));
        }
        if !offset.is_finite() {
            return Err(Error::invalid(format!("offset is {offset}; it must be finite")));
        }
        self.scale = scale;
        self.offset = offset;
        Ok(self)
    }

    /// Element type.
    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }

    /// Extents, the sample axis first.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns what elements are multiplied by.
    pub(crate) fn scale(&self) -> f64 {
        self.scale
    }

    /// Returns what is added to an element after it was multiplied.
    pub(crate) fn offset(&self) -> f64 {
        self.offset
    }

    /// The value of an element with these bytes.
    pub(crate) fn value(&self, element: &[u8]) -> f64 {
        const WHOLE: &str = "the bytes of one element";
        let number = match self.dtype {
            DType::F32 => f32::from_ne_bytes(element.try_into().expect(WHOLE)).widen(),
            DType::F64 => f64::from_ne_bytes(element.try_into().expect(WHOLE)).widen(),
            DType::F16 => f16::from_ne_bytes(element.try_into().expect(WHOLE)).widen(),
            DType::BF16 => bf16::from_ne_bytes(element.try_into().expect(WHOLE)).widen(),
            DType::U8 => u8::from_ne_bytes(element.try_into().expect(WHOLE)).widen(),
        };
        number * self.scale + self.offset
    }

    /// Returns the distance from the element with index 0 on every axis to that of a sample's component, in elements.
    pub(crate) fn place(&self, sample: usize, mut component: usize) -> isize {
        let mut place = sample as isize * self.strides[0];
        for (&extent, &stride) in self.shape[1..].iter().zip(&self.strides[1..]).rev() {
            place += (component % extent) as isize * stride;
            component /= extent;
        }
        place
    }

    /// Number of samples: the extent of the first axis.
    pub(crate) fn count(&self) -> usize {
        self.shape[0]
    }

    /// Shape of one sample: the axes after the first, or `[1]` for an array of rank 1.
    pub(crate) fn sample_shape(&self) -> &[usize] {
        sample_shape(&self.shape)
    }

    /// Numbers in one sample.
    pub(crate) fn dimension(&self) -> usize {
        self.sample_shape().iter().product()
    }

    /// Returns the distance from one sample to the next, in elements.
    pub(crate) fn between_rows(&self) -> isize {
        self.strides[0]
    }

    /// Returns where the components of a sample lie.
    pub(crate) fn components(&self) -> Result<Components> {
        let axes = self.joined_sample_axes();
        let [outer @ .., inner] = &axes[..] else { unreachable!("a sample has at least one axis") };
        if outer.is_empty() {
            return Ok(Components::Even(inner.stride));
        }
        let mut places = memory::with_room("where a sample's components lie", self.dimension())?;
        places.push(0);
        // Each axis repeats what the axes inside it reach.
        for axis in axes.iter().rev() {
            let inside = places.len();
            for index in 1..axis.extent {
                places.extend_from_within(..inside);
                let moved = index as isize * axis.stride;
                places[index * inside..].iter_mut().for_each(|place| *place += moved);
            }
        }
        Ok(Components::Listed(places))
    }

    /// Returns the axes inside a sample. Neighbouring axes that together are evenly spaced become one, so a contiguous
    /// sample has one axis.
    fn joined_sample_axes(&self) -> PerAxis<Axis> {
        let mut joined = PerAxis::<Axis>::new();
        for (&extent, &stride) in self.shape[1..].iter().zip(&self.strides[1..]) {
            let axis = Axis { extent, stride };
            match joined.last_mut() {
                _ if extent == 1 => {}
                Some(outer) if stride.checked_mul(extent as isize) == Some(outer.stride) => {
                    outer.extent *= extent;
                    outer.stride = stride;
                }
                _ => joined.push(axis),
            }
        }
        if joined.is_empty() {
            joined.push(Axis { extent: 1, stride: 1 });
        }
        joined
    }

    /// Calls `visit(place, stride, numbers)` for each evenly spaced run of whole samples from `first` on, in the order of
    /// their numbers. `place` is where its first element lies, `stride` the distance between its elements, and `numbers`
    /// are those of its elements, counted from sample `first` on.
    pub(super) fn for_each_run(&self, first: usize, samples: usize, mut visit: impl FnMut(isize, isize, Range<usize>)) {
        let axes = self.joined_sample_axes();
        let [outer @ .., inner] = &axes[..] else { unreachable!("a sample has at least one axis") };
        let between = self.strides[0];
        if outer.is_empty() && Some(between) == inner.stride.checked_mul(inner.extent as isize) {
            // The samples lie one after the other as well.
            return visit(first as isize * between, inner.stride, 0..samples * inner.extent);
        }
        let (mut number, dimension) = (0, self.dimension());
        for sample in first..first + samples {
            let mut place = sample as isize * between;
            let mut counter = [0usize; MAX_RANK];
            let end = number + dimension;
            while number < end {
                visit(place, inner.stride, number..number + inner.extent);
                number += inner.extent;
                for (count, axis) in counter.iter_mut().zip(outer).rev() {
                    if *count + 1 < axis.extent {
                        *count += 1;
                        place += axis.stride;
                        break;
                    }
                    place -= axis.stride * *count as isize;
                    *count = 0;
                }
            }
        }
    }
}

/// Refuses a slice of another length than the shape counts, and a shape as [`element_count`] does.
pub(super) fn check_length(shape: &[usize], length: usize) -> Result<()> {
    let count = element_count(shape)?;
    if count == length {
        return Ok(());
    }
    Err(Error::invalid(format!("shape {shape:?} counts {count} elements, but data has {length}; the two must agree")))
}

/// Returns the number of elements of a shape; an error unless its rank is 1 to 8, no extent is 0 and all of it is
/// addressable.
pub(super) fn element_count(shape: &[usize]) -> Result<usize> {
    if shape.is_empty() || shape.len() > MAX_RANK {
        return Err(Error::invalid(format!("shape has {} axes; it must have 1 to {MAX_RANK}", shape.len())));
    }
    if let Some(axis) = shape.iter().position(|&extent| extent == 0) {
        return Err(Error::invalid(format!("shape[{axis}] is 0; every extent must be at least 1")));
    }
    // Eight bytes a number, whatever the type: values are widened while they are read.
    let bytes =
        shape.iter().try_fold(8usize, |bytes, &n| bytes.checked_mul(n)).filter(|&bytes| isize::try_from(bytes).is_ok());
    match bytes {
        Some(_) => Ok(shape.iter().product()),
        None => Err(Error::invalid(format!(
            "shape {shape:?} counts more elements than can be addressed; its product must fit into memory"
        ))),
    }
}

pub(crate) fn contiguous_strides(shape: &[usize]) -> PerAxis<isize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product::<usize>() as isize).collect()
}

/// Returns the strides, with 0 for axes of extent 1: nothing steps along these, so a host may give any number.
fn checked_strides(dtype: DType, shape: &[usize], strides: &[isize]) -> Result<PerAxis<isize>> {
    if strides.len() != shape.len() {
        return Err(Error::invalid(format!(
            "strides has {} numbers; it must have one per axis of shape, {}",
            strides.len(),
            shape.len()
        )));
    }
    let reach = shape
        .iter()
        .zip(strides)
        .try_fold(1usize, |reach, (&n, s)| reach.checked_add(s.unsigned_abs().checked_mul(n - 1)?));
    match reach.and_then(|reach| isize::try_from(reach.checked_mul(dtype.size())?).ok()) {
        Some(_) => Ok(shape.iter().zip(strides).map(|(&n, &s)| if n == 1 { 0 } else { s }).collect()),
        None => Err(Error::invalid(format!(
            "strides {strides:?} reach further than memory can be addressed over shape {shape:?}; they count elements"
        ))),
    }
}

/// Shape of one sample of an array: the axes after the first, or `[1]` for an array of rank 1.
pub(crate) fn sample_shape(array: &[usize]) -> &[usize] {
    match &array[1..] {
        [] => &[1],
        shape => shape,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn components_lie_where_their_indices_lead(
            axes in prop::collection::vec((1usize..5, -20isize..20), 1..6), contiguous in any::<bool>(), sample in 0usize..5,
        ) {
            let (shape, strides): (Vec<_>, Vec<_>) = axes.into_iter().unzip();
            let strides = (!contiguous).then_some(strides);
            let layout = ArrayLayout::new(DType::F32, &shape, strides.as_deref(), 1.0, 0.0).unwrap();
            let sample = sample % shape[0];
            let components = layout.components().unwrap();
            for component in 0..layout.dimension() {
                let inside = match &components {
                    Components::Even(distance) => component as isize * distance,
                    Components::Listed(places) => places[component],
                };
                prop_assert_eq!(sample as isize * layout.between_rows() + inside, layout.place(sample, component));
            }
            prop_assert!(!contiguous || components == Components::Even(1));
        }
    }

    #[test]
    fn values_are_scaled_elements() {
        let layout = |dtype| ArrayLayout::new(dtype, &[2], None, 0.5, 3.0).unwrap();
        assert_eq!(layout(DType::F32).value(&(-4f32).to_ne_bytes()), 1.0);
        assert_eq!(layout(DType::F64).value(&1e300f64.to_ne_bytes()), 5e299);
        assert_eq!(layout(DType::F16).value(&f16::from_f32(6.0).to_ne_bytes()), 6.0);
        assert_eq!(layout(DType::BF16).value(&bf16::from_f32(6.0).to_ne_bytes()), 6.0);
        assert_eq!(layout(DType::U8).value(&[255]), 130.5);
    }
}
