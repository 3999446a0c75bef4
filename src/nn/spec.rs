//! The description of one network in configurations, model files and checkpoints.

use super::convolutions::Convolutions;
use crate::device::layout::{Layout, MAX_HIDDEN};
use crate::file::kind::{CONVOLUTIONS, LAYERS, OWN_AXES, OWN_NETWORKS};
use crate::formulas::Activation;
use serde::{Deserialize, Serialize};

/// What stands before the names of a network's own fields in errors.
pub(crate) const VALUE: &str = "value_network.";
pub(crate) const GENERATOR: &str = "generator_network.";

/// The largest number of units of a hidden layer.
const MAX_WIDTH: usize = 4096;

/// The kind of layers that a network is built of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkKind {
    /// A multilayer perceptron: dense hidden layers of equal width.
    #[default]
    Perceptron,
    /// Convolutions with residual connections, for pictures.
    Convolutional,
}

/// Everything that a host chooses about one network. The numbers of inputs and outputs follow from the samples and the
/// generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// The kind of layers. Default a multilayer perceptron; a file that names no kind means this one too.
    #[serde(default)]
    pub kind: NetworkKind,
    /// Nonlinearity of the hidden layers. Default SiLU.
    pub activation: Activation,
    /// Units of each hidden layer, 1 to 4096. Default 128.
    pub hidden_width: usize,
    /// Hidden layers, 1 to 16. Default 3.
    pub hidden_layers: usize,
    /// Whether the network also sees a square of each number of a sample: see
    /// [`squares`](crate::TrainerConfig::squares). Default true.
    pub squares: bool,
    /// The form of a convolutional network, for which `hidden_width`, `hidden_layers` and `squares` mean nothing. Default
    /// None, which for such a network is the default form. A perceptron has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convolutions: Option<Convolutions>,
}

impl Default for NetworkSpec {
    fn default() -> Self {
        Self {
            kind: NetworkKind::default(),
            activation: Activation::Silu,
            hidden_width: 128,
            hidden_layers: 3,
            squares: true,
            convolutions: None,
        }
    }
}

impl NetworkSpec {
    /// A convolutional network of this form.
    pub fn convolutional(form: Convolutions) -> Self {
        Self { kind: NetworkKind::Convolutional, squares: false, convolutions: Some(form), ..Self::default() }
    }

    /// Returns the form of a convolutional network.
    pub(crate) fn convolutions(&self) -> Option<Convolutions> {
        (self.kind == NetworkKind::Convolutional).then(|| self.convolutions.unwrap_or_default())
    }

    /// Returns the description for samples of this shape. An error has `prefix` before the names of fields.
    ///
    /// # Errors
    /// A convolutional network whose samples are no pictures, or others than the description names.
    pub(crate) fn of_samples(&self, shape: &[usize], prefix: &str) -> Result<Self, String> {
        let Some(form) = self.convolutions() else { return Ok(self.clone()) };
        Ok(Self { convolutions: Some(form.of_samples(shape, prefix)?), ..self.clone() })
    }

    /// Checks the fields. An error is a sentence about the field at fault, with `prefix` before its name.
    ///
    /// # Errors
    /// The first field out of its range, with its value and the range.
    pub(crate) fn check(&self, prefix: &str) -> Result<(), String> {
        if let Some(form) = self.convolutions() {
            return form.check(prefix);
        }
        if self.convolutions.is_some() {
            return Err(format!(
                "{prefix}convolutions are for a convolutional network, but {prefix}kind is a perceptron"
            ));
        }
        let sizes = [("hidden_width", self.hidden_width, MAX_WIDTH), ("hidden_layers", self.hidden_layers, MAX_HIDDEN)];
        match sizes.into_iter().find(|(_, n, most)| !(1..=*most).contains(n)) {
            None => Ok(()),
            Some((name, n, most)) => Err(format!("{prefix}{name} is {n}, but must be from 1 to {most}")),
        }
    }

    /// Returns the layers of a perceptron for `inputs` inputs (with the squares) and `outputs` outputs.
    pub(crate) fn layout(&self, inputs: usize, outputs: usize) -> Layout {
        let mut widths = [self.hidden_width; MAX_HIDDEN + 2];
        let last = self.hidden_layers + 1;
        (widths[0], widths[last]) = (inputs, outputs);
        Layout::dense(&widths[..=last])
    }
}

/// What a configuration or a file says about both networks: a description that both share, and one of its own for a
/// network that differs.
pub(crate) struct Specs<'a> {
    pub shared: NetworkSpec,
    pub value: Option<&'a NetworkSpec>,
    pub generator: Option<&'a NetworkSpec>,
}

impl<'a> Specs<'a> {
    /// Describes both networks by the fields that configurations and files have in common, and by the descriptions that
    /// the value network and the generator may have of their own.
    pub fn new(
        activation: Activation,
        hidden_width: usize,
        hidden_layers: usize,
        squares: bool,
        own: [&'a Option<NetworkSpec>; 2],
    ) -> Self {
        let shared = NetworkSpec {
            kind: NetworkKind::Perceptron,
            activation,
            hidden_width,
            hidden_layers,
            squares,
            convolutions: None,
        };
        let [value, generator] = own.map(Option::as_ref);
        Self { shared, value, generator }
    }

    /// Checks all of them.
    ///
    /// # Errors
    /// As [`NetworkSpec::check`], with names such as `hidden_width` and `value_network.hidden_width`.
    pub fn check(&self) -> Result<(), String> {
        self.shared.check("")?;
        self.value.map_or(Ok(()), |spec| spec.check(VALUE))?;
        self.value.and_then(NetworkSpec::convolutions).map_or(Ok(()), |form| form.check_value(VALUE))?;
        self.generator.map_or(Ok(()), |spec| spec.check(GENERATOR))
    }

    /// Returns whether the networks are convolutional.
    ///
    /// # Errors
    /// One that is, beside one that is not.
    pub fn convolutional(&self) -> Result<bool, String> {
        let [value, generator] =
            [self.value, self.generator].map(|spec| spec.unwrap_or(&self.shared).kind == NetworkKind::Convolutional);
        match value == generator {
            true => Ok(value),
            false => Err("value_network and generator_network must both be convolutional, or neither".into()),
        }
    }

    /// Returns the descriptions of the value network and of the generator.
    pub fn each(&self) -> [NetworkSpec; 2] {
        [self.value, self.generator].map(|own| own.unwrap_or(&self.shared).clone())
    }

    /// Checks what convolutional networks need of the generator: it is a point for each source sample and latent.
    ///
    /// # Errors
    /// A sentence that names what is at fault.
    pub fn check_convolutional(&self, deterministic: bool, components: usize) -> Result<(), String> {
        let needs = |name: &str, value: usize| {
            Err(format!("{name} is {value}, but must be 1 where networks are convolutional"))
        };
        match self.convolutional()? {
            true if !deterministic => needs("deterministic", 0),
            true if components > 1 => needs("components", components),
            _ => Ok(()),
        }
    }

    /// Checks that descriptions from a file leave nothing to be chosen for samples of this shape.
    ///
    /// # Errors
    /// A sentence that names what is at fault.
    pub fn check_chosen(&self, shape: &[usize]) -> Result<(), String> {
        for (prefix, spec) in [(VALUE, self.value), (GENERATOR, self.generator)] {
            let Some(form) = spec.and_then(NetworkSpec::convolutions) else { continue };
            if form.of_samples(shape, prefix)? != form {
                return Err(format!(
                    "{prefix}channels is {}, levels {} and blocks {}, but each must be 1 or more",
                    form.channels, form.levels, form.blocks
                ));
            }
        }
        Ok(())
    }

    /// Returns what a file with these networks has, each with the version that knows it. `own_axes` is whether the
    /// problem's axes have lengths of their own.
    pub fn versions(&self, own_axes: bool) -> [(bool, u64); 4] {
        let own = self.value.is_some() || self.generator.is_some();
        let forms = [self.value, self.generator].map(|spec| spec.and_then(NetworkSpec::convolutions));
        let new_layers = forms.iter().flatten().any(Convolutions::has_new_layers);
        let pictures = self.convolutional().unwrap_or(true);
        [(own, OWN_NETWORKS), (own_axes, OWN_AXES), (pictures, CONVOLUTIONS), (new_layers, LAYERS)]
    }

    /// Returns each network's description where it differs from the shared one, which is what a file stores in
    /// addition.
    pub fn differing(&self) -> [Option<NetworkSpec>; 2] {
        [self.value, self.generator].map(|own| own.filter(|&own| *own != self.shared).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_lie_between_the_inputs_and_the_outputs() {
        let spec = NetworkSpec { hidden_width: 7, hidden_layers: 2, ..NetworkSpec::default() };
        assert_eq!(spec.layout(5, 3), Layout::dense(&[5, 7, 7, 3]));
        let deepest = NetworkSpec { hidden_layers: MAX_HIDDEN, ..spec };
        assert_eq!(deepest.layout(5, 3).hidden(), MAX_HIDDEN);
    }

    #[test]
    fn sizes_out_of_range_are_refused_by_the_name_of_their_network() {
        let spec = |hidden_width, hidden_layers| NetworkSpec { hidden_width, hidden_layers, ..NetworkSpec::default() };
        let refusal = |shared: NetworkSpec, value: Option<NetworkSpec>, generator: Option<NetworkSpec>| {
            Specs { shared, value: value.as_ref(), generator: generator.as_ref() }.check().expect_err("out of range")
        };
        let good = || spec(4096, 16);
        assert_eq!(refusal(spec(4097, 1), None, None), "hidden_width is 4097, but must be from 1 to 4096");
        let refused = refusal(good(), Some(spec(0, 1)), None);
        assert_eq!(refused, "value_network.hidden_width is 0, but must be from 1 to 4096");
        let refused = refusal(good(), Some(good()), Some(spec(1, 17)));
        assert_eq!(refused, "generator_network.hidden_layers is 17, but must be from 1 to 16");
        let pictures = NetworkSpec { convolutions: Some(Convolutions::default()), ..good() };
        let refused = refusal(good(), None, Some(pictures));
        assert!(refused.starts_with("generator_network.convolutions are for a convolutional network"), "{refused}");
    }

    #[test]
    fn a_description_without_a_kind_is_a_perceptron_and_an_unknown_kind_is_refused() {
        let text = r#"{"activation":"tanh","hidden_width":5,"hidden_layers":2,"squares":false}"#;
        let spec: NetworkSpec = serde_json::from_str(text).expect("all but the kind");
        assert_eq!((spec.kind, spec.activation), (NetworkKind::Perceptron, Activation::Tanh));
        let other = text.replace('{', r#"{"kind":"other","#);
        let refused = serde_json::from_str::<NetworkSpec>(&other).expect_err("an unknown kind").to_string();
        assert!(refused.contains("other") && refused.contains("perceptron"), "{refused}");
    }
}
