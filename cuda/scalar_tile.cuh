// Tiles of products in 32 bits (product.cuh), a multiply-add at a time.
//
// Every group of 8 x 8 threads covers the whole tile, a thread ROWS / 8 rows by COLS / 8 columns in registers.
//
//   tile    threads  ROWS x COLS  DEPTH  shared  FFMA a word of global memory  FFMA a word of shared memory
//   Narrow      256      32 x 32     32  16 KiB                           16                              2
//   Tall        128      64 x 32     16  16 KiB                           21                            2.7
//   Wide        128      64 x 64     16  32 KiB                           32                              4
//
// An operand whose rows run along k is turned over on the way to shared memory, and where in a line an element then stands
// is permuted, by whole quads (`turn`), so that the 32 stores of a warp fall on 32 banks. Within a warp, neighbouring
// lanes share their rows, lanes two apart their columns: a half warp reads at most 128 different bytes of either operand.
#pragma once

#include "product.cuh"

template <u32 EACH>
__device__ inline void take_quads(const float* from, float (&x)[EACH]) {
#pragma unroll
    for (u32 h = 0; h < EACH / 4; ++h) {
        const float4 four = load4(from + WARP * h);
        x[4 * h] = four.x;
        x[4 * h + 1] = four.y;
        x[4 * h + 2] = four.z;
        x[4 * h + 3] = four.w;
    }
}

template <u32 ROW_QUADS, u32 COL_QUADS, u32 SLICES_, u32 DEPTH_>
struct ScalarTile {
    // A thread has so many quads along rows and along columns, 32 apart.
    static constexpr u32 EACH_ROW = 4 * ROW_QUADS, EACH_COL = 4 * COL_QUADS, ROWS = 8 * EACH_ROW, COLS = 8 * EACH_COL;
    static constexpr u32 SLICES = SLICES_, THREADS = 64 * SLICES;
    static constexpr u32 DEPTH = DEPTH_, PACK = 1, LINES = DEPTH, PART = DEPTH / SLICES;
    static constexpr u32 SHARED_QUADS = ProductMemory<ROWS, COLS, LINES, SLICES>::QUADS;
    static_assert(PART % 4 == 0, "slices must share the work evenly");
    // The slice's part of k, for one row and one column.
    using Sums = float[EACH_ROW][EACH_COL];

    // Which rows and columns of the tile a thread has, and which slice it belongs to.
    struct Place {
        u32 row, col, slice;
    };

    static __device__ Place place() {
        const u32 lane = threadIdx.x % 64;
        return {(lane >> 1 & 1) | (lane >> 3 & 6), (lane & 1) | (lane >> 1 & 6), threadIdx.x / 64};
    }

    // By what the places in the lines k .. k + 3 of a turned operand are permuted (exclusive or), k a multiple of four.
    static __device__ u32 turn(u32 k) { return k * (WARP / DEPTH); }

    template <class Own, u32 SIDE, bool ALONG>
    static __device__ void stage(const float4 (&staged)[Own::STAGED], float* to) {
        const u32 at = Own::at();
#pragma unroll
        for (u32 i = 0; i < Own::STAGED; ++i) {
            const u32 line = Own::line(i);
            if (ALONG) {
                float* put = to + at * SIDE + (line ^ turn(at));
                put[0] = staged[i].x;
                put[SIDE] = staged[i].y;
                put[2 * SIDE] = staged[i].z;
                put[3 * SIDE] = staged[i].w;
            } else {
                store4(to + line * SIDE + at, staged[i]);
            }
        }
    }

    template <bool A_ALONG, bool B_ALONG>
    static __device__ void multiply(const Place& place, const float* a, const float* b, Sums& sum) {
#pragma unroll
        for (u32 four = 0; four < PART; four += 4) {
            const u32 k = place.slice * PART + four;
            const float* rows = a + k * ROWS + (4 * place.row ^ (A_ALONG ? turn(k) : 0));
            const float* cols = b + k * COLS + (4 * place.col ^ (B_ALONG ? turn(k) : 0));
#pragma unroll
            for (u32 next = 0; next < 4; ++next) {
                float x[EACH_ROW], y[EACH_COL];
                take_quads(rows + next * ROWS, x);
                take_quads(cols + next * COLS, y);
#pragma unroll
                for (u32 i = 0; i < EACH_ROW; ++i) {
#pragma unroll
                    for (u32 j = 0; j < EACH_COL; ++j) {
                        sum[i][j] += x[i] * y[j];
                    }
                }
            }
        }
    }

    // Exclusive or on the places in a row of the slices' sums, for stores without bank conflicts.
    static __device__ u32 spread(u32 row) { return (row >> 2 & 1) << 4; }

    static __device__ void lay_down(const Place& place, const Sums& sum, float* memory) {
        float* const mine = memory + place.slice * ROWS * COLS;
#pragma unroll
        for (u32 i = 0; i < EACH_ROW; ++i) {
            const u32 row = 4 * place.row + i % 4 + i / 4 * WARP;
            float* to = mine + row * COLS + (4 * place.col ^ spread(row));
#pragma unroll
            for (u32 h = 0; h < EACH_COL / 4; ++h) {
                const float* x = sum[i] + 4 * h;
                store4(to + WARP * h, make_float4(x[0], x[1], x[2], x[3]));
            }
        }
    }

    // Sums of B's columns, from what was staged.
    struct ColumnSums {
        float column = 0.0f;
        bool wanted = false;

        template <u32 STAGED>
        __device__ void fetched(const float4 (&)[STAGED]) {}

        __device__ void staged(const float* b) {
            if (wanted) {
#pragma unroll
                for (u32 k = 0; k < DEPTH; k += THREADS / COLS) {
                    column += b[k * COLS + threadIdx.x];
                }
            }
        }

        // Writes the first `count` of them; all threads call it.
        __device__ void put(float* out, u32 count) {
            SHARED(float, columns, THREADS);
            columns[threadIdx.x] = column;
            __syncthreads();
            if (threadIdx.x < COLS && threadIdx.x < count) {
                for (u32 part = COLS; part < THREADS; part += COLS) {
                    column += columns[part + threadIdx.x];
                }
                out[threadIdx.x] = column;
            }
        }
    };
};

using Narrow = ScalarTile<1, 1, 4, 32>;
using Tall = ScalarTile<2, 1, 2, 16>;
using Wide = ScalarTile<2, 2, 2, 16>;
