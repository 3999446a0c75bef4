// The end of a half step: the loss from its partial sums, the gradient's norm, whether all is finite, and then the
// clipped Adam update with the weights' moving average. Nothing here waits for the host: what the update needs, and
// whether it may happen at all, is decided on the device, and outcomes are kept until the host looks. Three launches
// after one another, and one that takes the last update back:
//
// gradient_reduce     gradient [n] = sum of `count` lines, pitch floats apart, in their order, on top of what is there where
//                     accumulate is not 0; and where squares is not null, squares[block] = sum of squares, in double, over
//                     the block's part of it. Launch: one-dimensional, any number of blocks. Reads 4 bytes a parameter
//                     and line, 16 at a time where all lie on 16 bytes and pitch is a multiple of 4, and writes 4.
// optimiser_prepare   one block of up to 256 threads. Sums up to four loss terms, terms[k capacity ..][.. count_k], and
//                     the squares, each in a fixed order; writes row (step % ring) of outcome [ring][6] (the four sums,
//                     unused ones 0, the gradient's norm, the factor it is clipped by), step being the counter's value
//                     before, and the decision for the update.
//                     If one of the first `checked` terms or the norm is not finite, or the norm is beyond what can be
//                     squared in float, or a fault stands already, the decision is to do nothing, and the first such
//                     fault is kept: which half, which term (4 for the norm), at which step, with which value.
//                     Otherwise, where advance is not 0, the counter goes up by one. Rates follow src/train/config.rs
//                     (half cosine to decay_floor over decay_steps, 0 for none) and src/nn/adam.rs; log_beta1 and
//                     log_beta2 are natural logarithms (-inf for 0).
// optimiser_update    weights, moments and average [n] by the decision. Where previous [4][pitch] is not null and the
//                     update happens, weights, average, first and second as they were go there; otherwise it stays as
//                     it is. Reads 20 and writes 16 bytes a parameter, and 16 more for previous, 16 at a time where
//                     all lie on 16 bytes; 15 operations.
// optimiser_take_back the state as previous has it. Reads and writes 16 bytes a parameter.
//                     Launch of both: one-dimensional, any number of blocks.
#include "device.cuh"

// What optimiser_prepare decides.
struct Decision {
    float rate, clip, second_correction, averaging;
    u32 apply;
};

// The CPU's MAX_NORM (src/train/engine.rs).
constexpr double MAX_NORM = 1e18;

// half is 0 while there is none; otherwise the number that the caller gave to the half step.
struct Fault {
    u32 half, term;
    u64 step;
    double value;
};

// The lines' sum at element i, `V` of them at once, and their squares' sum.
template <u32 V>
__device__ inline double reduce_at(const float* lines, u64 pitch, u32 count, float* gradient, u64 i, u32 accumulate) {
    Lanes<V> sum = {};
#pragma unroll 8
    for (u32 line = 0; line < count; ++line) {
        const Lanes<V> x = take<V>(lines + line * pitch + i);
#pragma unroll
        for (u32 k = 0; k < V; ++k) {
            sum.x[k] += x.x[k];
        }
    }
    if (accumulate != 0) {
        const Lanes<V> before = take<V>(gradient + i);
#pragma unroll
        for (u32 k = 0; k < V; ++k) {
            sum.x[k] = before.x[k] + sum.x[k];
        }
    }
    put(gradient + i, sum);
    double squares = 0.0;
#pragma unroll
    for (u32 k = 0; k < V; ++k) {
        squares += (double)sum.x[k] * sum.x[k];
    }
    return squares;
}

extern "C" __global__ void __launch_bounds__(256)
gradient_reduce(const float* lines, u64 pitch, u32 count, float* gradient, u64 n, u32 accumulate, double* squares) {
    const bool whole = pitch % 4 == 0 && vectorised(lines, 0) && vectorised(gradient, 0);
    const u64 first = (u64)blockIdx.x * blockDim.x + threadIdx.x, step = (u64)gridDim.x * blockDim.x;
    const u64 quads = whole ? n / 4 : 0;
    double sum = 0.0;
    for (u64 i = first; i < quads; i += step) {
        sum += reduce_at<4>(lines, pitch, count, gradient, 4 * i, accumulate);
    }
    for (u64 i = 4 * quads + first; i < n; i += step) {
        sum += reduce_at<1>(lines, pitch, count, gradient, i, accumulate);
    }
    if (squares == nullptr) {
        return;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        squares[blockIdx.x] = sum;
    }
}

__device__ inline double total_of(const double* partials, u32 count) {
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < count; i += blockDim.x) {
        sum += partials[i];
    }
    return block_sum(sum);
}

__device__ inline bool is_finite(double x) { return x - x == 0.0; }

extern "C" __global__ void __launch_bounds__(256)
optimiser_prepare(const double* terms, u32 capacity, u32 count0, u32 count1, u32 count2, u32 count3, u32 checked,
                  const double* squares, u32 square_count, u32 half, u64* counter, u32 advance, double rate, double clip,
                  double log_beta1, double log_beta2, double ema_decay, u64 decay_steps, double decay_floor,
                  double* outcome, u32 ring, Decision* decision, Fault* fault) {
    const u32 counts[4] = {count0, count1, count2, count3};
    double value[5];
#pragma unroll
    for (u32 k = 0; k < 4; ++k) {
        value[k] = total_of(terms + (u64)k * capacity, counts[k]);
    }
    value[4] = sqrt(total_of(squares, square_count));
    if (threadIdx.x != 0) {
        return;
    }
    const u64 step = *counter;
    const double norm = value[4];
    const double factor = clip > 0.0 && norm > clip ? clip / norm : 1.0;
    double* const row = outcome + 6 * (step % ring);
#pragma unroll
    for (u32 k = 0; k < 5; ++k) {
        row[k] = value[k];
    }
    row[5] = factor;
    bool healthy = fault->half == 0;
    if (healthy) {
#pragma unroll
        for (u32 k = 0; k < 5; ++k) {
            const bool sound = k < 4 ? is_finite(value[k]) : value[k] <= MAX_NORM;
            if (healthy && (k < checked || k == 4) && !sound) {
                healthy = false;
                *fault = {half, k, step, value[k]};
            }
        }
    }
    double decay = 1.0;
    if (decay_steps != 0) {
        double progress = (double)step / (double)decay_steps;
        double cosine = progress < 1.0 ? 0.5 * (1.0 + cospi(progress)) : 0.0;
        decay = decay_floor + (1.0 - decay_floor) * cosine;
    }
    const double early = (1.0 + (double)step) / (10.0 + (double)step);
    Decision made;
    made.rate = (float)(rate * decay / -expm1((double)(step + 1) * log_beta1));
    made.clip = (float)factor;
    made.second_correction = (float)(1.0 / -expm1((double)(step + 1) * log_beta2));
    made.averaging = (float)(early < ema_decay ? early : ema_decay);
    made.apply = healthy ? 1 : 0;
    *decision = made;
    if (healthy && advance != 0) {
        *counter = step + 1;
    }
}

struct Adam {
    float beta1, beta2, epsilon;
};

__device__ inline void adam(const Adam& adam, const Decision& by, float gradient, float& weight, float& first,
                            float& second, float& average) {
    float g = gradient * by.clip;
    first = adam.beta1 * first + (1.0f - adam.beta1) * g;
    second = adam.beta2 * second + (1.0f - adam.beta2) * (g * g);
    weight -= by.rate * first / (sqrtf(second * by.second_correction) + adam.epsilon);
    average = by.averaging * average + (1.0f - by.averaging) * weight;
}

// The four arrays of `previous`, null where it is.
struct Previous {
    float *weights, *average, *first, *second;
};

__device__ inline Previous previous_of(float* start, u64 pitch) {
    if (start == nullptr) {
        return {nullptr, nullptr, nullptr, nullptr};
    }
    return {start, start + pitch, start + 2 * pitch, start + 3 * pitch};
}

__device__ inline bool vectorised(const Previous& previous) {
    return vectorised(previous.weights, 0) && vectorised(previous.average, 0) && vectorised(previous.first, 0) &&
           vectorised(previous.second, 0);
}

extern "C" __global__ void __launch_bounds__(256)
optimiser_update(float* weights, const float* gradient, float* first, float* second, float* average, u64 n, float beta1,
                 float beta2, float epsilon, float* previous, u64 pitch, const Decision* decision) {
    const Decision by = *decision;
    if (by.apply == 0) {
        return;
    }
    const Adam constants = {beta1, beta2, epsilon};
    const Previous old = previous_of(previous, pitch);
    const bool whole = vectorised(weights, 0) && vectorised(gradient, 0) && vectorised(first, 0) &&
                       vectorised(second, 0) && vectorised(average, 0) && vectorised(old);
    const u64 start = (u64)blockIdx.x * blockDim.x + threadIdx.x, step = (u64)gridDim.x * blockDim.x;
    const u64 quads = whole ? n / 4 : 0;
    for (u64 i = start; i < quads; i += step) {
        float4 w = load4(weights + 4 * i), g = load4(gradient + 4 * i), a = load4(average + 4 * i);
        float4 m = load4(first + 4 * i), v = load4(second + 4 * i);
        if (previous != nullptr) {
            store4(old.weights + 4 * i, w);
            store4(old.average + 4 * i, a);
            store4(old.first + 4 * i, m);
            store4(old.second + 4 * i, v);
        }
        adam(constants, by, g.x, w.x, m.x, v.x, a.x);
        adam(constants, by, g.y, w.y, m.y, v.y, a.y);
        adam(constants, by, g.z, w.z, m.z, v.z, a.z);
        adam(constants, by, g.w, w.w, m.w, v.w, a.w);
        store4(weights + 4 * i, w);
        store4(first + 4 * i, m);
        store4(second + 4 * i, v);
        store4(average + 4 * i, a);
    }
    for (u64 i = 4 * quads + start; i < n; i += step) {
        if (previous != nullptr) {
            old.weights[i] = weights[i];
            old.average[i] = average[i];
            old.first[i] = first[i];
            old.second[i] = second[i];
        }
        adam(constants, by, gradient[i], weights[i], first[i], second[i], average[i]);
    }
}

extern "C" __global__ void __launch_bounds__(256)
optimiser_take_back(float* weights, float* average, float* first, float* second, u64 n, const float* previous,
                    u64 pitch) {
    float* const to[4] = {weights, average, first, second};
    const u64 start = (u64)blockIdx.x * blockDim.x + threadIdx.x, step = (u64)gridDim.x * blockDim.x;
#pragma unroll
    for (u32 k = 0; k < 4; ++k) {
        const float* const from = previous + k * pitch;
        const u64 quads = vectorised(from, 0) && vectorised(to[k], 0) ? n / 4 : 0;
        for (u64 i = start; i < quads; i += step) {
            store4(to[k] + 4 * i, load4(from + 4 * i));
        }
        for (u64 i = 4 * quads + start; i < n; i += step) {
            to[k][i] = from[i];
        }
    }
}
