// From a generator's outputs for each source sample to components for its rows, and back: src/euot/conditional.rs.
//
// Outputs of a source sample are [raw_1, .., raw_K, logits], raw_k of `raw` numbers and K logits; p_k = softmax(logits)_k.
//
//   components_choose  out[r] = raw_c of source r / each, weights[r] = log(K p_c), which may be null. With `drawn` c is where
//                      (r % each + u) / each falls along the cumulated p, u in (0, 1] element first_source + r / each of the
//                      stream COMPONENT; otherwise c = r % each, and each = K.
//   components_fold    to = [delta_1, .., delta_K, scale K p_k (loss_k - mean)] for each source, with delta and loss of rows
//                      K source + k and the mean of its losses by p.
//   components_mean    to[r] += sum over k of p_k times the first d numbers of raw_k, in their order.
//
// Probabilities are added up in 64 bits, as on the CPU, so that both draw the same components.
//
// Launch: one-dimensional, any number of blocks; a warp takes one row after another (a source sample in components_fold
// and components_mean). Reads and writes 4 bytes a number of every matrix named, logits once a row, and costs K
// exponentials in 64 bits a row over the warp's lanes, and as many again as lie before the component that is drawn.
#include "philox.cuh"
#include "quadratic.cuh"

// Of one source sample, in every lane of a warp.
struct Probabilities {
    const float* logits;
    u32 components;
    double top, total;
};

__device__ inline double probability(const Probabilities& of, u32 component) {
    return exp((double)of.logits[component] - of.top) / of.total;
}

__device__ inline Probabilities probabilities_of(const float* outputs, u32 raw, u32 components) {
    const float* logits = outputs + (u64)components * raw;
    float top = -infinity();
    for (u32 k = threadIdx.x % WARP; k < components; k += WARP) {
        // A NaN does not enter the largest; it shows in the total.
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

// The first component whose cumulated probability is not below `at`, the last one at most; a NaN leaves the first.
__device__ inline u32 component_at(const Probabilities& of, double at) {
    u32 component = 0;
    double cumulated = probability(of, 0);
    while (component + 1 < of.components && at > cumulated) {
        cumulated += probability(of, ++component);
    }
    return component;
}

extern "C" __global__ void __launch_bounds__(256)
components_choose(const float* outputs, u32 outputs_stride, u32 rows, u32 each, u32 components, u32 raw, u32 drawn,
                  u64 seed, const u64* counter, u64 number, u64 first_source, float* out, u32 out_stride, float* weights) {
    const Sequence sequence = sequence_of(seed, counter, number, STREAM_COMPONENT);
    each_row_of_warp(rows, [=](u64 index, bool writes) {
        const u32 row = (u32)index;
        const u32 source = row / each, place = row % each, lane = threadIdx.x % WARP;
        const float* from = row_of(outputs, outputs_stride, source);
        const Probabilities of = probabilities_of(from, raw, components);
        u32 component = place;
        if (drawn != 0) {
            const u64 element = first_source + source;
            const uint4 words = philox_block(sequence, element / 4);
            const u32 which = (u32)(element % 4);
            const u32 word = which == 0 ? words.x : which == 1 ? words.y : which == 2 ? words.z : words.w;
            component = component_at(of, ((double)place + (double)unit(word)) / (double)each);
        }
        for (u32 j = lane; j < raw; j += WARP) {
            row_of(out, out_stride, row)[j] = from[(u64)component * raw + j];
        }
        if (weights != nullptr && writes) {
            weights[row] = (float)((double)of.logits[component] - of.top + log((double)components / of.total));
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
