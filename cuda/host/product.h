// The product of two float matrices, as cublasLt's stand-in queues and computes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

// A matrix by the distances between rows, columns and members of a batch, in elements.
struct Operand {
    const float* data;
    int64_t row, col, batch;
};

// One product, as it lies in the queue.
struct Product {
    int64_t m, n, k;
    int batch;
    float alpha, beta;
    // What becomes of A's and B's numbers before they are multiplied.
    float (*rounded)(float);
    Operand a, b, c;
    float* d;
    Operand d_place;
    unsigned char* workspace;
    size_t workspace_size;
};

// Ten bits of mantissa, rounded to the nearest, ties away from zero.
inline float to_tf32(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7F800000) != 0x7F800000) {
        bits = (bits + 0x1000) & ~uint32_t(0x1FFF);
    }
    std::memcpy(&x, &bits, sizeof bits);
    return x;
}

// Seven bits, ties to even.
inline float to_bf16(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7F800000) != 0x7F800000) {
        bits = (bits + 0x7FFF + (bits >> 16 & 1)) & ~uint32_t(0xFFFF);
    }
    std::memcpy(&x, &bits, sizeof bits);
    return x;
}

inline float as_it_is(float x) { return x; }

constexpr int64_t TILE = 8;
typedef float Four __attribute__((vector_size(16)));

// Lines of `length` elements, TILE of them at a time beside each other, zeros where there is none.
inline std::vector<Four> pack(const float* data, int64_t line, int64_t step, int64_t lines, int64_t length,
                              float (*rounded)(float)) {
    std::vector<Four> packed(static_cast<size_t>((lines + TILE - 1) / TILE * length * TILE / 4), Four{});
    for (int64_t i = 0; i < lines; ++i) {
        for (int64_t p = 0; p < length; ++p) {
            int64_t at = (i / TILE * length + p) * TILE + i % TILE;
            packed[static_cast<size_t>(at / 4)][at % 4] = rounded(data[i * line + p * step]);
        }
    }
    return packed;
}

// TILE by TILE sums over p, in the order of p.
inline void tile(const Four* a, const Four* b, int64_t k, float out[TILE][TILE]) {
    Four sum[TILE][2] = {};
    for (int64_t p = 0; p < k; ++p) {
        for (int64_t j = 0; j < TILE; ++j) {
            float x = b[2 * p + j / 4][j % 4];
            sum[j][0] += a[2 * p] * x;
            sum[j][1] += a[2 * p + 1] * x;
        }
    }
    std::memcpy(out, sum, sizeof sum);
}

inline void multiply(const Product& x, int batch) {
    auto a = pack(x.a.data + batch * x.a.batch, x.a.row, x.a.col, x.m, x.k, x.rounded);
    auto b = pack(x.b.data + batch * x.b.batch, x.b.col, x.b.row, x.n, x.k, x.rounded);
    const float* c = x.c.data + batch * x.c.batch;
    float* d = x.d + batch * x.d_place.batch;
    float sums[TILE][TILE];
    for (int64_t j = 0; j < x.n; j += TILE) {
        for (int64_t i = 0; i < x.m; i += TILE) {
            tile(a.data() + i * x.k / 4, b.data() + j * x.k / 4, x.k, sums);
            for (int64_t t = j; t < j + TILE && t < x.n; ++t) {
                for (int64_t r = i; r < i + TILE && r < x.m; ++r) {
                    float value = x.alpha * sums[t - j][r - i];
                    // C is not read where beta is zero.
                    value += x.beta != 0.0f ? x.beta * c[r * x.c.row + t * x.c.col] : 0.0f;
                    d[r * x.d_place.row + t * x.d_place.col] = value;
                }
            }
        }
    }
}
