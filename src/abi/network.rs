//! One network of a trainer, where it is not the perceptron that the configuration's own fields describe.

use super::arguments::switch;
use super::config::{self, Versioned};
use super::enums::{Coded as _, codes};
use super::panic::guard;
use super::status::{Failure, Outcome};
use crate::{Convolutions, NetworkKind, NetworkSpec, Upsampling};
use std::mem::offset_of;

/// Kinds of networks, for SfeuotNetwork.kind.
///
/// ---
///
/// A multilayer perceptron, which sees a sample as a list of numbers.
pub const SFEUOT_NETWORK_MLP: i32 = 0;
/// A convolutional network, for samples of the shape {channels, height, width} or {height, width}:
/// SFEUOT_NETWORK_CONV_TINY where a side is below 16 pixels, else SFEUOT_NETWORK_CONV_BASE where one
/// is above 64, else SFEUOT_NETWORK_CONV_SMALL.
pub const SFEUOT_NETWORK_CONV: i32 = 1;
/// A convolutional network with 16 channels.
pub const SFEUOT_NETWORK_CONV_TINY: i32 = 2;
/// A convolutional network with 32 channels.
pub const SFEUOT_NETWORK_CONV_SMALL: i32 = 3;
/// A convolutional network with 64 channels and 2 blocks a level.
pub const SFEUOT_NETWORK_CONV_BASE: i32 = 4;

/// How a convolutional generator comes to finer levels, for SfeuotNetwork.upsampling.
///
/// ---
///
/// Each pixel is repeated in a square of 2 x 2.
pub const SFEUOT_UPSAMPLING_NEAREST: i32 = 0;
/// Each pixel is interpolated linearly, along both sides, between those next to it.
pub const SFEUOT_UPSAMPLING_BILINEAR: i32 = 1;

codes!(Upsampling, "upsampling":
    SFEUOT_UPSAMPLING_NEAREST => Nearest, SFEUOT_UPSAMPLING_BILINEAR => Bilinear);

/// One network, for SfeuotTrainerConfig.value_network and generator_network. Fill it with
/// sfeuot_network_init, then change what you need.
///
/// Convolutional networks need SfeuotTrainerConfig.deterministic = 1, components = 1 and a
/// latent_dimension of at least 1, and both networks have to be convolutional. They see pictures as
/// they are, without the contraction that other networks' sources get: begin with a source that is
/// not wider than the target. With SFEUOT_SIGMA_RELATIVE begin with tau = 2 and sigma = 0.3. See
/// "Pictures" in docs/guide.md.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SfeuotNetwork {
    /// Set by sfeuot_network_init.
    pub struct_size: u32,
    /// SFEUOT_ACTIVATION_*. Default SFEUOT_ACTIVATION_SILU.
    pub activation: i32,
    /// Units of each hidden layer of a perceptron, 1 to 4096. Default 128.
    pub hidden_width: u32,
    /// Hidden layers of a perceptron, 1 to 16. Default 3.
    pub hidden_layers: u32,
    /// 1 lets a perceptron see squares of a sample's numbers, as SfeuotTrainerConfig.squares says; 0
    /// the sample alone. Default 1.
    pub squares: i32,
    /// SFEUOT_NETWORK_*. Default SFEUOT_NETWORK_MLP.
    pub kind: i32,
    /// Channels of the finest level of a convolutional network, up to 1024; coarser levels have
    /// twice as many each, up to four times. 0 takes those of its kind. Default 0. This and the next
    /// two have to be 0 for a perceptron.
    pub channels: u32,
    /// Levels of a convolutional network, up to 6, each with half of the sides of the one before. 0
    /// takes as many as leave sides of 4 pixels or more. Pictures with sides of 12 or more begin
    /// with the four pixels of each square beside each other as channels. Default 0.
    pub levels: u32,
    /// Residual blocks of each level, up to 8. 0 takes those of the kind. Default 0.
    pub blocks: u32,
    /// 1 lets a convolutional generator add what it computes to the source sample, as suits a
    /// translation between pictures. 0 lets it draw the picture anew, as suits a source of noise.
    /// Default 1.
    pub residual: i32,
    /// The least and the largest number that a convolutional generator gives, in data units, low <
    /// high: those of black and white, for pictures of which many pixels are one of both. Costs the
    /// steps nothing and sharpens what is generated. Both 0, the default: no range.
    pub low: f32,
    /// See low.
    pub high: f32,
    /// SFEUOT_UPSAMPLING_*, of a convolutional generator; the value function has no finer levels to
    /// come to. Default SFEUOT_UPSAMPLING_NEAREST, which has to stay for a perceptron.
    pub upsampling: i32,
    /// Groups of channels that each block of a convolutional generator normalises in each picture,
    /// before a scale and a shift of every channel: group normalisation. It has to divide the
    /// channels. 0 normalises nothing, and is what a value network needs. Default 0.
    pub norm_groups: u32,
    /// Heads of the self-attention between the pixels of a convolutional generator's coarsest
    /// level, up to 16. They have to divide that level's channels, which are 2 or 4 times as many as
    /// the finest's where there are more levels, and it may have 1024 pixels. 0 is without
    /// attention, and is what a value network needs. Default 0.
    pub attention_heads: u32,
}

// SAFETY: repr(C), struct_size first, plain numbers; 24 is the end of kind, 48 that of high.
unsafe impl Versioned for SfeuotNetwork {
    const NAME: &'static str = "SfeuotNetwork";
    const SIZES: &'static [usize] = &[offset_of!(Self, channels), offset_of!(Self, upsampling), size_of::<Self>()];

    fn defaults() -> Self {
        let NetworkSpec { kind: _, activation, hidden_width, hidden_layers, squares, convolutions: _ } =
            NetworkSpec::default();
        let count = |n: usize| u32::try_from(n).expect("a default that fits");
        Self {
            struct_size: size_of::<Self>() as u32,
            activation: activation.into(),
            hidden_width: count(hidden_width),
            hidden_layers: count(hidden_layers),
            squares: squares.into(),
            kind: SFEUOT_NETWORK_MLP,
            channels: 0,
            levels: 0,
            blocks: 0,
            residual: Convolutions::default().residual.into(),
            low: 0.0,
            high: 0.0,
            upsampling: Upsampling::default().into(),
            norm_groups: 0,
            attention_heads: 0,
        }
    }
}

impl SfeuotNetwork {
    /// The network that `pointer` describes, None for NULL. Enums and switches are checked here;
    /// what the numbers may be is the core's to say.
    ///
    /// SAFETY: `pointer` is NULL or readable for the `struct_size` it begins with.
    pub(super) unsafe fn read(pointer: *const Self, argument: &str) -> Outcome<Option<NetworkSpec>> {
        if pointer.is_null() {
            return Ok(None);
        }
        // SAFETY: as promised.
        let network = unsafe { config::read(pointer, argument) }?;
        let convolutions = network.convolutions(argument)?;
        Ok(Some(NetworkSpec {
            kind: if convolutions.is_some() { NetworkKind::Convolutional } else { NetworkKind::Perceptron },
            activation: crate::Activation::of(network.activation, &format!("{argument}.activation"))?,
            hidden_width: network.hidden_width as usize,
            hidden_layers: network.hidden_layers as usize,
            squares: switch(&format!("{argument}.squares"), network.squares)?,
            convolutions,
        }))
    }

    /// The form of a convolutional network, None for a perceptron.
    fn convolutions(&self, argument: &str) -> Outcome<Option<Convolutions>> {
        let preset = match self.kind {
            SFEUOT_NETWORK_MLP => return self.check_perceptron(argument).map(|()| None),
            SFEUOT_NETWORK_CONV => Convolutions::default(),
            SFEUOT_NETWORK_CONV_TINY => Convolutions::TINY,
            SFEUOT_NETWORK_CONV_SMALL => Convolutions::SMALL,
            SFEUOT_NETWORK_CONV_BASE => Convolutions::BASE,
            kind => {
                return Err(Failure::argument(format!(
                    "{argument}.kind is {kind}; allowed are SFEUOT_NETWORK_MLP (0), SFEUOT_NETWORK_CONV (1), \
                     SFEUOT_NETWORK_CONV_TINY (2), SFEUOT_NETWORK_CONV_SMALL (3), SFEUOT_NETWORK_CONV_BASE (4)"
                )));
            }
        };
        let own = Convolutions {
            channels: self.channels as usize,
            levels: self.levels as usize,
            blocks: self.blocks as usize,
            residual: switch(&format!("{argument}.residual"), self.residual)?,
            norm_groups: self.norm_groups as usize,
            attention_heads: self.attention_heads as usize,
            upsampling: Upsampling::of(self.upsampling, &format!("{argument}.upsampling"))?,
            range: (self.low != 0.0 || self.high != 0.0).then_some([self.low, self.high].map(f64::from)),
            ..Convolutions::default()
        };
        Ok(Some(own.with_preset(preset)))
    }

    /// Refuses a perceptron with fields of convolutional networks. `residual` is 1 by default and means nothing here.
    fn check_perceptron(&self, argument: &str) -> Outcome<()> {
        let counts = [
            ("channels", self.channels),
            ("levels", self.levels),
            ("blocks", self.blocks),
            ("norm_groups", self.norm_groups),
            ("attention_heads", self.attention_heads),
        ];
        let counts = counts.map(|(name, number)| (name, f64::from(number)));
        let others = [("low", self.low.into()), ("high", self.high.into()), ("upsampling", self.upsampling.into())];
        match counts.into_iter().chain(others).find(|&(_, number)| number != 0.0) {
            None => Ok(()),
            Some((name, number)) => Err(Failure::argument(format!(
                "{argument}.{name} is {number}, but must be 0 where {argument}.kind is SFEUOT_NETWORK_MLP (0)"
            ))),
        }
    }
}

/// In C and C++ call this name: a macro below makes it sfeuot_network_init_3. The symbol itself is
/// for programs that were built when SfeuotNetwork ended with kind, and fills that much of network.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_network_init(network: *mut SfeuotNetwork) -> i32 {
    // SAFETY: network is NULL or writable.
    guard("sfeuot_network_init", || unsafe { config::init(network, "network", SfeuotNetwork::SIZES[0]) })
}

/// As sfeuot_network_init, for programs that were built when SfeuotNetwork ended with high.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_network_init_2(network: *mut SfeuotNetwork) -> i32 {
    // SAFETY: network is NULL or writable.
    guard("sfeuot_network_init_2", || unsafe { config::init(network, "network", SfeuotNetwork::SIZES[1]) })
}

/// Fills network with the defaults, which are those of SfeuotTrainerConfig. Programs that include
/// this header call it as sfeuot_network_init; whoever looks functions up by name (dlsym, bindings
/// of other languages) needs this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_network_init_3(network: *mut SfeuotNetwork) -> i32 {
    // SAFETY: network is NULL or writable.
    guard("sfeuot_network_init_3", || unsafe { config::init(network, "network", SfeuotNetwork::SIZES[2]) })
}
