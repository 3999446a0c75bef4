// Takes the components of rows from a generator's outputs for each source sample, and gradients back:
// src/euot/conditional.rs.
//
// Outputs of a source sample are [raw_1, .., raw_K, logits], raw_k of `raw` numbers and K logits; p = softmax(logits).
//
//   components_choose  rows each source + i, i < each, get out = raw_c, weights = log(K p_c) and which = c; the last
//                      two may be null. With `drawn` c is where (i + u) / each falls along the cumulated p, or the
//                      last one before it with p_c > 0; u in (0, 1) is element first_source + source of the stream
//                      COMPONENT. Otherwise c = i, and each = K.
//   components_fold    to = [delta_1, .., delta_K, scale K p_k (loss_k - mean)] for each source, with delta and loss of
//                      rows K source + k and the mean of its losses by p.
//   components_mean    to[source] += sum over k of p_k times the first d numbers of raw_k, in their order.
//   components_mean_turned   the same where these lie along the axes of peak k modulo the peaks (turned.cuh): the sum
//                      of each peak's components turned across, one peak after another.
//
// Probabilities are added up in 64 bits, as on the CPU, so that from equal outputs both draw the same components, but
// where a place lies within about 1e-15 of a boundary.
//
// Launch: one-dimensional, any number of blocks; a warp takes one source sample after another, its lanes neighbouring
// components, rows or numbers. Reads and writes 4 bytes a number of every matrix named, a component's numbers once for
// each row that takes it; logits are read again for each probability, of which there are K a source, and as many again
// where components are drawn, in 64 bits. Probabilities are cumulated over 32 lanes at a time, in five sums; a row
// finds its place among 32 components in five comparisons. components_mean_turned takes up to 256 threads, and reads
// d^2 numbers of a matrix from the caches for each source and peak, with 2 d^2 operations.
#include "philox.cuh"
#include "turned.cuh"

// The softmax of one source sample's logits: the largest logit and the sum of exponentials, the same in every lane of
// a warp.
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

// 32 components from `first` on: cumulated probabilities up to this lane's, and the last component up to it with a
// probability.
struct Cumulated {
    u32 first, alive;
    double upto;
};

// As far as those before came; `alive` and `before` are theirs.
__device__ inline Cumulated cumulated_from(const Probabilities& of, u32 first, u32 alive, double before) {
    const u32 lane = threadIdx.x % WARP, component = first + lane;
    double upto = component < of.components ? probability(of, component) : 0.0;
    // A NaN is one.
    if (component < of.components && !(upto == 0.0)) {
        alive = component;
    }
#pragma unroll
    for (u32 hop = 1; hop < WARP; hop *= 2) {
        const double left = __shfl_sync(ALL_LANES, upto, (lane - hop) % WARP);
        const u32 last = __shfl_sync(ALL_LANES, alive, (lane - hop) % WARP);
        if (lane >= hop) {
            upto += left;
            alive = last > alive ? last : alive;
        }
    }
    return {first, alive, before + upto};
}

// How many of the 32 cumulated probabilities lie below a place.
__device__ inline u32 below(const Cumulated& cumulated, double place) {
    u32 count = 0;
#pragma unroll
    for (u32 hop = WARP / 2; hop > 0; hop /= 2) {
        count += place > __shfl_sync(ALL_LANES, cumulated.upto, count + hop - 1) ? hop : 0;
    }
    return count + (place > __shfl_sync(ALL_LANES, cumulated.upto, count) ? 1 : 0);
}

// The component at this lane's place, which ascends from lane to lane and from call to call; all lanes call it. Goes on
// to further components until the last lane's is found. Rounding may leave the sum below 1, and the last components
// with no probability: then it is the last one that has some.
__device__ inline u32 component_at(const Probabilities& of, Cumulated& cumulated, double place) {
    u32 component = 0;
    bool found = false;
    while (true) {
        const bool last = cumulated.first + WARP >= of.components;
        const u32 count = below(cumulated, place);
        const u32 here = __shfl_sync(ALL_LANES, cumulated.alive, count < WARP ? count : WARP - 1);
        if (!found && (count < WARP || last)) {
            component = here;
            found = true;
        }
        if (__shfl_sync(ALL_LANES, found ? 1u : 0u, WARP - 1) != 0) {
            return component;
        }
        const u32 alive = __shfl_sync(ALL_LANES, cumulated.alive, WARP - 1);
        const double before = __shfl_sync(ALL_LANES, cumulated.upto, WARP - 1);
        cumulated = cumulated_from(of, cumulated.first + WARP, alive, before);
    }
}

// Room for two blocks: by itself ptxas holds to 64 registers on some architectures and spills one.
extern "C" __global__ void __launch_bounds__(256, 2)
components_choose(const float* outputs, u32 outputs_stride, u32 sources, u32 each, u32 components, u32 raw, u32 drawn,
                  u64 seed, const u64* counter, u64 number, u64 first_source, float* out, u32 out_stride,
                  float* weights, float* which) {
    const Sequence sequence = sequence_of(seed, counter, number, STREAM_COMPONENT);
    each_row_of_warp(sources, [=](u64 source, bool) {
        const u32 lane = threadIdx.x % WARP;
        const float* from = row_of(outputs, outputs_stride, (u32)source);
        const Probabilities of = probabilities_of(from, raw, components);
        const u64 element = first_source + source;
        const uint4 words = philox_block(sequence, element / 4);
        const u32 word = (u32)(element % 4);
        const double uniform = unit(word == 0 ? words.x : word == 1 ? words.y : word == 2 ? words.z : words.w);
        const double log_scale = log((double)components / of.total);
        Cumulated cumulated = {0, 0, 0.0};
        if (drawn != 0) {
            cumulated = cumulated_from(of, 0, 0, 0.0);
        }
        for (u32 first = 0; first < each; first += WARP) {
            const u32 count = each - first < WARP ? each - first : WARP;
            // Lanes beyond the last row go along with it.
            const u32 own = first + (lane < count ? lane : count - 1);
            u32 component = own;
            if (drawn != 0) {
                component = component_at(of, cumulated, ((double)own + uniform) / (double)each);
            }
            if (weights != nullptr && lane < count) {
                weights[source * each + own] = (float)((double)of.logits[component] - (double)of.top + log_scale);
            }
            if (which != nullptr && lane < count) {
                which[source * each + own] = (float)component;
            }
            const u64 numbers = (u64)count * raw;
            for (u64 base = 0; base < numbers; base += WARP) {
                const u64 index = base + lane;
                u32 col;
                const u32 row = index < numbers ? (u32)divide(index, raw, col) : 0;
                const u32 taken = __shfl_sync(ALL_LANES, component, row);
                if (index < numbers) {
                    out[(source * each + first + row) * out_stride + col] = from[(u64)taken * raw + col];
                }
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
        // A row's stride counts them.
        const u32 numbers = components * raw;
        for (u32 index = lane; index < numbers; index += WARP) {
            const u32 k = index / raw;
            out[index] = delta[(first + k) * delta_stride + index - k * raw];
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

// As components_choose.
extern "C" __global__ void __launch_bounds__(TURNED_THREADS, 2)
components_mean_turned(const float* outputs, u32 outputs_stride, u32 sources, u32 components, u32 raw, u32 d,
                       const float* axes, u32 peaks, float* to, u32 to_stride) {
    SHARED(float4, lines, TURNED_WARPS * LINE_QUADS);
    const Axes by = axes_of(axes, d);
    const OwnAxes turned = own_axes_of(peaks_of(by, d, peaks), by);
    const u32 lane = threadIdx.x % WARP;
    float4* const line = lines + threadIdx.x / WARP * LINE_QUADS;
    each_row_of_warp(sources, [=](u64 index, bool) {
        const u32 source = (u32)index;
        const float* from = row_of(outputs, outputs_stride, source);
        const Probabilities of = probabilities_of(from, raw, components);
        float* const out = row_of(to, to_stride, source);
        for (u32 peak = 0; peak < peaks && peak < components; ++peak) {
            float means[1][HALVES] = {}, x[1][HALVES];
            const u32 alike = (components - peak + peaks - 1) / peaks;
            for (u32 first = 0; first < alike; first += WARP) {
                const u32 count = alike - first < WARP ? alike - first : WARP;
                const float own = lane < count ? (float)probability(of, peak + (first + lane) * peaks) : 0.0f;
                for (u32 n = 0; n < count; ++n) {
                    const float weight = __shfl_sync(ALL_LANES, own, n);
                    const float* const mean = from + (u64)(peak + (first + n) * peaks) * raw;
#pragma unroll
                    for (u32 h = 0; h < HALVES; ++h) {
                        const u32 j = lane + WARP * h;
                        means[0][h] = j < d ? __fadd_rn(means[0][h], __fmul_rn(weight, mean[j])) : 0.0f;
                    }
                }
            }
            lay_down<1, HALVES>(line, means);
            across_peak_axes<1>(turned, peak, line, x);
#pragma unroll
            for (u32 h = 0; h < HALVES; ++h) {
                const u32 i = lane + WARP * h;
                if (i < d) {
                    out[i] = __fadd_rn(out[i], x[0][h]);
                }
            }
        }
    });
}
