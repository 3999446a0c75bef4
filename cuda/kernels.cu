// Every kernel, in one translation unit: what nvcc, NVRTC and the host's tests compile.
#include "action.cu"
#include "activation.cu"
#include "batch.cu"
#include "bridge.cu"
#include "dual.cu"
#include "mixture.cu"
#include "optimiser.cu"
#include "philox.cu"
