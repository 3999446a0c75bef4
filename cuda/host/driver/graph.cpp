// Graphs: instances and their launches.
#include <algorithm>
#include <string>

#include "../watch.h"
#include "capture.h"
#include "control.h"
#include "graph_check.h"

namespace {

// In any order in which each node comes after those it follows. Records what the nodes touch where `touched` is given.
CUresult replay(const std::vector<Node>& nodes, std::vector<host::Touched>* touched) {
    std::vector<size_t> missing(nodes.size()), ready;
    std::vector<std::vector<size_t>> followers(nodes.size());
    for (size_t i = 0; i < nodes.size(); ++i) {
        missing[i] = nodes[i].after.size();
        for (size_t before : nodes[i].after) {
            followers[before].push_back(i);
        }
        if (missing[i] == 0) {
            ready.push_back(i);
        }
    }
    while (!ready.empty()) {
        std::swap(ready[state().below(static_cast<unsigned>(ready.size()))], ready.back());
        size_t node = ready.back();
        ready.pop_back();
        if (touched) {
            sfeuot_host_record();
        }
        CUresult done = nodes[node].work();
        if (touched) {
            sfeuot_host_recorded(&(*touched)[node]);
        }
        TRY(done);
        for (size_t follower : followers[node]) {
            if (--missing[follower] == 0) {
                ready.push_back(follower);
            }
        }
    }
    return CUDA_SUCCESS;
}

// The last graph that was instantiated, as text.
std::string& listing() {
    static auto* text = new std::string;
    return *text;
}

// What a node does, without spaces: a kernel's name, or the last word of what it is for messages.
std::string word(const Node& node) {
    std::string name = node.name;
    return name.substr(name.rfind(' ') + 1);
}

// A line a node: what it does, and the numbers of the nodes (lines, from 0) that it comes right after.
std::string list(const std::vector<Node>& nodes) {
    std::string text;
    for (const Node& node : nodes) {
        text += word(node);
        for (size_t before : node.after) {
            text += ' ' + std::to_string(before);
        }
        text += '\n';
    }
    return text;
}

// Every so many launches of a program, from the first on, are looked at: what a node touches may depend on the data.
constexpr uint64_t LAUNCHES_A_LOOK = 16;

// Shows whether nodes are in each other's way, where kernels are watched.
CUresult replay(const std::vector<Node>& nodes, uint64_t& launches) {
    // A graph within one that is looked at is part of that.
    static bool looking = false;
    if (looking || !sfeuot_host_watches() || launches++ % LAUNCHES_A_LOOK != 0) {
        return replay(nodes, nullptr);
    }
    looking = true;
    std::vector<host::Touched> touched(nodes.size());
    CUresult done = replay(nodes, &touched);
    looking = false;
    TRY(done);
    return unordered_nodes_touch_the_same(nodes, touched) ? CUDA_ERROR_LAUNCH_FAILED : CUDA_SUCCESS;
}

}  // namespace

size_t sfeuot_sim_graph(char* out, size_t room) {
    std::unique_lock<std::mutex> held(state().mutex);
    return listing().copy(out, room);
}

API CUresult cuGraphInstantiateWithFlags(CUgraphExec* out, CUgraph handle, unsigned long long) {
    ENTER(CONTEXT);
    auto graph = call.s.graphs.get(handle);
    if (!out || !graph) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    listing() = list(*graph->nodes);
    Program program{graph->context, graph->nodes, std::make_shared<uint64_t>(0), nullptr};
    *out = call.s.programs.add(std::make_shared<Program>(std::move(program)));
    return CUDA_SUCCESS;
}

API CUresult cuGraphUpload(CUgraphExec handle, CUstream stream_handle) {
    ENTER(CONTEXT);
    Stream* stream;
    TRY(find_stream(call, stream_handle, &stream));
    auto program = call.s.programs.get(handle);
    return program && program->context == call.context ? refuse_in_capture(*stream) : CUDA_ERROR_INVALID_VALUE;
}

API CUresult cuGraphLaunch(CUgraphExec handle, CUstream stream_handle) {
    ENTER(CONTEXT);
    Stream* stream;
    TRY(find_stream(call, stream_handle, &stream));
    auto program = call.s.programs.get(handle);
    if (!program || program->context != call.context) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (!stream->capture && program->last && !program->last->reached) {
        stream->tasks.push_back({program->last, nullptr, nullptr});
    }
    TRY(submit(*stream, NODE_GRAPH, "a graph",
               [nodes = program->nodes, launches = program->launches] { return replay(*nodes, *launches); }));
    if (!stream->capture) {
        program->last = add_mark(*stream);
    }
    return CUDA_SUCCESS;
}

API CUresult cuGraphExecDestroy(CUgraphExec handle) {
    ENTER(DRIVER);
    if (!call.s.programs.get(handle)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    call.s.programs.remove(handle);
    return CUDA_SUCCESS;
}

API CUresult cuGraphDestroy(CUgraph handle) {
    ENTER(DRIVER);
    if (!call.s.graphs.get(handle)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    call.s.graphs.remove(handle);
    return CUDA_SUCCESS;
}

// Without room for nodes, gives their number.
API CUresult cuGraphGetNodes(CUgraph handle, CUgraphNode* out, size_t* count) {
    ENTER(DRIVER);
    auto graph = call.s.graphs.get(handle);
    if (!graph || !count) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    const std::vector<Node>& nodes = *graph->nodes;
    if (!out) {
        *count = nodes.size();
        return CUDA_SUCCESS;
    }
    for (size_t i = 0; i < *count; ++i) {
        out[i] = i < nodes.size() ? &nodes[i] : nullptr;
    }
    *count = std::min(*count, nodes.size());
    return CUDA_SUCCESS;
}

API CUresult cuGraphNodeGetType(CUgraphNode node, NodeType* out) {
    ENTER(DRIVER);
    *out = node->type;
    return CUDA_SUCCESS;
}
