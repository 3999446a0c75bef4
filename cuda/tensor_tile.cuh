// Tiles of products on tensor cores (product.cuh, mma.cuh): operands are rounded as they are staged, to one number a
// word (TF32) or to two (BF16), and from there on both are the same words. A tile has LINES of them in each buffer, so
// BF16 takes twice the k of TF32 at a time in the same memory.
//
// Every slice has warps for the whole tile, 32 rows by WARP_COLS columns each, in 16 x 8 products of 8 words of k.
//
//   tile          threads  ROWS x COLS  LINES  warp     shared  multiply-adds a word of global memory  of shared memory
//   NarrowTensor      256      32 x 32     32  32 x 16  16 KiB                                     16            10.7 PACK
//   TallTensor        128      64 x 32     16  32 x 32  16 KiB                                     21              16 PACK
//   WideTensor        256     128 x 64     16  32 x 32  32 KiB                                     43              16 PACK
//
// A word of global memory is one of L2 mostly. Staging takes one conversion for PACK numbers; a warp then loads (32 +
// WARP_COLS) / 4 words a lane for its WARP_COLS / 4 products.
//
// Banks: a lane reads words of line t and row or column g, t < 4 and g < 8, so the places in a line are permuted (exclusive
// or) by 8 for each of four neighbouring lines. An operand whose rows run along k is stored by words, of neighbouring
// lines and for STEP neighbouring e: four lines on, the places move on by STEP. One whose rows run across k is stored by
// whole quads, which keep their order.
#pragma once

#include "mma.cuh"
#include "product.cuh"

template <class ARITHMETIC, u32 ROWS_, u32 COLS_, u32 SLICES_, u32 WARP_COLS, u32 LINES_>
struct TensorTile {
    static constexpr u32 ROWS = ROWS_, COLS = COLS_, SLICES = SLICES_, WARP_ROWS = 32;
    static constexpr u32 WARPS_ACROSS = COLS / WARP_COLS, WARPS = ROWS / WARP_ROWS * WARPS_ACROSS;
    static constexpr u32 THREADS = WARP * WARPS * SLICES;
    static constexpr u32 PACK = ARITHMETIC::PACK, LINES = LINES_, DEPTH = PACK * LINES, PART = DEPTH / SLICES;
    static constexpr u32 SHARED_QUADS = ProductMemory<ROWS, COLS, LINES, SLICES>::QUADS;
    // Words of k of one product, and how many products a warp has along rows and along columns.
    static constexpr u32 WORDS = 8, DOWN = WARP_ROWS / 16, ACROSS = WARP_COLS / 8;
    // Neighbouring e that a warp stores at once of an operand along k.
    static constexpr u32 STEP = WARP / (DEPTH / 4);
    static_assert(LINES % (WORDS * SLICES) == 0, "slices must share the work evenly");
    static_assert(STEP * (LINES / 4) <= WARP, "places must stay within a line");
    using Sums = float[DOWN][ACROSS][4];

    // Where the warp's part begins, its slice, and which numbers of a product the lane has (mma.cuh).
    struct Place {
        u32 row, col, slice, g, t;
    };

    static __device__ Place place() {
        const u32 warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, within = warp % WARPS;
        return {within / WARPS_ACROSS * WARP_ROWS, within % WARPS_ACROSS * WARP_COLS, warp / WARPS, lane / 4, lane % 4};
    }

    // By what the places in a line are permuted.
    template <bool ALONG>
    static __device__ u32 turn(u32 line) {
        return (line % 4 * 8) ^ (ALONG ? line / 4 * STEP : 0);
    }

    template <class Own, u32 SIDE, bool ALONG>
    static __device__ void stage(const float4 (&staged)[Own::STAGED], float* to) {
        if constexpr (ALONG) {
            const u32 first = Own::at() / PACK;
#pragma unroll
            for (u32 i = 0; i < Own::STAGED; ++i) {
                u32 words[4 / PACK];
                ARITHMETIC::along(staged[i], words);
#pragma unroll
                for (u32 j = 0; j < 4 / PACK; ++j) {
                    to[(first + j) * SIDE + (Own::line(i) ^ turn<true>(first + j))] = __uint_as_float(words[j]);
                }
            }
        } else {
#pragma unroll
            for (u32 i = 0; i < Own::STAGED; i += PACK) {
                const u32 line = Own::line(i) / PACK;
                float4 lines[PACK];
#pragma unroll
                for (u32 j = 0; j < PACK; ++j) {
                    lines[j] = staged[i + j];
                }
                u32 words[4];
                ARITHMETIC::across(lines, words);
                store4(to + line * SIDE + (Own::at() ^ turn<false>(line)),
                       make_float4(__uint_as_float(words[0]), __uint_as_float(words[1]), __uint_as_float(words[2]),
                                   __uint_as_float(words[3])));
            }
        }
    }

    // The word of a line for row or column e.
    template <u32 SIDE, bool ALONG>
    static __device__ u32 word(const float* from, u32 line, u32 e) {
        return __float_as_uint(from[line * SIDE + (e ^ turn<ALONG>(line))]);
    }

    template <bool A_ALONG, bool B_ALONG>
    static __device__ void multiply(const Place& place, const float* a, const float* b, Sums& sum) {
        // Gradients of convolutions have no registers for the words of two products at once.
        [[maybe_unused]] constexpr u32 AT_ONCE = A_ALONG ? LINES / SLICES / WORDS : 1;
#pragma unroll AT_ONCE
        for (u32 words = 0; words < LINES / SLICES; words += WORDS) {
            const u32 line = place.slice * (LINES / SLICES) + words + place.t;
            u32 x[DOWN][4], y[ACROSS][2];
#pragma unroll
            for (u32 i = 0; i < DOWN; ++i) {
#pragma unroll
                for (u32 h = 0; h < 4; ++h) {
                    x[i][h] = word<ROWS, A_ALONG>(a, line + h / 2 * 4, place.row + 16 * i + h % 2 * 8 + place.g);
                }
            }
#pragma unroll
            for (u32 j = 0; j < ACROSS; ++j) {
#pragma unroll
                for (u32 h = 0; h < 2; ++h) {
                    y[j][h] = word<COLS, B_ALONG>(b, line + h * 4, place.col + 8 * j + place.g);
                }
            }
#pragma unroll
            for (u32 i = 0; i < DOWN; ++i) {
#pragma unroll
                for (u32 j = 0; j < ACROSS; ++j) {
                    ARITHMETIC::multiply(sum[i][j], x[i], y[j]);
                }
            }
        }
    }

    // Exclusive or on the places in a row of the slices' sums, for stores without bank conflicts.
    static __device__ u32 spread(u32 row) { return row % 4 * 8; }

    static __device__ void lay_down(const Place& place, const Sums& sum, float* memory) {
        float* const mine = memory + place.slice * ROWS * COLS;
#pragma unroll
        for (u32 i = 0; i < DOWN; ++i) {
#pragma unroll
            for (u32 j = 0; j < ACROSS; ++j) {
                const u32 row = place.row + 16 * i + place.g, col = place.col + 8 * j + 2 * place.t;
                float* to = mine + row * COLS + (col ^ spread(row));
                store2(to, make_float2(sum[i][j][0], sum[i][j][1]));
                store2(to + 8 * COLS, make_float2(sum[i][j][2], sum[i][j][3]));
            }
        }
    }

    // Sums of B's columns, in 32 bits and before anything is rounded: a thread always fetches the same four. They lie in
    // shared memory, each thread's in a place of its own, because registers are all taken.
    struct ColumnSums {
        bool wanted = false;

        static __device__ float4* all() {
            SHARED(float4, columns, THREADS);
            return columns;
        }

        __device__ ColumnSums() { all()[threadIdx.x] = make_float4(0.0f, 0.0f, 0.0f, 0.0f); }

        static __device__ void add(float4& sum, const float4& x) {
            sum.x += x.x;
            sum.y += x.y;
            sum.z += x.z;
            sum.w += x.w;
        }

        template <u32 STAGED>
        __device__ void fetched(const float4 (&x)[STAGED]) {
            if (wanted) {
                float4 sum = all()[threadIdx.x];
#pragma unroll
                for (u32 i = 0; i < STAGED; ++i) {
                    add(sum, x[i]);
                }
                all()[threadIdx.x] = sum;
            }
        }

        __device__ void staged(const float*) {}

        // Writes the first `count` of them; all threads call it.
        __device__ void put(float* out, u32 count) {
            __syncthreads();
            if (threadIdx.x < COLS / 4) {
                float4 sum = all()[threadIdx.x];
                for (u32 part = COLS / 4; part < THREADS; part += COLS / 4) {
                    add(sum, all()[part + threadIdx.x]);
                }
                const float four[4] = {sum.x, sum.y, sum.z, sum.w};
#pragma unroll
                for (u32 i = 0; i < 4; ++i) {
                    if (4 * threadIdx.x + i < count) {
                        out[4 * threadIdx.x + i] = four[i];
                    }
                }
            }
        }
    };
};

template <class ARITHMETIC>
using NarrowTensor = TensorTile<ARITHMETIC, 32, 32, 4, 16, 32>;
template <class ARITHMETIC>
using TallTensor = TensorTile<ARITHMETIC, 64, 32, 2, 32, 16>;
template <class ARITHMETIC>
using WideTensor = TensorTile<ARITHMETIC, 128, 64, 1, 32, 16>;

// As KERNEL_OF_TILE, of a tile of tensor cores. Where the architecture has none it is there and does nothing but fail.
#define KERNEL_OF_TENSOR_TILE(name, tile, blocks, parameters, ...)                        \
    extern "C" __global__ void __launch_bounds__(tile::THREADS, blocks) name parameters { \
        using Tile = tile;                                                                \
        if constexpr (TENSOR_CORES) {                                                     \
            __VA_ARGS__;                                                                  \
        } else {                                                                          \
            __trap();                                                                     \
        }                                                                                 \
    }
