// A run-time compiler for the simulated driver: its image is the word that the driver takes for all kernels, so that
// what the library does with a compiler is tested without one. SFEUOT_SIM_BROKEN_COMPILER makes compilations fail.
#include <cstdlib>
#include <cstring>

#define API extern "C" __attribute__((visibility("default")))

namespace {

enum Result { SUCCESS = 0, INVALID_INPUT = 3, COMPILATION = 6 };

struct Program {
    bool compiled = false;
};

const int ARCHITECTURES[] = {75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121};
const char IMAGE[] = "SFEUOT-SIMULATED";
const char LOG[] = "kernels.cu(1): error: broken on purpose\n";

Result give(size_t* size, size_t value) {
    *size = value;
    return SUCCESS;
}

Result copy(char* to, const char* from, size_t size) {
    std::memcpy(to, from, size);
    return SUCCESS;
}

}  // namespace

API Result nvrtcVersion(int* major, int* minor) {
    *major = 13;
    *minor = 0;
    return SUCCESS;
}

API Result nvrtcGetNumSupportedArchs(int* count) {
    *count = sizeof ARCHITECTURES / sizeof *ARCHITECTURES;
    return SUCCESS;
}

API Result nvrtcGetSupportedArchs(int* architectures) {
    std::memcpy(architectures, ARCHITECTURES, sizeof ARCHITECTURES);
    return SUCCESS;
}

API Result nvrtcCreateProgram(Program** program, const char* source, const char*, int, const char* const*,
                              const char* const*) {
    if (!source || !std::strstr(source, "__global__")) {
        return INVALID_INPUT;
    }
    *program = new Program;
    return SUCCESS;
}

API Result nvrtcCompileProgram(Program* program, int count, const char* const* options) {
    program->compiled = !std::getenv("SFEUOT_SIM_BROKEN_COMPILER") && count > 0 && options[0][0] == '-';
    return program->compiled ? SUCCESS : COMPILATION;
}

API Result nvrtcGetCUBINSize(Program*, size_t* size) { return give(size, sizeof IMAGE); }
API Result nvrtcGetCUBIN(Program*, char* to) { return copy(to, IMAGE, sizeof IMAGE); }
API Result nvrtcGetPTXSize(Program*, size_t* size) { return give(size, sizeof IMAGE); }
API Result nvrtcGetPTX(Program*, char* to) { return copy(to, IMAGE, sizeof IMAGE); }
API Result nvrtcGetProgramLogSize(Program*, size_t* size) { return give(size, sizeof LOG); }
API Result nvrtcGetProgramLog(Program*, char* to) { return copy(to, LOG, sizeof LOG); }

API Result nvrtcDestroyProgram(Program** program) {
    delete *program;
    *program = nullptr;
    return SUCCESS;
}
