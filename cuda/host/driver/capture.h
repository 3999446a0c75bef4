// Captures, and the graphs that they become.
#pragma once

#include <thread>

#include "queue.h"

struct Node {
    NodeType type;
    // A kernel's, or what the node is in words.
    const char* name;
    Work work;
    // Nodes, by number, that run before.
    std::vector<size_t> after;
};

struct Capture {
    Stream* origin;
    std::thread::id thread;
    CaptureMode mode;
    bool invalid = false, ended = false;
    std::vector<Node> nodes;
    std::vector<std::shared_ptr<Stream>> members;
};

struct Graph {
    Context* context;
    std::shared_ptr<const std::vector<Node>> nodes;
};

// An instance of a graph. One launch of it follows the other, in whichever streams they are.
struct Program {
    Context* context;
    std::shared_ptr<const std::vector<Node>> nodes;
    // Launches so far: some are looked at for nodes that no edge keeps apart though they touch the same bytes.
    std::shared_ptr<uint64_t> launches;
    std::shared_ptr<Mark> last;
};

CUresult add_node(Stream& stream, NodeType type, const char* name, Work work);

// Makes a stream's next work follow an event's; a stream that is in no capture joins the event's.
CUresult join_capture(Stream& stream, const std::shared_ptr<Capture>& capture, const std::vector<size_t>& tails);

// Ends a capture without a graph.
void discard(Capture& capture);

// Refuses what is unsafe beside a capture of this thread or of the whole process, and invalidates that.
CUresult refuse_in_capture();

// Refuses to wait for a whole context while one of its streams is capturing.
CUresult refuse_in_capture(const Context& context);

// Refuses to wait for a stream that is capturing, or, for the legacy one, that others capture beside.
CUresult refuse_in_capture(const Stream& stream);
