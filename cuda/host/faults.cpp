// Kernels with the faults that the host's machine must find, one each. Those that only the strict build finds say so.

// Lacks the barrier between writing and reading: what is read depends on the order of threads. The strict build ends
// it.
static void fault_race(float* out) {
    SHARED(float, x, 64);
    x[threadIdx.x] = static_cast<float>(threadIdx.x);
    out[threadIdx.x] = x[63 - threadIdx.x];
}

// Half a warp waits for a barrier that the other half never reaches.
static void fault_barrier(float* out) {
    if (threadIdx.x % 32 < 16) {
        __syncthreads();
    }
    out[threadIdx.x] = 0.0f;
}

// One element too many.
static void fault_shared(float* out) {
    SHARED(float, x, 64);
    x[threadIdx.x + 1] = 0.0f;
    out[threadIdx.x] = 0.0f;
}

// Both halves of a warp exchange, but not with each other.
static void fault_exchanges(float* out) {
    float x = static_cast<float>(threadIdx.x);
    if (threadIdx.x % 32 < 16) {
        x = __shfl_xor_sync(ALL_LANES, x, 1) + 1.0f;
    } else {
        x = 2.0f * __shfl_xor_sync(ALL_LANES, x, 2);
    }
    out[threadIdx.x] = x;
}

// Half the lanes believe that all take part.
static void fault_masks(float* out) {
    const u32 mask = threadIdx.x % 32 < 16 ? ALL_LANES : 0xffff0000u;
    out[threadIdx.x] = __shfl_xor_sync(mask, 1.0f, 1);
}

// Each half takes what the other holds, which its mask leaves out.
static void fault_outside_mask(float* out) {
    const u32 mask = threadIdx.x % 32 < 16 ? 0x0000ffffu : 0xffff0000u;
    out[threadIdx.x] = __shfl_xor_sync(mask, 1.0f, 16);
}

// Every thread comes to a barrier, but not to the same.
static void fault_barriers(float* out) {
    SHARED(float, x, 64);
    if (threadIdx.x < 32) {
        x[threadIdx.x] = 1.0f;
        __syncthreads();
        out[threadIdx.x] = x[threadIdx.x + 32];
    } else {
        x[threadIdx.x] = 2.0f;
        __syncthreads();
        out[threadIdx.x] = x[threadIdx.x - 32];
    }
}

// The table has it for 32 threads, fewer than it is launched with.
static void fault_bounds(float* out) { out[threadIdx.x] = 0.0f; }

// Blocks add to the same numbers, one after another as it were. The strict build ends it.
static void fault_blocks(float* out) {
    out[threadIdx.x] = 2.0f * out[threadIdx.x] + static_cast<float>(blockIdx.x);
}

// The same with time for another block in between, which is lost then. The strict build ends it.
static void fault_lost(float* out) {
    const float x = out[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = 2.0f * x + static_cast<float>(blockIdx.x);
}

// A double behind a single float. The strict build finds it.
static void fault_alignment(float* out) {
    double* const x = reinterpret_cast<double*>(out + 1);
    x[threadIdx.x % 2] = 1.0;
}

// Four floats at once, at a multiple of four bytes. The strict build finds it.
static void fault_quad(float* out) { store4(out + 2, load4(out + 1)); }

// An address within memory, as the driver cannot know it. The strict build finds what it leads to.
static void fault_pointer(float* out, u64 at) { out[threadIdx.x] = *reinterpret_cast<const float*>(at); }

// A flag that another block is to set. The strict build ends both.
static void fault_volatile(float* out) {
    const volatile float* const flag = out;
    if (threadIdx.x > 0) {
        return;
    }
    while (blockIdx.x > 0 && *flag != 1.0f) {
    }
    out[blockIdx.x] = 1.0f;
}

static void fault_spin(float* out) {
    while (out[threadIdx.x] != 1.0f) {
        __asm__("" ::: "memory");
    }
}

// Sound by itself; two of them are not, where a graph does not order them.
static void fault_write(float* out) { out[threadIdx.x] = 1.0f; }
