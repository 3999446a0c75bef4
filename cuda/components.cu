// From a generator's outputs for each source sample to components for its rows, and back: src/euot/conditional.rs.
//
// Outputs of a source sample are [raw_1, .., raw_K, logits], raw_k of `raw` numbers and K logits; p = softmax(logits).
//
//   components_choose  rows each source + i, i < each, get out = raw_c and weights = log(K p_c); `weights` may be null.
//                      With `drawn` c is where (i + u) / each falls along the cumulated p, or the last one before it with
//                      p_c > 0; u in (0, 1] is element first_source + source of the stream COMPONENT. Otherwise c = i,
//                      and each = K.
//   components_fold    to = [delta_1, .., delta_K, scale K p_k (loss_k - mean)] for each source, with delta and loss of rows
//                      K source + k and the mean of its losses by p.
//   components_mean    to[source] += sum over k of p_k times the first d numbers of raw_k, in their order.
//
// Probabilities are added up in 64 bits, as on the CPU, so that from equal outputs both draw the same components, but where a
// place lies within about 1e-15 of a boundary.
//
// Launch: one-dimensional, any number of blocks; a warp takes one source sample after another. Reads and writes 4 bytes a
// number of every matrix named, a component's numbers once for each row that takes it; logits are read again for each
// probability, of which there are K a source, and as many again where components are drawn, in 64 bits.
#include "philox.cuh"
#include "quadratic.cuh"

// Of one source sample, in every lane of a warp.
struct Probabilities {
    const float* logits;
    u32 components;
    float top;
    double total;
};

__device__ inline double probability(const Probabilities& of, u32 component) {
    return exp((double)of.logits[component] - (double)of.top) / of.total;
}

__device__ inline Probabilities probabilities_of(const float* outputs, u32 raw, u32 components) {
    const float* logits = outputs + (u64)components * raw;
    float top = -infinity();
    for (u32 k = threadIdx.x % WARP; k < components; k += WARP) {
        // A NaN does not enter the largest; it shows in the total, and so in every probability.
        top = logits[k] > top ? logits[k] : top;
    }
#pragma unroll
    for (u32 hop = WARP / 2; hop > 0; hop /= 2) {
        const float other = __shfl_xor_sync(ALL_LANES, top, hop);
        top = other > top ? other : top;
    }
    double total = 0.0;
    for (u32 k = threadIdx.x % WARP; k < components; k += WARP) {
        total += exp((double)logits[k] - (double)top);
    }
    return {logits, components, top, lanes_sum<WARP>(total)};
}

// Room for two blocks: by itself ptxas holds to 48 registers on some architectures and spills one.
extern "C" __global__ void __launch_bounds__(256, 2)
components_choose(const float* outputs, u32 outputs_stride, u32 sources, u32 each, u32 components, u32 raw, u32 drawn,
                  u64 seed, const u64* counter, u64 number, u64 first_source, float* out, u32 out_stride, float* weights) {
    const Sequence sequence = sequence_of(seed, counter, number, STREAM_COMPONENT);
    each_row_of_warp(sources, [=](u64 source, bool writes) {
        const float* from = row_of(outputs, outputs_stride, (u32)source);
        const Probabilities of = probabilities_of(from, raw, components);
        const u64 element = first_source + source;
        const uint4 words = philox_block(sequence, element / 4);
        const u32 which = (u32)(element % 4);
        const double uniform = unit(which == 0 ? words.x : which == 1 ? words.y : which == 2 ? words.z : words.w);
        u32 reached = 0;
        double cumulated = drawn != 0 ? probability(of, 0) : 0.0;
        for (u32 i = 0; i < each; ++i) {
            const u64 row = source * each + i;
            u32 component = i;
            if (drawn != 0) {
                const double at = ((double)i + uniform) / (double)each;
                while (reached + 1 < components && at > cumulated) {
                    cumulated += probability(of, ++reached);
                }
                component = reached;
                // Rounding may leave the sum below 1, and the last components with no probability.
                while (component > 0 && probability(of, component) == 0.0) {
                    --component;
                }
            }
            for (u32 j = threadIdx.x % WARP; j < raw; j += WARP) {
                out[row * out_stride + j] = from[(u64)component * raw + j];
            }
            if (weights != nullptr && writes) {
                weights[row] = (float)((double)of.logits[component] - (double)of.top + log((double)components / of.total));
            }
        }
    });
}

extern "C" __global__ void __launch_bounds__(256)
components_fold(const float* outputs, u32 outputs_stride, u32 sources, u32 components, u32 raw, const float* delta,
                u32 delta_stride, const float* loss, double scale, float* to, u32 to_stride) {
    each_row_of_warp(sources, [=](u64 index, bool) {
        const u32 source = (u32)index;
        const u32 lane = threadIdx.x % WARP;
        const Probabilities of = probabilities_of(row_of(outputs, outputs_stride, source), raw, components);
        const u64 first = (u64)source * components;
        float* out = row_of(to, to_stride, source);
        double mean = 0.0;
        for (u32 k = lane; k < components; k += WARP) {
            mean += probability(of, k) * (double)loss[first + k];
        }
        mean = lanes_sum<WARP>(mean);
        for (u32 k = lane; k < components; k += WARP) {
            const double excess = (double)loss[first + k] - mean;
            out[(u64)components * raw + k] = (float)(scale * (double)components * probability(of, k) * excess);
        }
        for (u32 k = 0; k < components; ++k) {
            const float* from = delta + (first + k) * delta_stride;
            for (u32 j = lane; j < raw; j += WARP) {
                out[(u64)k * raw + j] = from[j];
            }
        }
    });
}

extern "C" __global__ void __launch_bounds__(256)
components_mean(const float* outputs, u32 outputs_stride, u32 sources, u32 components, u32 raw, u32 d, float* to,
                u32 to_stride) {
    each_row_of_warp(sources, [=](u64 index, bool) {
        const u32 source = (u32)index;
        const float* from = row_of(outputs, outputs_stride, source);
        const Probabilities of = probabilities_of(from, raw, components);
        float* sum = row_of(to, to_stride, source);
        for (u32 first = 0; first < components; first += WARP) {
            const u32 lane = threadIdx.x % WARP, count = components - first < WARP ? components - first : WARP;
            const float own = lane < count ? (float)probability(of, first + lane) : 0.0f;
            for (u32 k = 0; k < count; ++k) {
                const float weight = __shfl_sync(ALL_LANES, own, k);
                for (u32 j = lane; j < d; j += WARP) {
                    sum[j] = __fadd_rn(sum[j], __fmul_rn(weight, from[(u64)(first + k) * raw + j]));
                }
            }
        }
    });
}
