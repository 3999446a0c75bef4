//! Random numbers: the same bits as the CPU's.

use super::guarded::{Buffer, Matrix};
use super::host::{arguments_of, available, launch};
use crate::rng::{Sequence, Stream};
use proptest::prelude::*;

proptest! {
    #![proptest_config(super::support::cases(48))]

    #[test]
    fn matrices_hold_the_sequence(
        rows in 1usize..40, cols in 1usize..70, gap in 0usize..5, first in 0u64..1 << 40, aligned in any::<bool>(),
        seed in any::<u64>(), counter in 0u64..1 << 50, half in 0u64..2, blocks in 1u32..4, order in any::<u64>(),
    ) {
        if !available() {
            return Ok(());
        }
        let (cols, gap, first) = if aligned { (cols * 4, gap * 4, first * 4) } else { (cols, gap, first) };
        let sequence = Sequence::new(seed, 2 * counter + half, Stream::Endpoint);
        let mut expected = vec![0f32; rows * cols];
        let device_counter = Buffer::of(&[counter]);
        for (kernel, normal) in [("philox_normals", true), ("philox_uniforms", false)] {
            if normal {
                sequence.normals(first, &mut expected);
            } else {
                sequence.uniforms(first, &mut expected);
            }
            for by_device in [false, true] {
                let out = Matrix::new(rows, cols, cols + gap);
                let (counter, number) = if by_device {
                    (Some(&device_counter), half)
                } else {
                    (None, 2 * counter + half)
                };
                launch(kernel, [blocks, 1, 1], [64, 1, 1], order, arguments_of![
                    &out.data, rows as u32, cols as u32, out.stride as u32, seed, counter, number,
                    Stream::Endpoint as u32, first,
                ]);
                let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                prop_assert_eq!(bits(&out.values()), bits(&expected));
                out.check_gaps();
            }
        }
    }
}
