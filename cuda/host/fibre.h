// A stack to run on, and the switch from one to another.
//
// swapcontext asks the system for the signal mask at every switch, which would be most of a launch's time; on x86-64 a
// few instructions do without. Sanitizers know swapcontext, so they keep it.
#pragma once

#include <cstddef>
#include <ucontext.h>

namespace host {

// The strict build takes the thread sanitizer's calls and nothing else of it.
#if defined(__SANITIZE_THREAD__) && !defined(SFEUOT_AS_HARDWARE)
#define SFEUOT_SANITIZED
#elif defined(__SANITIZE_ADDRESS__)
#define SFEUOT_SANITIZED
#endif

#if defined(__x86_64__) && !defined(SFEUOT_SANITIZED)

// Keeps what a callee must keep on the stack, that stack's top in the first argument, and goes on at the second. A jump
// ends it: a processor expects a return to go where the call came from, which it never does here.
__attribute__((naked, noinline, visibility("hidden"))) inline void switch_stacks(void**, void*) {
    __asm__(
        "pushq %rbp\n\tpushq %rbx\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n\t"
        "movq %rsp, (%rdi)\n\tmovq %rsi, %rsp\n\t"
        "popq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbx\n\tpopq %rbp\n\t"
        "popq %rcx\n\tjmpq *%rcx");
}

class Continuation {
    void* top = nullptr;

public:
    // Makes it start at `entry`, which must not return, on the given stack.
    void aim(char* stack, size_t size, void (*entry)()) {
        void** at = reinterpret_cast<void**>(stack + size);
        *--at = nullptr;
        *--at = reinterpret_cast<void*>(entry);
        for (int i = 0; i < 6; ++i) {
            *--at = nullptr;
        }
        top = at;
    }

    // Stops here and goes on there; returns when somebody switches back.
    void switch_to(Continuation& other) { switch_stacks(&top, other.top); }
};

#else

class Continuation {
    ucontext_t context;

public:
    __attribute__((noinline)) void aim(char* stack, size_t size, void (*entry)()) {
        getcontext(&context);
        context.uc_stack.ss_sp = stack;
        context.uc_stack.ss_size = size;
        context.uc_link = nullptr;
        makecontext(&context, entry, 0);
    }

    void switch_to(Continuation& other) { swapcontext(&context, &other.context); }
};

#endif

}  // namespace host
