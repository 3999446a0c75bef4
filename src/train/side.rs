//! Sides whose samples a host draws.

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
    /// The batch was drawn for what has not been done yet.
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

/// The samplers of source and target, where these are no sets.
pub(super) struct Samplers([Option<SampledSide>; 2]);

/// The sides' samples where they are finite sets.
pub(super) type Sets = [Option<SampleSet>; 2];

impl Samplers {
    /// Parts both sides' data; `rows` are those of a batch of either side.
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

    /// Draws what a half needs, unless it is held.
    pub fn draw(&mut self, half: Half) -> Result<()> {
        self.of(half).try_for_each(SampledSide::draw)
    }

    /// Keeps what was drawn last for a half until it is drawn for again.
    pub fn hold(&mut self, half: Half) {
        self.of(half).for_each(|side| side.held = true);
    }

    /// The last batches of source and target, by normalised rows.
    pub fn batches(&self) -> [Option<&[f32]>; 2] {
        self.0.each_ref().map(|side| side.as_ref().map(|side| &*side.batch))
    }

    /// The sides that a half reads: the generator's half reads no target sample.
    fn of(&mut self, half: Half) -> impl Iterator<Item = &mut SampledSide> {
        let sides = match half {
            Half::Value => 2,
            Half::Generator => 1,
        };
        self.0.iter_mut().take(sides).flatten()
    }
}
