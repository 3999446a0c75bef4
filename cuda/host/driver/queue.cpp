#include "queue.h"

#include <algorithm>
#include <chrono>

#include "capture.h"
#include "memory.h"

static double now() {
    using namespace std::chrono;
    return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

static void reach(Mark& mark) {
    mark.reached = true;
    mark.milliseconds = now();
    mark.stream.reset();
}

static void run_one(Stream& stream);

static void run_until(const Mark& mark) {
    while (!mark.reached) {
        // Reaching the mark lets go of the stream.
        std::shared_ptr<Stream> stream = mark.stream;
        run_one(*stream);
    }
}

// A wait was queued after what it waits for, so waits do not run in circles.
static void run_one(Stream& stream) {
    if (stream.tasks.front().awaited) {
        run_until(*stream.tasks.front().awaited);
    }
    Task task = std::move(stream.tasks.front());
    stream.tasks.pop_front();
    Context& context = *stream.context;
    if (task.work && context.error == CUDA_SUCCESS) {
        open_memory(context);
        context.error = task.work();
    }
    if (task.mark) {
        reach(*task.mark);
    }
}

static void forget_destroyed(Context& context) {
    auto gone = [](const std::shared_ptr<Stream>& stream) { return stream->destroyed && stream->tasks.empty(); };
    auto& all = context.streams;
    all.erase(std::remove_if(all.begin(), all.end(), gone), all.end());
}

static CUresult finished(Context& context) {
    close_memory();
    forget_destroyed(context);
    return context.error;
}

CUresult find_stream(const Call& call, CUstream handle, Stream** out) {
    auto number = reinterpret_cast<uintptr_t>(handle);
    if (number <= 1) {
        *out = call.context->streams[0].get();
        return CUDA_SUCCESS;
    }
    // The default stream per thread.
    if (number == 2) {
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    *out = call.s.streams.get(handle).get();
    return *out && (*out)->context == call.context ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult follow_legacy(Stream& stream) {
    Stream& legacy = *stream.context->streams[0];
    if (!stream.legacy()) {
        if (stream.blocking() && !legacy.tasks.empty()) {
            stream.tasks.push_back({add_mark(legacy), nullptr, nullptr});
        }
        return CUDA_SUCCESS;
    }
    for (const auto& other : stream.context->streams) {
        if (other->blocking() && other->capture) {
            other->capture->invalid = true;
            return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
        }
    }
    for (const auto& other : stream.context->streams) {
        if (other.get() != &stream && other->blocking() && !other->tasks.empty()) {
            stream.tasks.push_back({add_mark(*other), nullptr, nullptr});
        }
    }
    return CUDA_SUCCESS;
}

CUresult submit(Stream& stream, NodeType type, const char* name, Work work) {
    if (stream.capture) {
        return add_node(stream, type, name, std::move(work));
    }
    TRY(follow_legacy(stream));
    stream.tasks.push_back({nullptr, std::move(work), nullptr});
    return CUDA_SUCCESS;
}

std::shared_ptr<Mark> add_mark(Stream& stream) {
    auto mark = std::make_shared<Mark>();
    mark->stream = stream.shared_from_this();
    stream.tasks.push_back({nullptr, nullptr, mark});
    return mark;
}

CUresult finish(Stream& stream) {
    ++state().synchronisations;
    if (stream.legacy()) {
        TRY(follow_legacy(stream));
    }
    Context& context = *stream.context;
    while (!stream.tasks.empty()) {
        run_one(stream);
    }
    return finished(context);
}

CUresult finish(const std::shared_ptr<Mark>& mark, Context& context) {
    ++state().synchronisations;
    run_until(*mark);
    return finished(context);
}

// In any order that the waits between the streams allow.
CUresult finish_all(Context& context) {
    State& s = state();
    ++s.synchronisations;
    std::vector<Stream*> busy;
    for (;;) {
        busy.clear();
        for (const auto& stream : context.streams) {
            if (!stream->tasks.empty()) {
                busy.push_back(stream.get());
            }
        }
        if (busy.empty()) {
            return finished(context);
        }
        run_one(*busy[s.below(static_cast<unsigned>(busy.size()))]);
    }
}

void advance(Stream& stream) {
    if (!stream.tasks.empty()) {
        run_one(stream);
        close_memory();
    }
}

void abandon(Stream& stream) {
    for (Task& task : stream.tasks) {
        if (task.mark) {
            reach(*task.mark);
        }
    }
    stream.tasks.clear();
}
