//! The sides whose samples a host draws.

use crate::data::{DataSource, SampleSet, SamplerSource};
use crate::device::training::Half;
use crate::error::Result;
use crate::memory;

/// A sampler, with room for a batch of its samples.
pub(super) struct SampledSide {
    sampler: SamplerSource,
    name: &'static str,
    rows: usize,
    batch: Vec<f32>,
    /// Whether the batch was drawn for a half that has not been made yet.
    held: bool,
}

impl SampledSide {
    fn new(sampler: SamplerSource, dimension: usize, name: &'static str, rows: usize) -> Result<Self> {
        let numbers = rows.saturating_mul(dimension);
        let batch = memory::filled(&format!("a batch of the {name} sampler"), numbers, 0f32)?;
        Ok(Self { sampler, name, rows, batch, held: false })
    }

    /// Calls the sampler, unless its last batch is held.
    fn draw(&mut self) -> Result<()> {
        if std::mem::take(&mut self.held) {
            return Ok(());
        }
        self.sampler.fill(self.rows, &mut self.batch, self.name)
    }
}

/// The samplers of the sides that are no finite sets, source and target.
pub(super) struct Samplers([Option<SampledSide>; 2]);

/// The samples of the sides that are finite sets, source and target.
pub(super) type Sets = [Option<SampleSet>; 2];

impl Samplers {
    /// Separates samplers from finite sets. `rows` are the rows of a batch of either side.
    pub fn part(data: [DataSource; 2], rows: [usize; 2]) -> Result<(Self, Sets)> {
        let names = ["source", "target"];
        let (mut samplers, mut sets) = ([None, None], [None, None]);
        for (side, data) in data.into_iter().enumerate() {
            let dimension = data.dimension();
            match data {
                DataSource::Array(array) => sets[side] = Some(SampleSet::Array(array)),
                DataSource::Resident(resident) => sets[side] = Some(SampleSet::Resident(resident)),
                DataSource::Sampler(sampler) => {
                    samplers[side] = Some(SampledSide::new(sampler, dimension, names[side], rows[side])?);
                }
            }
        }
        Ok((Self(samplers), sets))
    }

    /// Draws the batches that a half needs, unless they are held.
    pub fn draw(&mut self, half: Half) -> Result<()> {
        self.of(half).try_for_each(SampledSide::draw)
    }

    /// Keeps the last batches of a half, so that its next draw takes them again.
    pub fn hold(&mut self, half: Half) {
        self.of(half).for_each(|side| side.held = true);
    }

    /// Returns the last batches of source and target, as normalised rows.
    pub fn batches(&self) -> [Option<&[f32]>; 2] {
        self.0.each_ref().map(|side| side.as_ref().map(|side| &*side.batch))
    }

    /// Returns the sides that a half reads. The generator's half reads no target sample.
    fn of(&mut self, half: Half) -> impl Iterator<Item = &mut SampledSide> {
        let sides = match half {
            Half::Value => 2,
            Half::Generator => 1,
        };
        self.0.iter_mut().take(sides).flatten()
    }
}
