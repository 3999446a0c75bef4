// Kernels with the faults that the host's machine must find, one each.

// Lacks the barrier between writing and reading: what is read depends on the order of threads.
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
