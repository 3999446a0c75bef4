// What the simulated driver knows: its settings, its objects, and what every call does first.
//
// Work is queued and runs when somebody waits for it, so that a missing synchronisation shows as stale data. One lock
// guards everything.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "api.h"

// Objects by the handle that the caller has; a handle that is not there is not valid.
template <class T>
class Registry {
    std::unordered_map<T*, std::shared_ptr<T>> objects;

public:
    T* add(std::shared_ptr<T> object) {
        T* handle = object.get();
        objects[handle] = std::move(object);
        return handle;
    }
    std::shared_ptr<T> get(T* handle) const {
        auto found = objects.find(handle);
        return found == objects.end() ? nullptr : found->second;
    }
    void remove(T* handle) { objects.erase(handle); }
    template <class Predicate>
    void remove_where(Predicate predicate) {
        for (auto at = objects.begin(); at != objects.end();) {
            at = predicate(*at->second) ? objects.erase(at) : std::next(at);
        }
    }
    size_t size() const { return objects.size(); }
};

struct Context {
    int device;
    bool primary;
    // Sticky: from the first fault of a kernel on, nothing works any more.
    CUresult error = CUDA_SUCCESS;
    // The legacy default stream first; streams destroyed with work left stay until it ran.
    std::vector<std::shared_ptr<Stream>> streams;
    // Whether the host may touch its memory now.
    bool open = false;
};

// Asked for by a test.
struct Failure {
    CUresult code;
    int calls_before;
};

struct State {
    std::mutex mutex;
    bool initialised = false;
    int devices = 1, capability = 90;
    uint64_t memory = uint64_t(1) << 30;
    bool memory_is_set = false;
    uint64_t seed = 0, launches = 0, random = 1;
    // Bytes that copies have brought to the host.
    uint64_t to_host = 0;
    int synchronisations = 0;
    // Objects of libcublasLt.so.
    int64_t others = 0;
    std::map<std::string, Failure> failures;
    std::map<int, std::pair<CUcontext, int>> primaries;
    Registry<Context> contexts;
    Registry<Stream> streams;
    Registry<Event> events;
    Registry<Module> modules;
    Registry<Function> functions;
    Registry<Graph> graphs;
    Registry<Program> programs;

    unsigned below(unsigned n) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        return static_cast<unsigned>((random >> 33) % n);
    }
};

// Never destroyed: threads may call while the process ends.
State& state();

// One call of the interface: takes the lock and finds out why the call cannot go on, if so.
struct Call {
    // CONTEXT: a current one, that no fault has hit. FAILED_CONTEXT: a current one.
    enum Needs { NOTHING, DRIVER, FAILED_CONTEXT, CONTEXT };

    std::lock_guard<std::mutex> lock;
    State& s;
    Context* context = nullptr;
    CUresult code;

    Call(const char* function, Needs needs);
};

#define ENTER(needs)                    \
    Call call(__func__, Call::needs);   \
    if (call.code != CUDA_SUCCESS) {    \
        return call.code;               \
    }

#define TRY(expression)                                                 \
    if (CUresult result = (expression); result != CUDA_SUCCESS) {       \
        return result;                                                  \
    }

// The failure that a test asked for in this function's next call; success where none.
CUresult injected(State& s, std::string function);

// The thread's current context; null without one.
Context* current_context();

// A number from the environment.
uint64_t setting(const char* name, uint64_t otherwise);
