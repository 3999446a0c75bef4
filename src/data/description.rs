//! One side of the problem as the host describes it.

use super::array_layout::sample_shape;
use super::augmentation::Augmentation;
use super::resident::Resident;
use super::sampler::Sampler;
use super::tensor::TensorView;

/// One side of the problem.
pub enum Data<'a> {
    /// A finite set of samples, copied before training starts.
    Array {
        /// The samples; the first axis counts them, the other axes are the shape of one sample. An array of rank 1
        /// holds scalars and counts as samples of shape `[1]`.
        samples: TensorView<'a>,
        /// One weight >= 0 for each sample, not all zero. Only their ratios matter. `None` weighs all samples equally.
        weights: Option<TensorView<'a>>,
        /// How pictures are changed whenever one is drawn.
        augmentation: Augmentation,
    },
    /// A finite set of samples in the memory of the context's GPU, read while a trainer is made.
    #[doc(hidden)]
    Resident {
        /// The samples.
        samples: Box<dyn Resident + 'a>,
        /// Weights in host memory, with the meaning that they have for an array.
        weights: Option<TensorView<'a>>,
        /// How pictures are changed whenever one is drawn.
        augmentation: Augmentation,
    },
    /// Fresh samples on demand.
    Sampler {
        /// Shape of one sample, 1 to 7 extents.
        sample_shape: Vec<usize>,
        /// Where the samples come from.
        sampler: Box<dyn Sampler>,
    },
}

impl<'a> Data<'a> {
    /// Samples that all weigh the same.
    pub fn array(samples: TensorView<'a>) -> Self {
        Self::Array { samples, weights: None, augmentation: Augmentation::default() }
    }

    /// Samples with one weight each (`weights` has rank 1).
    pub fn weighted(samples: TensorView<'a>, weights: TensorView<'a>) -> Self {
        Self::Array { samples, weights: Some(weights), augmentation: Augmentation::default() }
    }

    /// The same side, whose pictures are changed like this whenever one is drawn. A sampler's are not: it draws them itself.
    pub fn augmented(mut self, with: Augmentation) -> Self {
        if let Self::Array { augmentation, .. } | Self::Resident { augmentation, .. } = &mut self {
            *augmentation = with;
        }
        self
    }

    /// Returns how pictures are changed whenever one is drawn.
    pub(crate) fn augmentation(&self) -> Augmentation {
        match self {
            Self::Array { augmentation, .. } | Self::Resident { augmentation, .. } => *augmentation,
            Self::Sampler { .. } => Augmentation::default(),
        }
    }

    /// Shape of one sample.
    pub(crate) fn sample_shape(&self) -> &[usize] {
        match self {
            Self::Array { samples, .. } => samples.sample_shape(),
            Self::Resident { samples, .. } => sample_shape(samples.shape()),
            Self::Sampler { sample_shape, .. } => sample_shape,
        }
    }

    /// Samples of shape `sample_shape` drawn by `sampler`, which may be a closure.
    ///
    /// ```
    /// let mut angle = 0.0f32;
    /// let circle = sfeuot::Data::sampler(&[2], move |batch: &mut [f32], _rows: usize, dimension: usize| {
    ///     for point in batch.chunks_exact_mut(dimension) {
    ///         angle += 2.399;
    ///         point.copy_from_slice(&[angle.cos(), angle.sin()]);
    ///     }
    ///     Ok(())
    /// });
    /// ```
    pub fn sampler(sample_shape: &[usize], sampler: impl Sampler + 'static) -> Self {
        Self::Sampler { sample_shape: sample_shape.to_vec(), sampler: Box::new(sampler) }
    }
}
