//! One network of a trainer, where the value network and the generator differ.

use super::arguments::switch;
use super::config::{self, Versioned};
use super::enums::Coded as _;
use super::panic::guard;
use super::status::{Failure, Outcome};
use crate::{NetworkKind, NetworkSpec};

/// One network, for SfeuotTrainerConfig.value_network and generator_network: a multilayer
/// perceptron. Fill it with sfeuot_network_init, then change what you need.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SfeuotNetwork {
    /// Set by sfeuot_network_init.
    pub struct_size: u32,
    /// SFEUOT_ACTIVATION_*. Default SFEUOT_ACTIVATION_SILU.
    pub activation: i32,
    /// Units of each hidden layer, 1 to 4096. Default 128.
    pub hidden_width: u32,
    /// Hidden layers, 1 to 16. Default 3.
    pub hidden_layers: u32,
    /// 1 lets the network see squares of a sample's numbers, as SfeuotTrainerConfig.squares says; 0
    /// the sample alone. Default 1.
    pub squares: i32,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: repr(C), struct_size first, plain numbers.
unsafe impl Versioned for SfeuotNetwork {
    const NAME: &'static str = "SfeuotNetwork";
    const SIZES: &'static [usize] = &[size_of::<Self>()];

    fn defaults() -> Self {
        let NetworkSpec { kind: NetworkKind::Perceptron, activation, hidden_width, hidden_layers, squares } =
            NetworkSpec::default();
        let count = |n: usize| u32::try_from(n).expect("a default that fits");
        Self {
            struct_size: size_of::<Self>() as u32,
            activation: activation.into(),
            hidden_width: count(hidden_width),
            hidden_layers: count(hidden_layers),
            squares: squares.into(),
            reserved: 0,
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
        if network.reserved != 0 {
            return Err(Failure::argument(format!("{argument}.reserved is {}, but must be 0", network.reserved)));
        }
        Ok(Some(NetworkSpec {
            kind: NetworkKind::Perceptron,
            activation: crate::Activation::of(network.activation, &format!("{argument}.activation"))?,
            hidden_width: network.hidden_width as usize,
            hidden_layers: network.hidden_layers as usize,
            squares: switch(&format!("{argument}.squares"), network.squares)?,
        }))
    }
}

/// Fills network with the defaults, which are those of SfeuotTrainerConfig.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sfeuot_network_init(network: *mut SfeuotNetwork) -> i32 {
    // SAFETY: network is NULL or writable.
    guard("sfeuot_network_init", || unsafe { config::init(network, "network", SfeuotNetwork::SIZES[0]) })
}
