// Loads and stores that hit a guard page: says who did it, then ends the process.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

#include "launch.h"

namespace {

// What lies at an address that no kernel was at when it was touched, for the last words; null where nothing is known.
const char* (*describe)(const void*) = nullptr;

void report(int signal, siginfo_t* info, void*) {
    static char text[256];
    int n = 0;
    if (host::machine.kernel != nullptr && host::machine.current != nullptr) {
        const host::Place& at = host::place;
        n = std::snprintf(text, sizeof text,
                          "kernel %s, block (%u, %u, %u), thread (%u, %u, %u): access out of bounds\n",
                          host::machine.kernel, at.block.x, at.block.y, at.block.z, at.thread.x, at.thread.y,
                          at.thread.z);
    } else if (const char* what = describe ? describe(info->si_addr) : nullptr) {
        n = std::snprintf(text, sizeof text, "the host touches %p: %s\n", info->si_addr, what);
    }
    if (write(2, text, static_cast<size_t>(n)) < 0) {
        std::_Exit(1);
    }
    std::signal(signal, SIG_DFL);
}

}  // namespace

void host::watch_signals() {
    static const bool once = [] {
        for (int signal : {SIGSEGV, SIGBUS}) {
            struct sigaction action = {};
            action.sa_sigaction = report;
            action.sa_flags = SA_ONSTACK | SA_SIGINFO;
            sigaction(signal, &action, nullptr);
        }
        return true;
    }();
    (void)once;
}

extern "C" void sfeuot_host_watch(const char* (*names)(const void*)) {
    describe = names;
    host::watch_signals();
}
