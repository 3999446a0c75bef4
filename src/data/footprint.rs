//! The bytes that the elements of a strided array occupy, and whether two arrays share any.

use super::array_layout::contiguous_strides;
use super::per_axis::PerAxis;

/// The bytes of an array's elements, whatever the order of its axes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Footprint {
    /// Address of the first byte.
    start: usize,
    /// Address behind the last byte.
    end: usize,
    /// Bytes of an element.
    element: usize,
    /// From the farthest step to the nearest. Axes that one step can go through are one.
    steps: PerAxis<Step>,
}

/// One axis of an array, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Step {
    bytes: usize,
    extent: usize,
}

impl Footprint {
    /// Takes the address of the element with index 0 on every axis, the size of an element, and the axes, none of which
    /// is empty; `strides` count elements, and `None` means row-major without gaps. Returns `None` where that leaves the
    /// address space.
    pub fn new(address: usize, element: usize, shape: &[usize], strides: Option<&[isize]>) -> Option<Self> {
        let contiguous;
        let strides = match strides {
            Some(strides) => strides,
            None => {
                contiguous = contiguous_strides(shape);
                &contiguous
            }
        };
        let (mut start, mut end) = (address, address);
        let mut steps = PerAxis::<Step>::new();
        for (&extent, &stride) in shape.iter().zip(strides).filter(|(extent, _)| **extent > 1) {
            let bytes = stride.unsigned_abs().checked_mul(element)?;
            let reach = bytes.checked_mul(extent - 1)?;
            if stride < 0 {
                start = start.checked_sub(reach)?;
            } else {
                end = end.checked_add(reach)?;
            }
            steps.push(Step { bytes, extent });
        }
        end = end.checked_add(element)?;
        isize::try_from(end - start).ok()?;
        steps.sort_by_key(|step| std::cmp::Reverse(step.bytes));
        Some(Self { start, end, element, steps: joined(&steps) })
    }

    /// Address of the first byte.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Bytes from the first to the last, both included.
    pub fn bytes(&self) -> usize {
        self.end - self.start
    }

    /// Returns whether every element has memory of its own. The answer is no as well for arrays whose steps do not nest:
    /// each one has to go past all that the nearer ones reach, as it does in any array of pictures.
    pub fn is_separate(&self) -> bool {
        (0..self.steps.len()).all(|k| self.steps[k].bytes >= self.reach(k + 1))
    }

    /// Returns whether both have the same bytes, element for element in some order.
    pub fn is_same(&self, other: &Self) -> bool {
        self.start == other.start && self.is_alike(other)
    }

    /// Returns whether no byte belongs to both. This array [is separate](Self::is_separate). Elements of the two may take
    /// turns where both have the same steps, as two pictures in one sheet do; otherwise the answer is that of their whole
    /// spans.
    pub fn is_apart_from(&self, other: &Self) -> bool {
        self.end <= other.start
            || other.end <= self.start
            || (self.is_alike(other) && !self.meets(0, other.start as i128 - self.start as i128))
    }

    fn is_alike(&self, other: &Self) -> bool {
        self.element == other.element && *self.steps == *other.steps
    }

    /// Returns whether some steps from the axis with number `k` on lead to less than an element from `distance`.
    fn meets(&self, k: usize, distance: i128) -> bool {
        let Some(step) = self.steps.get(k) else { return distance.unsigned_abs() < self.element as u128 };
        if distance.unsigned_abs() >= self.reach(k) as u128 {
            return false;
        }
        // Nearer steps reach less than one of these, so that at most the two around the distance lead there.
        let (bytes, most) = (step.bytes as i128, step.extent as i128 - 1);
        let below = distance.div_euclid(bytes);
        [below, below + 1].into_iter().any(|count| count.abs() <= most && self.meets(k + 1, distance - count * bytes))
    }

    /// Returns the bytes that the steps from number `k` on span, an element included.
    fn reach(&self, k: usize) -> usize {
        self.steps[k..].iter().map(|step| step.bytes * (step.extent - 1)).sum::<usize>() + self.element
    }
}

/// Joins steps that follow each other without a gap.
fn joined(steps: &[Step]) -> PerAxis<Step> {
    let mut joined = PerAxis::<Step>::new();
    for &step in steps {
        match joined.last_mut() {
            Some(outer) if step.bytes.checked_mul(step.extent) == Some(outer.bytes) => {
                *outer = Step { bytes: step.bytes, extent: outer.extent * step.extent };
            }
            _ => joined.push(step),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    /// The bytes one by one, and how many of them there would be if none were shared.
    fn bytes(address: usize, element: usize, shape: &[usize], strides: &[isize]) -> (HashSet<usize>, usize) {
        let count: usize = shape.iter().product();
        let bytes = (0..count).flat_map(|mut number| {
            let mut place = address as isize;
            for (&extent, &stride) in shape.iter().zip(strides).rev() {
                place += (number % extent) as isize * stride * element as isize;
                number /= extent;
            }
            (0..element).map(move |byte| place as usize + byte)
        });
        (bytes.collect(), count * element)
    }

    type Layout = (usize, Vec<(usize, isize)>);

    fn layouts() -> impl Strategy<Value = (Layout, Option<Layout>)> {
        let layout = || (1000usize..1060, prop::collection::vec((1usize..4, -20isize..20), 1..4));
        // Often both have the same steps.
        (layout(), prop::option::of(layout()))
    }

    proptest! {
        #[test]
        fn arrays_that_share_a_byte_are_told((first, second) in layouts(), shift in 0usize..80, element in 1usize..5) {
            let ((a, axes), (b, others)) = match second {
                Some(second) => (first, second),
                None => ((first.0, first.1.clone()), (first.0 + shift, first.1)),
            };
            let (shape, strides): (Vec<_>, Vec<_>) = axes.into_iter().unzip();
            let (other_shape, other_strides): (Vec<_>, Vec<_>) = others.into_iter().unzip();
            let one = Footprint::new(a, element, &shape, Some(&strides)).unwrap();
            let other = Footprint::new(b, element, &other_shape, Some(&other_strides)).unwrap();
            let ((ours, all), (theirs, _)) =
                (bytes(a, element, &shape, &strides), bytes(b, element, &other_shape, &other_strides));
            let separate = one.is_separate();
            prop_assert!(!separate || ours.len() == all);
            prop_assert!(!one.is_same(&other) || ours == theirs);
            if separate && one.is_apart_from(&other) {
                prop_assert!(ours.is_disjoint(&theirs));
            }
            // Nothing is refused for arrays with the same steps.
            if separate && strides == other_strides && shape == other_shape && ours.is_disjoint(&theirs) {
                prop_assert!(one.is_apart_from(&other));
            }
            prop_assert_eq!((one.start(), one.start() + one.bytes() - 1),
                (*ours.iter().min().unwrap(), *ours.iter().max().unwrap()));
        }
    }

    #[test]
    fn pictures_may_lie_beside_each_other_in_one_sheet() {
        // Two pictures of 4 x 3 pixels of 4 bytes, three channels of which count, in a sheet with rows of 100 bytes.
        let picture = |address| Footprint::new(address, 1, &[1, 3, 4, 3], Some(&[0, 1, 100, 4])).unwrap();
        let (left, right) = (picture(4096), picture(4096 + 12));
        assert!(left.is_separate() && left.is_apart_from(&right) && right.is_apart_from(&left));
        assert!(!left.is_apart_from(&left) && left.is_same(&left));
        assert!(!left.is_apart_from(&picture(4096 + 8)), "a column in common");
        assert!(left.is_apart_from(&picture(4096 + 3 * 100 + 12)), "below");
        // The same bytes with the channels in the other order.
        let turned = Footprint::new(4096 + 2, 1, &[1, 3, 4, 3], Some(&[0, -1, 100, 4])).unwrap();
        assert!(left.is_same(&turned) && turned.is_separate());
        // One channel for three, and rows that overlap.
        assert!(!Footprint::new(4096, 1, &[1, 3, 4, 3], Some(&[0, 0, 100, 4])).unwrap().is_separate());
        assert!(!Footprint::new(4096, 1, &[1, 3, 4, 3], Some(&[0, 1, 10, 4])).unwrap().is_separate());
    }

    #[test]
    fn what_leaves_the_address_space_is_none() {
        for (address, strides) in
            [(64, [-32, 0]), (usize::MAX - 7, [1, 0]), (64, [isize::MAX, 1]), (64, [isize::MIN, isize::MAX])]
        {
            assert!(Footprint::new(address, 4, &[3, 2], Some(&strides)).is_none(), "{address:#x} {strides:?}");
        }
    }
}
