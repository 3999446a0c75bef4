//! Samples of the two sides as the host hands them over: strided arrays of several element types, or a sampler.

/// Element type of a host array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum DType { F32 = 0, F64 = 1, F16 = 2, BF16 = 3, U8 = 4 }

/// A borrowed, strided host array; the value of an element is `element * scale + offset`.
#[derive(Clone, Debug)]
pub struct TensorView<'a> {
    pub(crate) dtype: DType,
    pub(crate) data: *const u8,
    pub(crate) shape: Vec<usize>,
    /// In elements, one per axis.
    pub(crate) strides: Vec<isize>,
    pub(crate) scale: f64,
    pub(crate) offset: f64,
    pub(crate) lifetime: std::marker::PhantomData<&'a [u8]>,
}

/// A host's sampler: fills `batch` (rows x dimension, row-major, data units) with independent samples.
pub trait Sampler: Send {
    fn fill(&mut self, batch: &mut [f32], rows: usize, dimension: usize) -> Result<(), String>;
}

/// One side of the problem.
pub enum Data<'a> {
    /// Samples by rows (first axis), with optional weights >= 0; copied by the trainer.
    Array { samples: TensorView<'a>, weights: Option<TensorView<'a>> },
    /// Fresh samples on demand; `sample_shape` is the shape of one sample.
    Sampler { sample_shape: Vec<usize>, sampler: Box<dyn Sampler> },
}
