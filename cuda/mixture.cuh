// The parts of the mixture's kernels: staging, log-densities and the reverse pass on tiles of up to 64 samples and as
// many components of one group. What they compute, and how a block is laid out, is said in mixture.cu.
#pragma once

#include "axes.cuh"
#include "clock.cuh"
#include "head.cuh"
#include "squares.cuh"

constexpr u32 SIDE = 16, THREADS = SIDE * SIDE, COLUMNS = 32, EACH = COLUMNS / SIDE;

// One group's matrices, from its first row.
struct Group {
    const float *x0, *raw, *xt, *v, *g;
    // log(K probability) of the components, null where all are equally likely; with it where rows' losses go.
    const float* log_weight;
    float *loss, *delta;
    u32 x0_stride, raw_stride, xt_stride, v_stride, g_stride, delta_stride;
    u32 d, squares, components, deterministic;
    // The group's odds against arrival.
    float against, noise, scale;
    Axes axes;
};

// What an axis has at the group's time: t, sigma^2 t (1 - t), 1 / (sigma^2 t) and log(sigma / 2).
struct AxisTerms {
    float time, brown, by_reference, log_std;
};

// The last axis's where `col` lies beyond it.
__device__ inline AxisTerms axis_terms(const Group& group, u32 col) {
    const u32 j = col < group.d ? col : group.d - 1;
    const float sigma = group.axes.sigma(j);
    const AxisTime at = axis_time(group.against, group.axes.rate(j));
    const float variance = __fmul_rn(__fmul_rn(sigma, sigma), at.time);
    return {at.time, __fmul_rn(variance, at.rest), __fdiv_rn(1.0f, variance), group.axes.log_std(j)};
}

// Floats between the table rows of neighbouring coordinates.
template <u32 Q>
constexpr u32 PITCH = SIDE * Q + 1;

template <u32 Q>
struct Tables {
    float *x, *mean, *inverse, *share, *line, *reference;
};

template <u32 Q>
__device__ inline Tables<Q> tables() {
    constexpr u32 size = COLUMNS * PITCH<Q>;
    SHARED(float, staged, 3 * size);
    // Shares, and before there are any the logarithms of the variances.
    SHARED(float, share, (SIDE * Q > COLUMNS ? SIDE * Q : COLUMNS) * PITCH<Q>);
    SHARED(float, line, SIDE * Q);
    SHARED(float, reference, SIDE * Q);
    return {staged, staged + size, staged + 2 * size, share, line, reference};
}

__device__ inline float std_of(const Group& group, const AxisTerms& axis, u32 row, u32 col, bool& inside) {
    inside = false;
    if (group.deterministic != 0) {
        return 0.0f;
    }
    return head_std(axis.log_std, row_of(group.raw, group.raw_stride, row)[group.d + col], inside);
}

// t^2 s^2 + sigma^2 t (1 - t). Two roundings, here and for the mean, as on the CPU: samples lie so close to their own
// component that what is rounded differently shows.
__device__ inline float variance_by(const AxisTerms& axis, float ts) {
    return __fadd_rn(__fmul_rn(ts, ts), axis.brown);
}

__device__ inline float variance_of(const Group& group, const AxisTerms& axis, u32 component, u32 col) {
    bool inside;
    return variance_by(axis, axis.time * std_of(group, axis, component, col, inside));
}

// Sums of log(variance / (sigma^2 t)) of SIDE Q components into the line, in the order of the coordinates, less twice
// the log-weight, so that -1/2 of it adds that; the shares'
// place is in use until the last barrier.
template <u32 Q>
__device__ inline void log_variances(const Group& group, const Tables<Q>& at, u32 first_component) {
    float sum = 0.0f;
    for (u32 first = 0; first < group.d; first += COLUMNS) {
        const u32 j = threadIdx.x % COLUMNS, col = first + j;
        const AxisTerms axis = axis_terms(group, col);
        __syncthreads();
        for (u32 r = threadIdx.x / COLUMNS; r < SIDE * Q; r += THREADS / COLUMNS) {
            const u32 k = first_component + r;
            const bool there = col < group.d && k < group.components;
            at.share[j * PITCH<Q> + r] = there ? logf(variance_of(group, axis, k, col) * axis.by_reference) : 0.0f;
        }
        __syncthreads();
        if (threadIdx.x < SIDE * Q) {
            const u32 cols = group.d - first < COLUMNS ? group.d - first : COLUMNS;
            for (u32 j = 0; j < cols; ++j) {
                sum += at.share[j * PITCH<Q> + threadIdx.x];
            }
        }
    }
    if (threadIdx.x < SIDE * Q) {
        const u32 k = first_component + threadIdx.x;
        const bool weighted = group.log_weight != nullptr && k < group.components;
        at.line[threadIdx.x] = weighted ? __fmaf_rn(-2.0f, group.log_weight[k], sum) : sum;
    }
    __syncthreads();
}

// x0 + t raw, the mean of a component.
__device__ inline float mean_of(const Group& group, const AxisTerms& axis, u32 component, u32 col) {
    return __fadd_rn(row_of(group.x0, group.x0_stride, component)[col],
                     __fmul_rn(axis.time, row_of(group.raw, group.raw_stride, component)[col]));
}

// Stages coordinates first.. of SIDE Q samples and as many components; zeros beyond either's end.
template <u32 Q>
__device__ inline void stage(const Group& group, const Tables<Q>& at, u32 first, u32 samples, u32 first_component) {
    const u32 j = threadIdx.x % COLUMNS, col = first + j;
    const AxisTerms axis = axis_terms(group, col);
    for (u32 r = threadIdx.x / COLUMNS; r < SIDE * Q; r += THREADS / COLUMNS) {
        const u32 place = j * PITCH<Q> + r, k = first_component + r;
        float x = 0.0f, mean = 0.0f, inverse = 0.0f;
        if (col < group.d && samples + r < group.components) {
            x = row_of(group.xt, group.xt_stride, samples + r)[col];
        }
        if (col < group.d && k < group.components) {
            mean = mean_of(group, axis, k, col);
            inverse = 1.0f / variance_of(group, axis, k, col);
        }
        at.x[place] = x;
        at.mean[place] = mean;
        at.inverse[place] = inverse;
    }
}

// l of samples (samples + ty + 16 a) and components (components + tx + 16 b); minus infinity for components beyond the
// last. Leaves the last coordinates staged, and the shares' place free. Terms are added as the CPU adds them: l is a
// difference of sums over d terms, whose rounding would show in high dimension.
template <u32 Q>
__device__ inline void log_densities(const Group& group, const Tables<Q>& at, u32 samples, u32 first_component,
                                     float (&l)[Q][Q]) {
    const u32 tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE;
    log_variances<Q>(group, at, first_component);
#pragma unroll
    for (u32 b = 0; b < Q; ++b) {
#pragma unroll
        for (u32 a = 0; a < Q; ++a) {
            l[a][b] = at.line[tx + SIDE * b];
        }
    }
    for (u32 first = 0; first < group.d; first += COLUMNS) {
        __syncthreads();
        stage<Q>(group, at, first, samples, first_component);
        __syncthreads();
        const u32 cols = group.d - first < COLUMNS ? group.d - first : COLUMNS;
#pragma unroll 2
        for (u32 j = 0; j < cols; ++j) {
            float x[Q];
#pragma unroll
            for (u32 a = 0; a < Q; ++a) {
                x[a] = at.x[j * PITCH<Q> + ty + SIDE * a];
            }
#pragma unroll
            for (u32 b = 0; b < Q; ++b) {
                const u32 place = j * PITCH<Q> + tx + SIDE * b;
                const float mean = at.mean[place], inverse = at.inverse[place];
#pragma unroll
                for (u32 a = 0; a < Q; ++a) {
                    const float diff = x[a] - mean;
                    l[a][b] = __fmaf_rn(__fmul_rn(diff, diff), inverse, l[a][b]);
                }
            }
        }
    }
#pragma unroll
    for (u32 b = 0; b < Q; ++b) {
        const bool there = first_component + tx + SIDE * b < group.components;
#pragma unroll
        for (u32 a = 0; a < Q; ++a) {
            l[a][b] = there ? -0.5f * l[a][b] : -infinity();
        }
    }
}

__device__ inline u32 half_of(const Group& group) {
    return half_of(group.deterministic, group.log_weight != nullptr, group.components);
}

// What the shares of a sample are made of: exp(l - top) times `all`, less that times `own` for components of its own
// half.
struct RowDensity {
    float top, all, own;
};

// From the sums of exp(l - top) over either half; with it log p.
__device__ inline RowDensity row_density(const Group& group, u32 row, float top, float low, float high, float& log_p) {
    const u32 half = half_of(group);
    const bool first = row < half;
    const u32 part = first ? half : group.components - half;
    const float total = low + high, own = first ? low : high;
    float by_all, by_own;
    extrapolation(group.components, part, by_all, by_own);
    log_p = by_all * (top + logf(total) - logf((float)group.components)) -
            by_own * (top + logf(own) - logf((float)part));
    return {top, by_all / total, by_own / own};
}

__device__ inline float share_of(const Group& group, const RowDensity& density, u32 row, u32 component, float e) {
    const u32 half = half_of(group);
    return e * ((row < half) == (component < half) ? density.all - density.own : density.all);
}

// log w of SIDE Q rows from `rows` on into the line of the references, where they can be read behind a barrier. A warp
// takes two rows or more, so that its lanes share what an axis has among them.
template <u32 Q>
__device__ inline void log_references(const Group& group, const Tables<Q>& at, u32 rows) {
    constexpr u32 apart = THREADS / COLUMNS, each = SIDE * Q / apart;
    static_assert(COLUMNS == WARP, "the lanes of a warp are its columns");
    const u32 first_row = threadIdx.x / COLUMNS, j = threadIdx.x % COLUMNS;
    float sums[each] = {};
    for (u32 col = j; col < group.d; col += COLUMNS) {
        const float by_reference = axis_terms(group, col).by_reference;
#pragma unroll
        for (u32 i = 0; i < each; ++i) {
            const u32 row = rows + first_row + apart * i;
            if (row < group.components) {
                const float away =
                    row_of(group.xt, group.xt_stride, row)[col] - row_of(group.x0, group.x0_stride, row)[col];
                sums[i] += away * away * by_reference;
            }
        }
    }
#pragma unroll
    for (u32 i = 0; i < each; ++i) {
        const float sum = lanes_sum<WARP>(sums[i]);
        if (j == 0) {
            at.reference[first_row + apart * i] = -0.5f * sum;
        }
    }
}

// K times the probability of a row's component.
__device__ inline float weight_of(const Group& group, u32 row) {
    return group.log_weight != nullptr ? expf(group.log_weight[row]) : 1.0f;
}

// What a row adds to the sum of losses; keeps its own where that is wanted.
__device__ inline float row_loss(const Group& group, u32 row, float log_p, float log_w) {
    const float loss = group.v[(u64)row * group.v_stride] + group.noise * (log_p - log_w);
    if (group.log_weight == nullptr) {
        return loss;
    }
    group.loss[row] = loss;
    return weight_of(group, row) * loss;
}

// Backward through the staged coordinates from `first` on, by the shares a(sample, component), which lie at
// share[component PITCH + sample]. Row r of the tile from `rows` on takes part as a sample (its x staged, `count`
// components) or as a component (its mean and variance staged, `count` samples), or as both (count rows of one tile).
// `start` writes delta, otherwise it is added to.
template <u32 Q, bool SAMPLE, bool COMPONENT>
__device__ inline void backward(const Group& group, const Tables<Q>& at, u32 first, u32 rows, u32 count, bool start) {
    const u32 tx = threadIdx.x % SIDE, ty = threadIdx.x / SIDE;
    float x[EACH][Q], mean[EACH][Q], inverse[EACH][Q], pull[EACH][Q], push[EACH][Q];
#pragma unroll
    for (u32 a = 0; a < Q; ++a) {
#pragma unroll
        for (u32 e = 0; e < EACH; ++e) {
            const u32 place = (ty + SIDE * e) * PITCH<Q> + tx + SIDE * a;
            x[e][a] = at.x[place];
            mean[e][a] = at.mean[place];
            inverse[e][a] = at.inverse[place];
            pull[e][a] = push[e][a] = 0.0f;
        }
    }
    for (u32 c = 0; c < count; ++c) {
        float as_sample[Q], as_component[Q];
#pragma unroll
        for (u32 a = 0; a < Q; ++a) {
            const u32 r = tx + SIDE * a;
            as_sample[a] = SAMPLE ? at.share[c * PITCH<Q> + r] : 0.0f;
            as_component[a] = COMPONENT ? at.share[r * PITCH<Q> + c] : 0.0f;
        }
#pragma unroll
        for (u32 e = 0; e < EACH; ++e) {
            const u32 place = (ty + SIDE * e) * PITCH<Q> + c;
            const float xc = at.x[place], mean_c = at.mean[place], inverse_c = at.inverse[place];
#pragma unroll
            for (u32 a = 0; a < Q; ++a) {
                if (SAMPLE) {
                    pull[e][a] += as_sample[a] * ((x[e][a] - mean_c) * inverse_c);
                }
                if (COMPONENT) {
                    push[e][a] += as_component[a] * ((xc - mean[e][a]) * inverse[e][a]);
                }
            }
        }
    }
    // Through the tables, so that the rows are written along their coordinates; weights through the line.
    __syncthreads();
    if (threadIdx.x < SIDE * Q) {
        at.line[threadIdx.x] = rows + threadIdx.x < group.components ? weight_of(group, rows + threadIdx.x) : 0.0f;
    }
#pragma unroll
    for (u32 a = 0; a < Q; ++a) {
#pragma unroll
        for (u32 e = 0; e < EACH; ++e) {
            const u32 place = (ty + SIDE * e) * PITCH<Q> + tx + SIDE * a;
            if (SAMPLE) {
                at.x[place] = pull[e][a];
            }
            if (COMPONENT) {
                at.mean[place] = push[e][a];
            }
        }
    }
    __syncthreads();
    const u32 j = threadIdx.x % COLUMNS, col = first + j;
    const AxisTerms axis = axis_terms(group, col);
    for (u32 r = threadIdx.x / COLUMNS; r < SIDE * Q; r += THREADS / COLUMNS) {
        const u32 row = rows + r, place = j * PITCH<Q> + r;
        if (col >= group.d || row >= group.components) {
            continue;
        }
        const float x = row_of(group.xt, group.xt_stride, row)[col];
        const float scale = group.scale * at.line[r];
        float gx = 0.0f, widen = 0.0f;
        bool inside = false;
        if (SAMPLE) {
            gx = -group.noise * at.x[place];
            if (start) {
                const float away = x - row_of(group.x0, group.x0_stride, row)[col];
                const float* by = row_of(group.g, group.g_stride, row);
                gx += by[col] + group.noise * (away * axis.by_reference);
                if (col < group.squares) {
                    gx += squares_slope(x) * by[group.d + 1 + col];
                }
            }
        }
        if (group.deterministic == 0) {
            // d x_t / d log s, for x_t as its mean and a multiple of its deviation.
            const float ts = axis.time * std_of(group, axis, row, col, inside), variance = variance_by(axis, ts);
            widen = ts * ts * ((x - mean_of(group, axis, row, col)) / variance);
        }
        float* delta = row_of(group.delta, group.delta_stride, row);
        float by_mean = scale * axis.time * (COMPONENT ? gx + group.noise * at.mean[place] : gx);
        delta[col] = start ? by_mean : delta[col] + by_mean;
        if (group.deterministic == 0) {
            const float by_std = inside ? scale * gx * widen : 0.0f;
            delta[group.d + col] = start ? by_std : delta[group.d + col] + by_std;
        }
    }
}
