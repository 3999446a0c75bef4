// Streams as queues: tasks wait until somebody waits for them.
#pragma once

#include <deque>
#include <functional>

#include "state.h"

using Work = std::function<CUresult()>;

struct Capture;

// A place in a stream that others may wait for.
struct Mark {
    // Null once it was reached.
    std::shared_ptr<Stream> stream;
    bool reached = false;
    double milliseconds = 0.0;
};

// Waits for a mark, does some work, reaches a mark: what of it is there.
struct Task {
    std::shared_ptr<Mark> awaited;
    Work work;
    std::shared_ptr<Mark> mark;
};

struct Stream : std::enable_shared_from_this<Stream> {
    Context* context;
    unsigned flags;
    int priority;
    bool destroyed = false;
    std::deque<Task> tasks;
    std::shared_ptr<Capture> capture;
    // Nodes of the capture that the next one comes after.
    std::vector<size_t> tails;

    Stream(Context* context, unsigned flags, int priority) : context(context), flags(flags), priority(priority) {}
    bool legacy() const { return context->streams[0].get() == this; }
    bool blocking() const { return !(flags & STREAM_NON_BLOCKING); }
};

// The stream of a handle in the current context, null being the legacy one.
CUresult find_stream(const Call& call, CUstream handle, Stream** out);

// Queues work, or adds it to the capture that the stream is in. The name is for messages, and for good.
CUresult submit(Stream& stream, NodeType type, const char* name, Work work);

// Makes the stream's next work follow that of the legacy stream, or the legacy stream's that of all blocking ones.
CUresult follow_legacy(Stream& stream);

// A mark behind all that is queued.
std::shared_ptr<Mark> add_mark(Stream& stream);

// Runs what a stream, a mark or a whole context still has to do. What cannot be waited for while capturing, the caller
// has refused. Gives the context's error.
CUresult finish(Stream& stream);
CUresult finish(const std::shared_ptr<Mark>& mark, Context& context);
CUresult finish_all(Context& context);

// Runs one task, where there is one.
void advance(Stream& stream);

// Drops what is queued; nobody waits for it any more.
void abandon(Stream& stream);
