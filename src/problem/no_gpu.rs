//! What stands in the place of the losses on a GPU in a library that was built without CUDA.

use super::config::DeviceNumbers;
use crate::device::Sums;
use crate::device::cuda::gpu::Gpu;
use crate::device::exchange::BatchSeed;
use crate::error::Result;
use crate::euot::objective::{Objective, PointsTo, SourceRows, StateRows, ValueRows, ValueTo};
use crate::formulas::Axes;
use std::sync::Arc;

/// Has no values.
pub(super) enum GpuProblem {}

impl GpuProblem {
    pub fn new(gpu: &Arc<Gpu>, _: Objective, _: &Axes<Vec<f32>>) -> Result<Self> {
        match **gpu {}
    }

    pub fn check(&self, _: &str, _: DeviceNumbers, _: usize) -> Result<()> {
        match *self {}
    }

    pub fn sample(
        &mut self,
        _: &SourceRows<DeviceNumbers>,
        _: &[f32],
        _: BatchSeed,
        _: &PointsTo<DeviceNumbers>,
    ) -> Result<()> {
        match *self {}
    }

    pub fn value(&mut self, _: &ValueRows<DeviceNumbers>, _: &ValueTo<DeviceNumbers>) -> Result<Sums> {
        match *self {}
    }

    pub fn generator(
        &mut self,
        _: &SourceRows<DeviceNumbers>,
        _: &[f32],
        _: &StateRows<DeviceNumbers>,
        _: DeviceNumbers,
    ) -> Result<Sums> {
        match *self {}
    }
}
