//! Size and offset of every field of every struct, pinned: what a compiled program relies on. The C
//! compiler is asked too.
#![cfg(target_pointer_width = "64")]

mod common;

use std::fmt::Write as _;
use std::mem::offset_of;

use sfeuot::abi::*;

/// Checks the Rust struct and appends the same numbers as assertions in C.
macro_rules! pin {
    ($c:ident, $align:literal: $($type:ident, $size:literal { $($field:ident $offset:literal),+ })+) => {$(
        // Without `..`: a field that is not pinned does not compile.
        let _ = |value: $type| { let $type { $($field: _),+ } = value; };
        assert_eq!(size_of::<$type>(), $size, "size of {}", stringify!($type));
        assert_eq!(align_of::<$type>(), $align, "alignment of {}", stringify!($type));
        writeln!($c, "CHECK(sizeof({}) == {});", stringify!($type), $size).expect("a string grows");
        $(
            assert_eq!(offset_of!($type, $field), $offset, "{}.{}", stringify!($type), stringify!($field));
            writeln!($c, "CHECK(offsetof({}, {}) == {});", stringify!($type), stringify!($field), $offset)
                .expect("a string grows");
        )+
    )+};
}

#[test]
fn structs_have_the_layout_programs_were_compiled_against() {
    let mut c = String::from("#include \"sfeuot.h\"\n#define CHECK(x) _Static_assert(x, #x)\n");
    pin! { c, 8:
        SfeuotContextConfig, 80 {
            struct_size 0, device 4, threads 8, log_level 12, log_callback 16, log_userdata 24, cuda_device 32,
            cuda_products 36, cuda_uuid 40, cuda_context 48, cuda_stream 56, memory_limit 64,
            cuda_precision 72, reserved 76
        }
        SfeuotDeviceInfo, 304 {
            struct_size 0, index 4, driver_version 8, capability_major 12, capability_minor 16, reserved 20, memory 24,
            uuid 32, name 48
        }
        SfeuotTensor, 64 {
            struct_size 0, dtype 4, data 8, rank 16, shape 24, strides 32, scale 40, offset 48, memory 56, read_only 60
        }
        SfeuotData, 104 {
            struct_size 0, sample_rank 4, samples 8, weights 16, sample_callback 24, sample_userdata 32,
            sample_shape 40, rows 48, row_count 56, row_dimension 64, row_dtype 72, reserved 76, row_scale 80,
            row_offset 88, flip 96, crop 100
        }
        SfeuotTrainerConfig, 176 {
            struct_size 0, divergence 4, sigma 8, tau 16, sigma_units 24, activation 28, hidden_width 32,
            hidden_layers 36, latent_dimension 40, deterministic 44, squares 48, batch_sources 52, components 56,
            reserved 60, generator_learning_rate 64, value_learning_rate 72, adam_beta1 80, adam_beta2 88, ema_decay 96,
            gradient_clip 104, decay_steps 112, decay_floor 120, seed 128, value_network 136, generator_network 144,
            tau_start 152, tau_steps 160, gradient_penalty 168
        }
        SfeuotMetrics, 120 {
            struct_size 0, reserved 4, step 8, dual 16, value_loss 24, generator_loss 32, potential 40, action 48,
            value_gradient_norm 56, generator_gradient_norm 64, density_ratio_mean 72, steps_per_second 80,
            value_generated 88, value_target 96, matched_share 104, spread 112
        }
        SfeuotProblemConfig, 56 {
            struct_size 0, divergence 4, sigma 8, tau 16, scale 24, sigma_units 32, components 36, dimension 40,
            latents 48, deterministic 52
        }
        SfeuotValueLoss, 72 {
            struct_size 0, reserved 4, value_loss 8, dual 16, potential 24, action 32, value_generated 40,
            value_target 48, density_ratio_mean 56, matched_share 64
        }
        SfeuotModelInfo, 72 {
            struct_size 0, sample_rank 4, dimension 8, latent_dimension 16, components 20, divergence 24, reserved 28,
            sigma 32, tau 40, data_scale 48, steps 56, parameters 64
        }
        SfeuotLutConfig, 104 {
            struct_size 0, size 4, latents 8, reserved 12, seed 16, row 24, low 32, high 56, to_model 80, from_model 88,
            userdata 96
        }
        SfeuotOnnxConfig, 48 {
            struct_size 0, graph 4, latents 8, reserved 12, seed 16, row 24, write 32, userdata 40
        }
    }

    pin! { c, 4:
        SfeuotSessionConfig, 8 { struct_size 0, threads 4 }
        SfeuotNetwork, 60 {
            struct_size 0, activation 4, hidden_width 8, hidden_layers 12, squares 16, kind 20, channels 24, levels 28,
            blocks 32, residual 36, low 40, high 44, upsampling 48, norm_groups 52, attention_heads 56
        }
    }

    let header = std::fs::read_to_string(common::root().join("include/sfeuot.h")).expect("the header");
    let structs = header.matches("typedef struct ").count()
        - header.matches("typedef struct SfeuotContext SfeuotContext;").count()
        - 4;
    assert_eq!(structs, c.matches("sizeof").count(), "a struct of the header is not pinned");

    let file = common::scratch("abi_layout").join("layout.c");
    std::fs::write(&file, c).expect("the scratch folder is writable");
    let include = common::root().join("include");
    let checked = std::process::Command::new("cc")
        .args(["-std=c11", "-fsyntax-only", "-I"])
        .args([&include, &file])
        .output()
        .expect("a C compiler");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn init_functions_give_the_sizes_and_the_documented_defaults() {
    let config = common::init(sfeuot_trainer_config_init_4);
    assert_eq!((config.tau_start, config.tau_steps, config.gradient_penalty), (1.0, 0, 0.0));
    assert_eq!(config.struct_size as usize, size_of::<SfeuotTrainerConfig>());
    assert!(config.value_network.is_null() && config.generator_network.is_null());
    assert_eq!(
        (config.divergence, config.sigma_units, config.activation, config.deterministic, config.squares),
        (SFEUOT_DIVERGENCE_KL, SFEUOT_SIGMA_RELATIVE, SFEUOT_ACTIVATION_SILU, 0, 1)
    );
    assert_eq!(
        (config.hidden_width, config.hidden_layers, config.latent_dimension, config.batch_sources),
        (128, 3, 0, 0)
    );
    assert_eq!((config.components, config.decay_steps, config.seed), (0, 0, 0));
    let rates = [config.generator_learning_rate, config.value_learning_rate, config.decay_floor];
    assert_eq!(rates, [2e-3, 1e-3, 0.02]);
    assert_eq!([config.tau, config.adam_beta1, config.adam_beta2, config.ema_decay], [1.0, 0.5, 0.99, 0.998]);
    assert!(config.sigma.is_nan() || config.sigma <= 0.0, "sigma has no default, so an unset one must be refused");

    let network = common::init(sfeuot_network_init_3);
    assert_eq!(network.struct_size as usize, size_of::<SfeuotNetwork>());
    assert_eq!(
        (network.activation, network.hidden_width, network.hidden_layers, network.squares, network.kind),
        (config.activation, config.hidden_width, config.hidden_layers, config.squares, 0)
    );
    assert_eq!((network.upsampling, network.norm_groups), (SFEUOT_UPSAMPLING_NEAREST, 0));
    assert_eq!(network.attention_heads, 0);

    let problem = common::init(sfeuot_problem_config_init);
    assert_eq!(problem.struct_size as usize, size_of::<SfeuotProblemConfig>());
    assert_eq!((problem.divergence, problem.sigma_units), (SFEUOT_DIVERGENCE_KL, SFEUOT_SIGMA_RELATIVE));
    assert_eq!((problem.tau, problem.scale, problem.components, problem.dimension), (1.0, 1.0, 8, 0));
    assert_eq!((problem.latents, problem.deterministic), (0, 0));
    assert!(problem.sigma.is_nan(), "sigma has no default, so an unset one must be refused");
    assert_eq!(common::init(sfeuot_value_loss_init).struct_size as usize, size_of::<SfeuotValueLoss>());

    let context = common::init(sfeuot_context_config_init_2);
    assert_eq!((context.device, context.threads, context.log_level), (SFEUOT_DEVICE_AUTO, 0, SFEUOT_LOG_WARN));
    assert!(context.log_callback.is_none() && context.log_userdata.is_null());
    assert_eq!((context.cuda_device, context.cuda_products, context.memory_limit), (-1, SFEUOT_PRODUCTS_AUTO, 0));
    assert_eq!((context.cuda_precision, context.reserved), (SFEUOT_PRECISION_F32, 0));
    // A program that was built when the struct ended with memory_limit has no more room than that.
    let mut older = SfeuotContextConfig { cuda_precision: 7, ..context };
    // SAFETY: room for more than the function fills.
    assert_eq!(unsafe { sfeuot_context_config_init(&mut older) }, SFEUOT_OK);
    assert_eq!((older.struct_size, older.cuda_precision), (72, 7));
    assert!(context.cuda_uuid.is_null() && context.cuda_context.is_null() && context.cuda_stream.is_null());
    let tensor = common::init(sfeuot_tensor_init);
    assert_eq!((tensor.dtype, tensor.rank, tensor.scale, tensor.offset), (SFEUOT_DTYPE_F32, 0, 1.0, 0.0));
    assert!(tensor.data.is_null() && tensor.shape.is_null() && tensor.strides.is_null());
    assert_eq!((tensor.memory, tensor.read_only), (SFEUOT_MEMORY_HOST, 0));
    let data = common::init(sfeuot_data_init_3);
    assert!(data.samples.is_null() && data.weights.is_null() && data.sample_callback.is_none());
    assert!(data.rows.is_null() && data.row_dtype == SFEUOT_DTYPE_F32 && data.row_scale == 1.0);
    assert_eq!((data.flip, data.crop), (0, 0));
    let mut older = SfeuotData { row_count: 7, ..data };
    // SAFETY: room for more than the function fills.
    assert_eq!(unsafe { sfeuot_data_init(&mut older) }, SFEUOT_OK);
    assert_eq!((older.struct_size, older.row_count), (48, 7));
    let sizes = [context.struct_size, tensor.struct_size, data.struct_size];
    assert_eq!(
        sizes.map(|size| size as usize),
        [size_of::<SfeuotContextConfig>(), size_of::<SfeuotTensor>(), size_of::<SfeuotData>()]
    );
    assert_eq!(common::init(sfeuot_metrics_init_2).struct_size as usize, size_of::<SfeuotMetrics>());
    // A program that was built when the struct ended with steps_per_second has no more room than that.
    let mut older = SfeuotMetrics { value_generated: 7.0, spread: 7.0, ..common::init(sfeuot_metrics_init_2) };
    // SAFETY: room for more than the function fills.
    assert_eq!(unsafe { sfeuot_metrics_init(&mut older) }, SFEUOT_OK);
    assert_eq!((older.struct_size, older.value_generated, older.spread), (88, 7.0, 7.0));
    let session = common::init(sfeuot_session_config_init);
    assert_eq!((session.struct_size as usize, session.threads), (size_of::<SfeuotSessionConfig>(), 1));
    assert_eq!(common::init(sfeuot_model_info_init).struct_size as usize, size_of::<SfeuotModelInfo>());
    assert_eq!(common::init(sfeuot_lut_config_init).struct_size as usize, size_of::<SfeuotLutConfig>());
    assert_eq!(common::init(sfeuot_onnx_config_init).struct_size as usize, size_of::<SfeuotOnnxConfig>());
    assert_eq!(common::init(sfeuot_device_info_init).struct_size as usize, size_of::<SfeuotDeviceInfo>());
}
