//! The axes of a bridge and of its peaks as tensors of a file, and the memory that the peaks' take.

use super::gaussian_bridge::GaussianBridge;
use crate::error::Result;
use crate::file::input::Input;
use crate::file::output::Output;
use crate::formulas::peaks::turned_numbers;
use std::sync::Arc;

impl GaussianBridge {
    /// Returns the bytes that axes of peaks take, and what devices keep of them.
    pub fn own_axes_bytes(&self) -> usize {
        let d = self.pull.len();
        self.peaks
            .as_ref()
            .filter(|peaks| peaks.axes.is_some())
            .map_or(0, |peaks| peaks.count() * (d * d + turned_numbers(d)) * size_of::<f32>())
    }

    /// Adds the axes of the problem and of its peaks to a file.
    pub fn push_axes<'a>(&'a self, output: &mut Output<'a>) {
        output.push_rotation(self.rotation.as_ref());
        if let Some(axes) = self.peaks.as_ref().and_then(|peaks| peaks.axes.as_ref()) {
            output.push_peak_axes(self.pull.len(), axes);
        }
    }

    /// Reads these of a file, of which [`Self::check`] found no fault.
    ///
    /// # Errors
    /// [`crate::Error::Format`], [`crate::Error::Io`], [`crate::Error::OutOfMemory`].
    pub fn read_axes(&mut self, input: &mut Input, rotated: bool) -> Result<()> {
        let dimension = self.pull.len();
        self.rotation = input.rotation(rotated, dimension)?;
        if let Some(peaks) = self.peaks.as_mut().filter(|peaks| peaks.axes.is_some()) {
            let axes = input.peak_axes(peaks.count(), dimension)?;
            Arc::make_mut(peaks).axes = Some(axes);
        }
        Ok(())
    }
}
