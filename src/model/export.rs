//! Writes a model as a graph that other programs run, and the noise that such a graph takes.

use super::model::Model;
use crate::error::{Error, Result};
use crate::file::atomic;
use crate::file::kind::{FileKind, cannot_save, not_finite};
use crate::float_mode;
use crate::onnx::{self, Exported, Message, OnnxGraph};
use crate::rng::{Sequence, Stream};
use std::io::Write;
use std::path::Path;

/// The largest number of latents that a graph keeps.
const MOST_LATENTS: usize = 4096;

impl Model {
    /// Writes one of the model's graphs as an ONNX file of operator set [`OPERATOR_SET`](crate::OPERATOR_SET). A file that
    /// was there before is replaced whole, or stays as it was.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for latents out of range; [`Error::Format`] for a model with a weight that is not
    /// finite, and for a graph that no ONNX file has room for; [`Error::Io`]; [`Error::OutOfMemory`].
    pub fn export_onnx(&self, graph: OnnxGraph, path: &Path) -> Result<()> {
        let _inside = float_mode::enter();
        let message = self.onnx(graph)?;
        atomic::write(path, |file| message.write(file))
    }

    /// Does [`Self::export_onnx`] to any writer, from front to back. What it has got is not whole on an error.
    ///
    /// # Errors
    /// As [`Self::export_onnx`]; [`Error::Callback`] for an error of the writer.
    pub fn write_onnx(&self, graph: OnnxGraph, to: &mut dyn Write) -> Result<()> {
        let _inside = float_mode::enter();
        let message = self.onnx(graph)?;
        message.write(to).map_err(|error| Error::Callback(format!("the graph could not be written: {error}")))
    }

    fn onnx(&self, graph: OnnxGraph) -> Result<Message<'_>> {
        let transport = &self.0.transport;
        if let OnnxGraph::Mean { latents, .. } = graph
            && transport.conditional.latent > 0
            && !(1..=MOST_LATENTS).contains(&latents)
        {
            return Err(Error::invalid(format!("latents is {latents}, but must be from 1 to {MOST_LATENTS}")));
        }
        let weights = [("value", &self.0.value_weights), ("generator", &self.0.generator_weights)];
        for (name, weights) in weights {
            if let Some(index) = weights.iter().position(|weight| !weight.is_finite()) {
                return Err(cannot_save(FileKind::Model, not_finite(name, index, weights[index])));
            }
        }
        let weights = weights.map(|(_, weights)| weights.as_slice());
        onnx::message(&Exported { transport, weights, shape: &self.0.info.sample_shape }, graph)
    }

    /// Writes the noise by which [`Session::generate`](crate::Session::generate) draws rows with this seed, whose first
    /// one has this number: what a graph takes as its inputs. Each list may be left away.
    ///
    /// * `latent`: rows x the model's latent dimension, standard normal.
    /// * `component`: a number in (0, 1] for each row.
    /// * `noise`: rows x dimension, standard normal.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for lists that are not of the same whole number of rows.
    pub fn noise(
        &self,
        seed: u64,
        first_row: u64,
        latent: Option<&mut [f32]>,
        component: Option<&mut [f32]>,
        noise: Option<&mut [f32]>,
    ) -> Result<()> {
        let _inside = float_mode::enter();
        let info = &self.0.info;
        let lists = [
            ("latent", latent, info.latent_dimension, Stream::Latent),
            ("component", component, 1, Stream::Component),
            ("noise", noise, info.dimension, Stream::Endpoint),
        ];
        let mut rows = None;
        for (name, list, numbers, _) in &lists {
            let Some(list) = list else { continue };
            let found = if *numbers == 0 { 0 } else { list.len() / numbers };
            if found * numbers != list.len() || (*numbers > 0 && *rows.get_or_insert(found) != found) {
                return Err(Error::invalid(format!(
                    "{name} has {} numbers, but must hold whole rows of {numbers}, as many as the others",
                    list.len()
                )));
            }
        }
        for (_, list, numbers, stream) in lists {
            let Some(list) = list else { continue };
            let (sequence, first) = (Sequence::new(seed, 0, stream), first_row.wrapping_mul(numbers as u64));
            match stream {
                Stream::Component => sequence.uniforms(first, list),
                _ => sequence.normals(first, list),
            }
        }
        Ok(())
    }
}
