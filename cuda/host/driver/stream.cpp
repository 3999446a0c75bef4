// Streams and events.
#include "capture.h"

struct Event {
    Context* context;
    bool timed;
    // Where it was recorded last, in a queue or in a capture.
    std::shared_ptr<Mark> mark;
    std::shared_ptr<Capture> capture;
    std::vector<size_t> tails;
};

namespace {

CUresult find_event(const Call& call, CUevent handle, Event** out) {
    *out = call.s.events.get(handle).get();
    return *out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult create_stream(const Call& call, CUstream* out, unsigned flags, int priority) {
    if (!out || flags > STREAM_NON_BLOCKING) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    auto stream = std::make_shared<Stream>(call.context, flags, priority);
    call.context->streams.push_back(stream);
    *out = call.s.streams.add(stream);
    return CUDA_SUCCESS;
}

CUresult elapsed(const Call& call, float* out, CUevent start_handle, CUevent end_handle) {
    Event *start, *end;
    TRY(find_event(call, start_handle, &start));
    TRY(find_event(call, end_handle, &end));
    if (!start->timed || !end->timed || !start->mark || !end->mark) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (!start->mark->reached || !end->mark->reached) {
        return CUDA_ERROR_NOT_READY;
    }
    *out = static_cast<float>(end->mark->milliseconds - start->mark->milliseconds);
    return CUDA_SUCCESS;
}

}  // namespace

// Events of a context that is destroyed.
void forget_events(const Context* context) {
    state().events.remove_where([=](const Event& event) { return event.context == context; });
}

API CUresult cuStreamCreate(CUstream* out, unsigned flags) {
    ENTER(CONTEXT);
    return create_stream(call, out, flags, 0);
}

API CUresult cuStreamCreateWithPriority(CUstream* out, unsigned flags, int priority) {
    ENTER(CONTEXT);
    return create_stream(call, out, flags, priority);
}

API CUresult cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    ENTER(CONTEXT);
    *least = 0;
    *greatest = -5;
    return CUDA_SUCCESS;
}

// Work that is left still runs, when somebody waits for the context.
API CUresult cuStreamDestroy_v2(CUstream handle) {
    ENTER(FAILED_CONTEXT);
    auto stream = call.s.streams.get(handle);
    if (!stream || stream->context != call.context) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (stream->capture && stream->capture->origin == stream.get()) {
        discard(*stream->capture);
    } else if (stream->capture) {
        stream->capture->invalid = true;
    }
    stream->destroyed = true;
    call.s.streams.remove(handle);
    if (stream->tasks.empty()) {
        auto& all = call.context->streams;
        for (size_t i = 0; i < all.size(); ++i) {
            if (all[i] == stream) {
                all.erase(all.begin() + static_cast<std::ptrdiff_t>(i));
                break;
            }
        }
    }
    return call.context->error;
}

API CUresult cuStreamSynchronize(CUstream handle) {
    ENTER(CONTEXT);
    Stream* stream;
    TRY(find_stream(call, handle, &stream));
    TRY(refuse_in_capture(*stream));
    return finish(*stream);
}

// Whoever asks again and again shall see an end: each call runs a task.
API CUresult cuStreamQuery(CUstream handle) {
    ENTER(CONTEXT);
    Stream* stream;
    TRY(find_stream(call, handle, &stream));
    TRY(refuse_in_capture(*stream));
    if (stream->legacy()) {
        TRY(follow_legacy(*stream));
    }
    if (stream->tasks.empty()) {
        return CUDA_SUCCESS;
    }
    advance(*stream);
    return call.context->error != CUDA_SUCCESS ? call.context->error : CUDA_ERROR_NOT_READY;
}

API CUresult cuStreamGetCtx(CUstream handle, CUcontext* out) {
    ENTER(FAILED_CONTEXT);
    Stream* stream;
    // The stream may belong to any context, because hosts call this to find out.
    if (auto found = call.s.streams.get(handle)) {
        stream = found.get();
    } else {
        TRY(find_stream(call, handle, &stream));
    }
    *out = stream->context;
    return CUDA_SUCCESS;
}

API CUresult cuStreamWaitEvent(CUstream handle, CUevent event_handle, unsigned) {
    ENTER(CONTEXT);
    Stream* stream;
    Event* event;
    TRY(find_stream(call, handle, &stream));
    TRY(find_event(call, event_handle, &event));
    if (event->capture) {
        return join_capture(*stream, event->capture, event->tails);
    }
    if (!event->mark) {
        return CUDA_SUCCESS;
    }
    if (stream->capture) {
        stream->capture->invalid = true;
        return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
    if (!event->mark->reached) {
        TRY(follow_legacy(*stream));
        stream->tasks.push_back({event->mark, nullptr, nullptr});
    }
    return CUDA_SUCCESS;
}

API CUresult cuEventCreate(CUevent* out, unsigned flags) {
    ENTER(CONTEXT);
    if (!out || flags > 7) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    auto event = std::make_shared<Event>();
    event->context = call.context;
    event->timed = !(flags & EVENT_DISABLE_TIMING);
    *out = call.s.events.add(event);
    return CUDA_SUCCESS;
}

API CUresult cuEventDestroy_v2(CUevent handle) {
    ENTER(FAILED_CONTEXT);
    Event* event;
    TRY(find_event(call, handle, &event));
    call.s.events.remove(handle);
    return call.context->error;
}

API CUresult cuEventRecord(CUevent handle, CUstream stream_handle) {
    ENTER(CONTEXT);
    Stream* stream;
    Event* event;
    TRY(find_stream(call, stream_handle, &stream));
    TRY(find_event(call, handle, &event));
    if (event->context != call.context) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (stream->capture && stream->capture->invalid) {
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    event->mark.reset();
    event->capture = stream->capture;
    event->tails = stream->tails;
    if (!stream->capture) {
        TRY(follow_legacy(*stream));
        event->mark = add_mark(*stream);
    }
    return CUDA_SUCCESS;
}

API CUresult cuEventSynchronize(CUevent handle) {
    ENTER(CONTEXT);
    Event* event;
    TRY(find_event(call, handle, &event));
    if (event->capture) {
        event->capture->invalid = true;
        return CUDA_ERROR_CAPTURED_EVENT;
    }
    TRY(refuse_in_capture());
    return event->mark ? finish(event->mark, *call.context) : CUDA_SUCCESS;
}

API CUresult cuEventQuery(CUevent handle) {
    ENTER(CONTEXT);
    Event* event;
    TRY(find_event(call, handle, &event));
    if (event->capture) {
        event->capture->invalid = true;
        return CUDA_ERROR_CAPTURED_EVENT;
    }
    TRY(refuse_in_capture());
    if (!event->mark || event->mark->reached) {
        return CUDA_SUCCESS;
    }
    advance(*std::shared_ptr<Stream>(event->mark->stream));
    return call.context->error != CUDA_SUCCESS ? call.context->error : CUDA_ERROR_NOT_READY;
}

API CUresult cuEventElapsedTime(float* out, CUevent start, CUevent end) {
    ENTER(CONTEXT);
    return elapsed(call, out, start, end);
}

API CUresult cuEventElapsedTime_v2(float* out, CUevent start, CUevent end) {
    ENTER(CONTEXT);
    return elapsed(call, out, start, end);
}
