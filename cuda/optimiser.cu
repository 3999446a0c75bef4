// The end of a half step: the loss from its partial sums, the gradient's norm, the check that all is finite, and the
// clipped Adam update with the weights' moving average. Nothing here waits for the host. The device decides whether and
// how to update, and keeps outcomes until the host reads them. Three launches follow one another, and a fourth takes
// the last update back:
//
// gradient_reduce     gradient [n] = sum of `count` lines, pitch floats apart, in their order, on top of what is there
//                     where accumulate is not 0. Launch: one-dimensional, any number of blocks. Reads 4 bytes a
//                     parameter and line, 16 at a time where all lie on 16 bytes and pitch is a multiple of 4, and
//                     writes 4. Where squares is not null, one block more, the last, plans the update while the others
//                     add: it sums the terms of the loss and of the metrics, terms[k capacity ..][.. count_k], each in a
//                     fixed order (count3 is that of every term from the fourth on), and writes them to the plan with
//                     the rates at the counter's step, and whether the first `checked` terms are finite and no fault
//                     stands. Every other block leaves squares[block] = sum of squares, in double, over its part. Rates
//                     follow src/train/config.rs (half cosine to decay_floor over decay_steps, 0 for none) and
//                     src/formulas/adam.rs; log_beta1 and log_beta2 are natural logarithms (-inf for 0).
// optimiser_update    weights, moments and average [n] by the plan. Each block sums the squares anew, in a fixed order:
//                     if their root, the gradient's norm, is not finite or beyond what can be squared in float, or the
//                     plan says so, nothing is written. Otherwise the gradient is shortened to `clip` (0 for none);
//                     where previous [4][pitch] is not null, weights, average, first and second go there as they were;
//                     and sizes[block] = a sum that is finite if every number that the block wrote to the state is.
//                     Reads 20 and writes 16 bytes a parameter, and 16 more for previous, 16 at a time where all lie on
//                     16 bytes; 20 operations.
// optimiser_settle    one block of as many threads as those of the update, after it. Writes row (step % ring) of
//                     outcome [ring][10] (the eight sums, unused ones 0, the gradient's norm, the factor it is clipped
//                     by), step being the counter's value before. Where nothing was updated, or not to finite numbers
//                     alone (sizes), the first fault is kept: which half, which term (8 for the norm, 9 for the new
//                     state), at which step, with which value. Otherwise, where advance is not 0, the counter goes up
//                     by one.
// optimiser_take_back the state as previous has it. Reads and writes 16 bytes a parameter.
//                     Launch of it and of the update: one-dimensional, any number of blocks.
//
// Only optimiser_settle writes counter and fault, so the blocks of the others all see the same; what comes after it in
// order sees what it kept.
#include "adam.cuh"

// Terms of a half step: src/device/cuda/sums.rs.
constexpr u32 TERMS = 8;

// What gradient_reduce plans: sums of the loss terms and factors of the update.
struct Plan {
    double sums[TERMS];
    float rate, second_correction, averaging;
    // No fault stands, and the terms that must be finite are.
    u32 sound;
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

__device__ inline double total_of(const double* partials, u32 count) {
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < count; i += blockDim.x) {
        sum += partials[i];
    }
    return block_sum(sum);
}

__device__ inline bool is_finite(double x) { return x - x == 0.0; }

// Where the partial sums of the terms lie, and how many of them must be finite.
struct Terms {
    const double* partials;
    u32 capacity, count[4], checked;
};

// As TrainerConfig and Adam have them.
struct Rates {
    double rate, log_beta1, log_beta2, ema_decay;
    u64 decay_steps;
    double decay_floor;
};

// By one block.
__device__ inline void plan_update(const Terms& terms, const Rates& rates, u64 step, bool faulty, Plan* plan) {
    double sums[TERMS];
    bool sound = !faulty;
#pragma unroll
    for (u32 k = 0; k < TERMS; ++k) {
        sums[k] = total_of(terms.partials + (u64)k * terms.capacity, terms.count[k < 3 ? k : 3]);
        sound = sound && (k >= terms.checked || is_finite(sums[k]));
    }
    if (threadIdx.x != 0) {
        return;
    }
    double decay = 1.0;
    if (rates.decay_steps != 0) {
        double progress = (double)step / (double)rates.decay_steps;
        double cosine = progress < 1.0 ? 0.5 * (1.0 + cospi(progress)) : 0.0;
        decay = rates.decay_floor + (1.0 - rates.decay_floor) * cosine;
    }
    const double early = (1.0 + (double)step) / (10.0 + (double)step);
#pragma unroll
    for (u32 k = 0; k < TERMS; ++k) {
        plan->sums[k] = sums[k];
    }
    plan->rate = (float)(rates.rate * decay / adam_correction(step + 1, rates.log_beta1));
    plan->second_correction = (float)(1.0 / adam_correction(step + 1, rates.log_beta2));
    plan->averaging = (float)(early < rates.ema_decay ? early : rates.ema_decay);
    plan->sound = sound ? 1 : 0;
}

// What the update is planned from, and where its plan goes.
#define UPDATE_PARAMETERS                                                                                              \
    const double *terms, u32 capacity, u32 count0, u32 count1, u32 count2, u32 count3, u32 checked,                    \
        const u64 *counter, double rate, double log_beta1, double log_beta2, double ema_decay, u64 decay_steps,        \
        double decay_floor, const Fault *fault, Plan *plan

extern "C" __global__ void __launch_bounds__(256)
gradient_reduce(const float* lines, u64 pitch, u32 count, float* gradient, u64 n, u32 accumulate, double* squares,
                UPDATE_PARAMETERS) {
    const u32 blocks = squares != nullptr ? gridDim.x - 1 : gridDim.x;
    if (blockIdx.x == blocks) {
        plan_update({terms, capacity, {count0, count1, count2, count3}, checked},
                    {rate, log_beta1, log_beta2, ema_decay, decay_steps, decay_floor}, *counter, fault->half != 0,
                    plan);
        return;
    }
    const bool whole = pitch % 4 == 0 && vectorised(lines, 0) && vectorised(gradient, 0);
    const u64 first = (u64)blockIdx.x * blockDim.x + threadIdx.x, step = (u64)blocks * blockDim.x;
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

// The gradient's norm, the factor that it is clipped by, and whether the update happens: in every thread of a block the
// same.
struct Decision {
    double norm, factor;
    bool apply;
};

__device__ inline Decision decide(const Plan* plan, const double* squares, u32 square_count, double clip) {
    SHARED(double, shared, 1);
    const double total = total_of(squares, square_count);
    if (threadIdx.x == 0) {
        shared[0] = sqrt(total);
    }
    __syncthreads();
    const double norm = shared[0];
    return {norm, clip > 0.0 && norm > clip ? clip / norm : 1.0, plan->sound != 0 && norm <= MAX_NORM};
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
                 float beta2, float epsilon, float* previous, u64 pitch, const Plan* plan, const double* squares,
                 u32 square_count, double clip, double* sizes) {
    const Decision decision = decide(plan, squares, square_count, clip);
    if (!decision.apply) {
        return;
    }
    const Adam by = {beta1, beta2, epsilon, plan->rate, (float)decision.factor, plan->second_correction,
                     plan->averaging};
    const Previous old = previous_of(previous, pitch);
    const bool whole = vectorised(weights, 0) && vectorised(gradient, 0) && vectorised(first, 0) &&
                       vectorised(second, 0) && vectorised(average, 0) && vectorised(old);
    const u64 start = (u64)blockIdx.x * blockDim.x + threadIdx.x, step = (u64)gridDim.x * blockDim.x;
    const u64 quads = whole ? n / 4 : 0;
    float size = 0.0f;
    for (u64 i = start; i < quads; i += step) {
        float4 w = load4(weights + 4 * i), g = load4(gradient + 4 * i), a = load4(average + 4 * i);
        float4 m = load4(first + 4 * i), v = load4(second + 4 * i);
        if (previous != nullptr) {
            store4(old.weights + 4 * i, w);
            store4(old.average + 4 * i, a);
            store4(old.first + 4 * i, m);
            store4(old.second + 4 * i, v);
        }
        adam(by, g.x, w.x, m.x, v.x, a.x, size);
        adam(by, g.y, w.y, m.y, v.y, a.y, size);
        adam(by, g.z, w.z, m.z, v.z, a.z, size);
        adam(by, g.w, w.w, m.w, v.w, a.w, size);
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
        adam(by, gradient[i], weights[i], first[i], second[i], average[i], size);
    }
    const double sum = block_sum(size);
    if (threadIdx.x == 0) {
        sizes[blockIdx.x] = sum;
    }
}

extern "C" __global__ void __launch_bounds__(256)
optimiser_settle(const Plan* plan, const double* squares, u32 square_count, double clip, const double* sizes,
                 u32 size_count, u32 half, u32 checked, u64* counter, u32 advance, double* outcome, u32 ring,
                 Fault* fault) {
    const Decision decision = decide(plan, squares, square_count, clip);
    // Where nothing was updated, the sizes are older.
    const double size = total_of(sizes, decision.apply ? size_count : 0);
    if (threadIdx.x != 0) {
        return;
    }
    const u64 step = *counter;
    double* const row = outcome + (TERMS + 2) * (step % ring);
#pragma unroll
    for (u32 k = 0; k < TERMS; ++k) {
        row[k] = plan->sums[k];
    }
    row[TERMS] = decision.norm;
    row[TERMS + 1] = decision.factor;
    if (fault->half != 0) {
        return;
    }
    u32 term = 0;
    while (term < checked && is_finite(plan->sums[term])) {
        ++term;
    }
    if (term < checked) {
        *fault = {half, term, step, plan->sums[term]};
    } else if (!(decision.norm <= MAX_NORM)) {
        *fault = {half, TERMS, step, decision.norm};
    } else if (!is_finite(size)) {
        *fault = {half, TERMS + 1, step, size};
    } else if (advance != 0) {
        *counter = step + 1;
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
