// The axes that peaks have of their own, and a sample's numbers along them: src/formulas/peaks.rs.
//
// Where peaks have axes of their own, noise and time are the same along all axes. Behind the numbers of the peaks
// (peaks.cuh) each peak has a matrix of `stride` columns, where stride is d up to a multiple of 16 and d is at most 64:
// rows i < d are T with T[i][j] = component i of the peak's axis j, and rows d.. d + 3 are its precisions, centres,
// tilts and log(s / sigma) along these axes. Columns from d on are zeros. With it
//   along    place_j = sum over i of x_i T[i][j],
//   across   x_i = sum over j of place_j T[i][j].
//
// A warp has a row, or several, with numbers j = lane + 32 h of it in each lane. To be multiplied they lie in a line of
// shared memory, which the warp alone uses. Sums go from the first number to the last, in multiply-adds.
#pragma once

#include "peaks.cuh"

// The most axes, and the numbers of a line: zeros behind the last axis.
constexpr u32 MOST_TURNED = 64;
constexpr u32 LINE = MOST_TURNED, LINE_QUADS = LINE / 4;
constexpr u32 HALVES = MOST_TURNED / WARP;
constexpr u32 TURNED_THREADS = 256, TURNED_WARPS = TURNED_THREADS / WARP;
// Rows that a warp has where a block has a peak's matrix in shared memory.
constexpr u32 TURNED_ROWS = 2;

struct OwnAxes {
    const float* numbers;
    u32 d, stride;
    // Whether 16 bytes can be read at a time.
    bool whole;

    __device__ const float* matrix(u32 peak) const { return numbers + (u64)peak * (d + PEAK_PARTS) * stride; }

    // Zero behind the last axis.
    __device__ float at(PeakPart part, u32 j, u32 peak) const {
        return j < stride ? matrix(peak)[(d + part) * stride + j] : 0.0f;
    }

    // T[i][j], T[i][j + 1], .. of a peak, where j is a multiple of 4.
    __device__ Lanes<4> quad(u32 peak, u32 i, u32 j) const {
        const float* from = matrix(peak) + i * stride + j;
        return whole ? take<4>(from) : Lanes<4>{{from[0], from[1], from[2], from[3]}};
    }
};

__device__ inline OwnAxes own_axes_of(const Peaks& peaks, const Axes& axes) {
    const float* numbers = peaks.numbers + (PEAK_PARTS * peaks.d + PEAK_WHOLES) * peaks.width;
    return {numbers, peaks.d, axes.stride, vectorised(axes.numbers, 0)};
}

// Lays the rows of a warp down, the first one's line at `lines`; all lanes may read them behind it.
template <u32 R, u32 H>
__device__ inline void lay_down(float4* lines, const float (&x)[R][H]) {
    float* const to = reinterpret_cast<float*>(lines) + threadIdx.x % WARP;
    // Whoever read the last numbers is done with them.
    __syncwarp();
#pragma unroll
    for (u32 r = 0; r < R; ++r) {
#pragma unroll
        for (u32 h = 0; h < H; ++h) {
            to[r * LINE + WARP * h] = x[r][h];
        }
    }
    __syncwarp();
}

// Along the axes of a peak, from the line of one row; the matrix is read where it lies.
__device__ inline void along_peak_axes(const OwnAxes& turned, u32 peak, const float4* line, float (&places)[HALVES]) {
    const u32 lane = threadIdx.x % WARP;
    const float* const x = reinterpret_cast<const float*>(line);
    const float* const matrix = turned.matrix(peak);
#pragma unroll
    for (u32 h = 0; h < HALVES; ++h) {
        const u32 j = lane + WARP * h;
        float sum = 0.0f;
        if (j < turned.stride) {
#pragma unroll 4
            for (u32 i = 0; i < turned.d; ++i) {
                sum = __fmaf_rn(x[i], matrix[i * turned.stride + j], sum);
            }
        }
        places[h] = sum;
    }
}

// Across from the lines of R rows with the same peak; the matrix is read where it lies, a row of it by each lane.
template <u32 R>
__device__ inline void across_peak_axes(const OwnAxes& turned, u32 peak, const float4* lines, float (&x)[R][HALVES]) {
    const u32 lane = threadIdx.x % WARP;
#pragma unroll
    for (u32 h = 0; h < HALVES; ++h) {
        const u32 i = lane + WARP * h;
#pragma unroll
        for (u32 r = 0; r < R; ++r) {
            x[r][h] = 0.0f;
        }
        if (i < turned.d) {
            for (u32 j = 0; j < turned.d; j += 4) {
                const Lanes<4> t = turned.quad(peak, i, j);
#pragma unroll
                for (u32 r = 0; r < R; ++r) {
                    const float4 place = lines[r * LINE_QUADS + j / 4];
                    x[r][h] = __fmaf_rn(place.x, t.x[0], x[r][h]);
                    x[r][h] = __fmaf_rn(place.y, t.x[1], x[r][h]);
                    x[r][h] = __fmaf_rn(place.z, t.x[2], x[r][h]);
                    x[r][h] = __fmaf_rn(place.w, t.x[3], x[r][h]);
                }
            }
        }
    }
}

// The matrix of a peak in shared memory: 32 H rows and columns with zeros behind the last axis, an odd number of floats
// apart, so that both its rows and its columns are free of bank conflicts. One of H = 1 is in the place of one of 2.
template <u32 H>
constexpr u32 TURNED_PITCH = WARP * H + 1;
constexpr u32 TURNED_MATRIX = MOST_TURNED * TURNED_PITCH<HALVES>;

// Of the whole block, which is done with the last matrix behind it, and has this one.
template <u32 H>
__device__ inline void stage_matrix(const OwnAxes& turned, u32 peak, float* matrix) {
    constexpr u32 SIDE_OF = WARP * H;
    const float* const from = turned.matrix(peak);
    __syncthreads();
    for (u32 at = threadIdx.x; at < SIDE_OF * SIDE_OF; at += blockDim.x) {
        const u32 i = at / SIDE_OF, j = at % SIDE_OF;
        const bool there = i < turned.d && j < turned.stride;
        matrix[i * TURNED_PITCH<H> + j] = there ? from[i * turned.stride + j] : 0.0f;
    }
    __syncthreads();
}

// As along_peak_axes, of R rows with a matrix in shared memory.
template <u32 R, u32 H>
__device__ inline void along_staged(const float* matrix, u32 d, const float4* lines, float (&places)[R][H]) {
    const float* const column = matrix + threadIdx.x % WARP;
#pragma unroll
    for (u32 r = 0; r < R; ++r) {
#pragma unroll
        for (u32 h = 0; h < H; ++h) {
            places[r][h] = 0.0f;
        }
    }
#pragma unroll 1
    for (u32 first = 0; first < d; first += 4) {
        float x[R][4];
#pragma unroll
        for (u32 r = 0; r < R; ++r) {
            const float4 quad = lines[r * LINE_QUADS + first / 4];
            x[r][0] = quad.x;
            x[r][1] = quad.y;
            x[r][2] = quad.z;
            x[r][3] = quad.w;
        }
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
#pragma unroll
            for (u32 h = 0; h < H; ++h) {
                const float t = column[(first + i) * TURNED_PITCH<H> + WARP * h];
#pragma unroll
                for (u32 r = 0; r < R; ++r) {
                    places[r][h] = __fmaf_rn(x[r][i], t, places[r][h]);
                }
            }
        }
    }
}

// As across_peak_axes, with a matrix in shared memory.
template <u32 R, u32 H>
__device__ inline void across_staged(const float* matrix, u32 d, const float4* lines, float (&x)[R][H]) {
    const float* const row = matrix + threadIdx.x % WARP * TURNED_PITCH<H>;
#pragma unroll
    for (u32 r = 0; r < R; ++r) {
#pragma unroll
        for (u32 h = 0; h < H; ++h) {
            x[r][h] = 0.0f;
        }
    }
#pragma unroll 1
    for (u32 first = 0; first < d; first += 4) {
        float place[R][4];
#pragma unroll
        for (u32 r = 0; r < R; ++r) {
            const float4 quad = lines[r * LINE_QUADS + first / 4];
            place[r][0] = quad.x;
            place[r][1] = quad.y;
            place[r][2] = quad.z;
            place[r][3] = quad.w;
        }
#pragma unroll
        for (u32 j = 0; j < 4; ++j) {
#pragma unroll
            for (u32 h = 0; h < H; ++h) {
                const float t = row[WARP * h * TURNED_PITCH<H> + first + j];
#pragma unroll
                for (u32 r = 0; r < R; ++r) {
                    x[r][h] = __fmaf_rn(place[r][j], t, x[r][h]);
                }
            }
        }
    }
}
