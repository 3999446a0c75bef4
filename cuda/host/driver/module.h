// Modules: every image holds the kernels of cuda/host/kernels.cpp.
#pragma once

#include "../kernels.h"
#include "state.h"

struct Function {
    Context* context;
    Module* module;
    const host::Kernel* kernel;
    int dynamic_shared = 48 * 1024;
};

struct Module {
    Context* context;
    std::map<std::string, std::shared_ptr<Function>> functions;
};

// Modules of a context that is destroyed.
void forget_modules(const Context* context);
