//! The size of a batch where the configuration leaves it to the samples.
//!
//! What a source sample can become in two or three numbers, such as all of a curve, takes many Gaussians: with 16 of them for
//! each of 64 source samples the error on curves is about half of that with 8 for each of 128, in the same time. From
//! 16 numbers on it is the other way round (bench/README.md).

/// Rows of a batch.
const ROWS: usize = 1024;
/// The largest number of source samples that is chosen.
const MOST_SOURCES: usize = 128;
/// Source samples of a batch of pictures.
const PICTURES: usize = 64;
/// The largest dimension that has many components.
const FEW_NUMBERS: usize = 4;

/// What the choice depends on beside the numbers that the host gave.
pub(super) struct Samples {
    /// Numbers of a sample.
    pub dimension: usize,
    /// Whether the networks are convolutional.
    pub pictures: bool,
    /// Whether the generator has latents.
    pub latents: bool,
}

/// Returns components and source samples of a batch, with those that are 0 chosen.
pub(super) fn chosen(components: usize, sources: usize, samples: &Samples) -> [usize; 2] {
    let components = match components {
        0 if samples.pictures => 1,
        0 if samples.dimension <= FEW_NUMBERS && !samples.latents => 16,
        0 => 8,
        given => given,
    };
    let sources = match sources {
        0 if samples.pictures => PICTURES,
        0 => (ROWS / components).clamp(1, MOST_SOURCES),
        given => given,
    };
    [components, sources]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_stays_and_the_rest_has_about_as_many_rows() {
        let of = |dimension, pictures, latents| Samples { dimension, pictures, latents };
        for (components, sources, samples, expected) in [
            (0, 0, of(2, false, false), [16, 64]),
            (0, 0, of(5, false, false), [8, 128]),
            (0, 0, of(2, false, true), [8, 128]),
            (0, 0, of(768, true, true), [1, 64]),
            (0, 32, of(3, false, false), [16, 32]),
            (2, 0, of(3, false, false), [2, 128]),
            (4096, 0, of(3, false, false), [4096, 1]),
            (3, 7, of(768, true, true), [3, 7]),
        ] {
            assert_eq!(chosen(components, sources, &samples), expected);
        }
    }
}
