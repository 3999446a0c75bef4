#include "capture.h"

#include <algorithm>

namespace {

// Those that have not ended.
std::vector<std::shared_ptr<Capture>>& captures() {
    static auto* list = new std::vector<std::shared_ptr<Capture>>;
    return *list;
}

thread_local CaptureMode thread_mode = CAPTURE_GLOBAL;

CUresult invalidate(Capture& capture, CUresult why) {
    capture.invalid = true;
    return why;
}

// Whether all that was forked has come back to the stream where the capture began.
bool joined(const Capture& capture) {
    std::vector<char> seen(capture.nodes.size(), 0);
    std::vector<size_t> open = capture.origin->tails;
    while (!open.empty()) {
        size_t node = open.back();
        open.pop_back();
        if (!seen[node]) {
            seen[node] = 1;
            const auto& after = capture.nodes[node].after;
            open.insert(open.end(), after.begin(), after.end());
        }
    }
    return std::all_of(seen.begin(), seen.end(), [](char x) { return x != 0; });
}

}  // namespace

CUresult add_node(Stream& stream, NodeType type, const char* name, Work work) {
    Capture& capture = *stream.capture;
    if (capture.invalid) {
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    capture.nodes.push_back({type, name, std::move(work), stream.tails});
    stream.tails = {capture.nodes.size() - 1};
    return CUDA_SUCCESS;
}

CUresult join_capture(Stream& stream, const std::shared_ptr<Capture>& capture, const std::vector<size_t>& tails) {
    if (capture->ended) {
        return CUDA_ERROR_CAPTURED_EVENT;
    }
    if (capture->invalid) {
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    if (stream.legacy()) {
        return invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    }
    if (stream.capture && stream.capture != capture) {
        stream.capture->invalid = true;
        return invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_MERGE);
    }
    if (!stream.capture) {
        stream.capture = capture;
        capture->members.push_back(stream.shared_from_this());
    }
    for (size_t tail : tails) {
        if (std::find(stream.tails.begin(), stream.tails.end(), tail) == stream.tails.end()) {
            stream.tails.push_back(tail);
        }
    }
    return CUDA_SUCCESS;
}

void discard(Capture& capture) {
    capture.ended = true;
    // The streams held the capture alive.
    auto& all = captures();
    auto found = std::find_if(all.begin(), all.end(), [&](const auto& other) { return other.get() == &capture; });
    std::shared_ptr<Capture> alive = *found;
    all.erase(found);
    for (const auto& stream : alive->members) {
        stream->capture.reset();
        stream->tails.clear();
    }
    alive->members.clear();
}

CUresult refuse_in_capture() {
    CUresult result = CUDA_SUCCESS;
    for (const auto& capture : captures()) {
        bool mine = capture->mode != CAPTURE_RELAXED && capture->thread == std::this_thread::get_id();
        bool of_all = capture->mode == CAPTURE_GLOBAL && thread_mode == CAPTURE_GLOBAL;
        if (thread_mode != CAPTURE_RELAXED && (mine || of_all)) {
            result = invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        }
    }
    return result;
}

CUresult refuse_in_capture(const Context& context) {
    CUresult result = CUDA_SUCCESS;
    for (const auto& stream : context.streams) {
        if (stream->capture) {
            result = invalidate(*stream->capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        }
    }
    return result;
}

CUresult refuse_in_capture(const Stream& stream) {
    return stream.capture ? invalidate(*stream.capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED) : CUDA_SUCCESS;
}

API CUresult cuThreadExchangeStreamCaptureMode(CaptureMode* mode) {
    ENTER(DRIVER);
    if (!mode || *mode > CAPTURE_RELAXED) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    std::swap(*mode, thread_mode);
    return CUDA_SUCCESS;
}

API CUresult cuStreamBeginCapture_v2(CUstream handle, CaptureMode mode) {
    ENTER(CONTEXT);
    Stream* stream;
    TRY(find_stream(call, handle, &stream));
    if (mode > CAPTURE_RELAXED) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (stream->legacy()) {
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    if (stream->capture) {
        return CUDA_ERROR_ILLEGAL_STATE;
    }
    auto capture = std::make_shared<Capture>();
    capture->origin = stream;
    capture->thread = std::this_thread::get_id();
    capture->mode = mode;
    capture->members.push_back(stream->shared_from_this());
    captures().push_back(capture);
    stream->capture = capture;
    return CUDA_SUCCESS;
}

API CUresult cuStreamEndCapture(CUstream handle, CUgraph* out) {
    ENTER(CONTEXT);
    Stream* stream;
    TRY(find_stream(call, handle, &stream));
    if (!out) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *out = nullptr;
    std::shared_ptr<Capture> capture = stream->capture;
    if (!capture) {
        return CUDA_ERROR_ILLEGAL_STATE;
    }
    if (capture->mode != CAPTURE_RELAXED && capture->thread != std::this_thread::get_id()) {
        return invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
    }
    if (capture->origin != stream) {
        return invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    }
    bool whole = joined(*capture);
    discard(*capture);
    if (capture->invalid) {
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    if (!whole) {
        return CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
    }
    auto graph = std::make_shared<Graph>();
    graph->context = call.context;
    graph->nodes = std::make_shared<const std::vector<Node>>(std::move(capture->nodes));
    *out = call.s.graphs.add(graph);
    return CUDA_SUCCESS;
}

API CUresult cuStreamIsCapturing(CUstream handle, CaptureStatus* out) {
    ENTER(CONTEXT);
    Stream* stream;
    TRY(find_stream(call, handle, &stream));
    *out = !stream->capture ? CAPTURE_NONE : stream->capture->invalid ? CAPTURE_INVALIDATED : CAPTURE_ACTIVE;
    return CUDA_SUCCESS;
}
