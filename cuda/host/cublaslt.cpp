// Stands in for libcublasLt.so: products of float matrices, queued in the simulated driver's streams.
//
// Refuses what the real one documents as wrong, and besides an algorithm that was chosen for another problem or for a
// better alignment. A product overwrites the workspace that its algorithm asked for. Inside a capture, or where a test
// asks for the failure "cublasLt finds nothing", no algorithm is found.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <mutex>
#include <set>
#include <utility>

#include "driver/control.h"
#include "product.h"

enum Status : int {
    SUCCESS = 0,
    NOT_INITIALIZED = 1,
    INVALID_VALUE = 7,
    EXECUTION_FAILED = 13,
    INTERNAL_ERROR = 14,
    NOT_SUPPORTED = 15,
};

namespace {

enum : int { FLOAT = 0, ORDER_COL = 0, ORDER_ROW = 1 };
enum : int { COMPUTE_32F = 68, COMPUTE_32F_FAST_16BF = 75, COMPUTE_32F_FAST_TF32 = 77 };
constexpr uint64_t WORKSPACE = 64 * 1024;

struct Handle {};

struct Operation {
    int compute, transposed_a = 0, transposed_b = 0;
};

struct Layout {
    uint64_t rows, cols;
    int64_t ld;
    int order = ORDER_COL, batch = 1;
    int64_t batch_stride = 0;
};

struct Preference {
    uint64_t workspace = 0;
    // Alignment of A, B, C and D in bytes.
    unsigned alignment[4] = {256, 256, 256, 256};
};

// What the caller sees as 64 bytes.
struct Algorithm {
    uint64_t problem, workspace;
    unsigned alignment[4];
    uint64_t unused[4];
};
static_assert(sizeof(Algorithm) == 64, "as cublasLtMatmulAlgo_t");

struct Heuristic {
    Algorithm algorithm;
    size_t workspace;
    Status state;
    float waves;
    int reserved[4];
};

std::mutex mutex;
std::set<const void*> live;

template <class T>
Status create(T** out, T value) {
    if (!out) {
        return INVALID_VALUE;
    }
    std::lock_guard<std::mutex> lock(mutex);
    *out = new T(value);
    live.insert(*out);
    sfeuot_sim_count(1);
    return SUCCESS;
}

template <class T>
Status destroy(T* object) {
    std::lock_guard<std::mutex> lock(mutex);
    if (live.erase(object) == 0) {
        return INVALID_VALUE;
    }
    delete object;
    sfeuot_sim_count(-1);
    return SUCCESS;
}

bool lives(const void* object) {
    std::lock_guard<std::mutex> lock(mutex);
    return live.count(object) == 1;
}

// Reads an attribute of exactly its size.
template <class T>
Status take(T* to, const void* from, size_t size) {
    if (!from || size != sizeof(T)) {
        return INVALID_VALUE;
    }
    std::memcpy(to, from, size);
    return SUCCESS;
}

// An attribute that only one value is supported of.
Status expect(int value, const void* from, size_t size) {
    int given;
    Status status = take(&given, from, size);
    return status != SUCCESS ? status : given == value ? SUCCESS : NOT_SUPPORTED;
}

Operand operand(const void* data, const Layout& layout, bool transposed) {
    Operand x{static_cast<const float*>(data), 1, layout.ld, layout.batch_stride};
    if ((layout.order == ORDER_ROW) != transposed) {
        std::swap(x.row, x.col);
    }
    return x;
}

// The first `rows` and `cols` of a matrix, line by line.
void touch(const Operand& matrix, int64_t rows, int64_t cols, int batch, bool write) {
    bool by_rows = matrix.col == 1;
    int64_t lines = by_rows ? rows : cols, length = by_rows ? cols : rows, step = by_rows ? matrix.row : matrix.col;
    for (int64_t line = 0; line < lines; ++line) {
        sfeuot_sim_touch(matrix.data + batch * matrix.batch + line * step, static_cast<size_t>(length) * 4, write);
    }
}

int run(const void* data) {
    const Product& product = *static_cast<const Product*>(data);
    sfeuot_sim_touch(product.workspace, product.workspace_size, true);
    for (int batch = 0; batch < product.batch; ++batch) {
        touch(product.a, product.m, product.k, batch, false);
        touch(product.b, product.k, product.n, batch, false);
        if (product.beta != 0.0f) {
            touch(product.c, product.m, product.n, batch, false);
        }
        touch(product.d_place, product.m, product.n, batch, true);
    }
    if (product.workspace_size > 0) {
        std::memset(product.workspace, 0xFF, product.workspace_size);
    }
    for (int batch = 0; batch < product.batch; ++batch) {
        multiply(product, batch);
    }
    return 0;
}

struct Problem {
    const Operation& operation;
    const Layout &a, &b, &c, &d;
};

// Extents after the transpositions.
std::pair<uint64_t, uint64_t> extents(const Layout& layout, bool transposed) {
    return transposed ? std::make_pair(layout.cols, layout.rows) : std::make_pair(layout.rows, layout.cols);
}

bool fits(const Problem& x) {
    for (const Layout* layout : {&x.a, &x.b, &x.c, &x.d}) {
        uint64_t line = layout->order == ORDER_COL ? layout->rows : layout->cols;
        if (layout->rows == 0 || layout->cols == 0 || layout->ld < static_cast<int64_t>(line) ||
            layout->batch != x.a.batch) {
            return false;
        }
    }
    auto [m, k] = extents(x.a, x.operation.transposed_a);
    auto [k_of_b, n] = extents(x.b, x.operation.transposed_b);
    bool c_fits = x.c.rows == m && x.c.cols == n && x.c.order == x.d.order;
    return k == k_of_b && x.d.rows == m && x.d.cols == n && c_fits;
}

uint64_t fingerprint(const Problem& x) {
    uint64_t hash = 14695981039346656037u;
    auto mix = [&](uint64_t value) { hash = (hash ^ value) * 1099511628211u; };
    mix(static_cast<uint64_t>(x.operation.compute * 4 + x.operation.transposed_a * 2 + x.operation.transposed_b));
    for (const Layout* layout : {&x.a, &x.b, &x.c, &x.d}) {
        mix(layout->rows);
        mix(layout->cols);
        mix(static_cast<uint64_t>(layout->ld * 2 + layout->order));
        mix(static_cast<uint64_t>(layout->batch));
    }
    return hash;
}

// From the first element to the last.
size_t bytes_of(const Layout& layout) {
    bool by_columns = layout.order == ORDER_COL;
    auto line = static_cast<int64_t>(by_columns ? layout.rows : layout.cols);
    auto lines = static_cast<int64_t>(by_columns ? layout.cols : layout.rows);
    return static_cast<size_t>((layout.batch - 1) * layout.batch_stride + (lines - 1) * layout.ld + line) * 4;
}

Status refuse(const char* why) {
    std::fprintf(stderr, "simulated cublasLt: %s\n", why);
    return INVALID_VALUE;
}

#define FAIL_IF_ASKED()                                                  \
    if (int code = sfeuot_sim_failure(__func__)) {                       \
        return static_cast<Status>(code);                                \
    }

}  // namespace

API size_t cublasLtGetVersion() { return 130000; }
API size_t cublasLtGetCudartVersion() { return 13000; }

API Status cublasLtCreate(Handle** out) {
    FAIL_IF_ASKED();
    return create(out, Handle());
}

API Status cublasLtDestroy(Handle* handle) { return destroy(handle); }

API Status cublasLtMatmulDescCreate(Operation** out, int compute, int scale) {
    FAIL_IF_ASKED();
    const bool known =
        compute == COMPUTE_32F || compute == COMPUTE_32F_FAST_16BF || compute == COMPUTE_32F_FAST_TF32;
    if (!known || scale != FLOAT) {
        return NOT_SUPPORTED;
    }
    return create(out, Operation{compute});
}

API Status cublasLtMatmulDescDestroy(Operation* operation) { return destroy(operation); }

API Status cublasLtMatmulDescSetAttribute(Operation* operation, int attribute, const void* from, size_t size) {
    if (!lives(operation)) {
        return INVALID_VALUE;
    }
    int kind;
    switch (attribute) {
        // The pointer mode: alpha and beta on the host.
        case 2:
            return expect(0, from, size);
        // The epilogue: none.
        case 7:
            return expect(1, from, size);
        case 3:
        case 4:
            if (take(&kind, from, size) != SUCCESS || kind < 0 || kind > 2) {
                return INVALID_VALUE;
            }
            (attribute == 3 ? operation->transposed_a : operation->transposed_b) = kind != 0;
            return SUCCESS;
        default:
            return NOT_SUPPORTED;
    }
}

API Status cublasLtMatrixLayoutCreate(Layout** out, int type, uint64_t rows, uint64_t cols, int64_t ld) {
    FAIL_IF_ASKED();
    return type == FLOAT ? create(out, Layout{rows, cols, ld}) : NOT_SUPPORTED;
}

API Status cublasLtMatrixLayoutDestroy(Layout* layout) { return destroy(layout); }

API Status cublasLtMatrixLayoutSetAttribute(Layout* layout, int attribute, const void* from, size_t size) {
    if (!lives(layout)) {
        return INVALID_VALUE;
    }
    int value;
    switch (attribute) {
        case 1:
            if (take(&value, from, size) != SUCCESS) {
                return INVALID_VALUE;
            }
            layout->order = value;
            return value == ORDER_COL || value == ORDER_ROW ? SUCCESS : NOT_SUPPORTED;
        case 2:
            return take(&layout->rows, from, size);
        case 3:
            return take(&layout->cols, from, size);
        case 4:
            return take(&layout->ld, from, size);
        case 5:
            return take(&value, from, size) != SUCCESS || value < 1 ? INVALID_VALUE : take(&layout->batch, from, size);
        case 6:
            return take(&layout->batch_stride, from, size);
        default:
            return NOT_SUPPORTED;
    }
}

API Status cublasLtMatmulPreferenceCreate(Preference** out) {
    FAIL_IF_ASKED();
    return create(out, Preference());
}

API Status cublasLtMatmulPreferenceDestroy(Preference* preference) { return destroy(preference); }

API Status cublasLtMatmulPreferenceSetAttribute(Preference* preference, int attribute, const void* from, size_t size) {
    if (!lives(preference)) {
        return INVALID_VALUE;
    }
    uint32_t ignored;
    switch (attribute) {
        case 1:
            return take(&preference->workspace, from, size);
        case 5:
        case 6:
        case 7:
        case 8:
            return take(&preference->alignment[attribute - 5], from, size);
        // The search mode and the schemes of reduction choose between algorithms; there is one.
        case 0:
        case 3:
            return take(&ignored, from, size);
        default:
            return NOT_SUPPORTED;
    }
}

API Status cublasLtMatmulAlgoGetHeuristic(Handle* handle, const Operation* operation, const Layout* a, const Layout* b,
                                          const Layout* c, const Layout* d, const Preference* preference, int asked,
                                          Heuristic* results, int* found) {
    FAIL_IF_ASKED();
    if (!lives(handle)) {
        return NOT_INITIALIZED;
    }
    for (const void* object : std::initializer_list<const void*>{operation, a, b, c, d, preference}) {
        if (!lives(object)) {
            return INVALID_VALUE;
        }
    }
    if (asked < 1 || !results || !found) {
        return INVALID_VALUE;
    }
    // The real one may load what it finds, which a capture may not allow.
    if (sfeuot_sim_refuse_in_capture() != 0) {
        std::fprintf(stderr, "simulated cublasLt: an algorithm is looked for inside a capture\n");
        return INTERNAL_ERROR;
    }
    Problem problem{*operation, *a, *b, *c, *d};
    *found = 0;
    if (sfeuot_sim_failure("cublasLt finds nothing") != 0) {
        return SUCCESS;
    }
    if (!fits(problem)) {
        return refuse("the matrices' extents, leading dimensions or batches do not fit together");
    }
    Heuristic result = {};
    result.workspace = std::min(preference->workspace, WORKSPACE);
    result.algorithm.problem = fingerprint(problem);
    result.algorithm.workspace = result.workspace;
    std::memcpy(result.algorithm.alignment, preference->alignment, sizeof preference->alignment);
    result.waves = 1.0f;
    results[0] = result;
    *found = 1;
    return SUCCESS;
}

API Status cublasLtMatmul(Handle* handle, const Operation* operation, const float* alpha, const void* a,
                          const Layout* a_layout, const void* b, const Layout* b_layout, const float* beta,
                          const void* c, const Layout* c_layout, void* d, const Layout* d_layout,
                          const Algorithm* algorithm, void* workspace, size_t workspace_size, void* stream) {
    FAIL_IF_ASKED();
    if (!lives(handle)) {
        return NOT_INITIALIZED;
    }
    for (const void* object : std::initializer_list<const void*>{operation, a_layout, b_layout, c_layout, d_layout}) {
        if (!lives(object)) {
            return refuse("a descriptor is not there");
        }
    }
    if (!alpha || !beta) {
        return refuse("alpha or beta is null");
    }
    Problem problem{*operation, *a_layout, *b_layout, *c_layout, *d_layout};
    if (!fits(problem)) {
        return refuse("the matrices' extents, leading dimensions or batches do not fit together");
    }
    if (algorithm && algorithm->problem != fingerprint(problem)) {
        return refuse("the algorithm was chosen for another problem");
    }
    size_t needed = algorithm ? algorithm->workspace : std::min<size_t>(workspace_size, WORKSPACE);
    if (needed > workspace_size || (needed > 0 && !sfeuot_sim_is_device(workspace, needed)) ||
        reinterpret_cast<uintptr_t>(workspace) % 16 != 0) {
        return refuse("the workspace is too small, not on the device or not aligned to 16 bytes");
    }
    const void* data[] = {a, b, c, d};
    const Layout* layouts[] = {a_layout, b_layout, c_layout, d_layout};
    for (int i = 0; i < 4; ++i) {
        // C is not read where beta is zero.
        if (i == 2 && *beta == 0.0f) {
            continue;
        }
        if (!sfeuot_sim_is_device(data[i], bytes_of(*layouts[i]))) {
            return refuse("a matrix is not wholly in device memory");
        }
        if (reinterpret_cast<uintptr_t>(data[i]) % (algorithm ? algorithm->alignment[i] : 4) != 0) {
            return refuse("a matrix is aligned worse than the algorithm was told");
        }
    }
    if (c == d && (c_layout->ld != d_layout->ld || c_layout->order != d_layout->order)) {
        return refuse("C and D are the same memory in different layouts");
    }
    auto [m, k] = extents(*a_layout, operation->transposed_a);
    Product product = {};
    product.m = static_cast<int64_t>(m);
    product.n = static_cast<int64_t>(d_layout->cols);
    product.k = static_cast<int64_t>(k);
    product.batch = a_layout->batch;
    product.alpha = *alpha;
    product.beta = *beta;
    product.rounded = operation->compute == COMPUTE_32F_FAST_TF32    ? to_tf32
                      : operation->compute == COMPUTE_32F_FAST_16BF ? to_bf16
                                                                    : as_it_is;
    product.a = operand(a, *a_layout, operation->transposed_a);
    product.b = operand(b, *b_layout, operation->transposed_b);
    product.c = operand(c, *c_layout, false);
    product.d = static_cast<float*>(d);
    product.d_place = operand(d, *d_layout, false);
    product.workspace = static_cast<unsigned char*>(workspace);
    product.workspace_size = needed;
    return sfeuot_sim_enqueue(stream, run, &product, sizeof product) == 0 ? SUCCESS : EXECUTION_FAILED;
}
