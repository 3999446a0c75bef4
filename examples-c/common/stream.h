/* Pictures of a folder without an end, decoded on threads while a training takes them. */
#ifndef EXAMPLES_STREAM_H
#define EXAMPLES_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "folder.h"
#include "images.h"
#include "thread.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The files come in epochs, each a new order of all of them that is a function of the seed and the epoch's number. So the
 * picture of a number is always the same one, however many threads decode. A sample, the first pictures of the first epoch,
 * stays in memory; the stream begins with `opening` pictures out of it, and the epochs follow them.
 *
 * Threads decode ahead into a ring of slots. They run from the first picture that is taken until the stream is moved or
 * closed. All zero is a closed stream. It stays where it is in memory while it is open.
 */
typedef struct {
    PathList files;
    const Images *sample; /* not owned; its channels are those of all pictures */
    uint32_t size;
    uint32_t decoders;
    uint64_t seed;
    uint64_t opening;
    bool flip;     /* whether one in two pictures is mirrored, left to right */
    uint32_t crop; /* the most pixels by which a picture is moved along either side */

    uint64_t next;    /* number of the next picture */
    uint64_t batches; /* to be passed over before the next one, as large as that */

    Thread threads[MOST_THREADS];
    uint32_t started; /* threads */
    size_t slots;     /* in the ring; picture number n of the epochs lies in slot n % slots */
    uint8_t *pixels;  /* three planes for each slot */

    Monitor monitor; /* of those below */
    uint8_t *states; /* of the slots */
    uint64_t begun;  /* pictures of the epochs that decoders have begun */
    uint64_t taken;  /* and that are taken out again */
    bool ending;     /* decoders begin no more */
    size_t *order;   /* of the files in the epoch of the picture begun last */
    uint64_t epoch;
} Stream;

typedef struct {
    const char *folder;
    uint32_t size;     /* pixels of a side that pictures are averaged down to */
    uint32_t decoders; /* threads, 1 to MOST_THREADS */
    size_t ahead;      /* pictures to decode ahead, where they take no more than 256 MiB */
    uint64_t seed;
    uint64_t opening;
    bool flip;
    uint32_t crop; /* less than size */
} StreamSettings;

/*
 * Lists the folder, and reads the sample: up to 4096 pictures, fewer where these would take more than 256 MiB. The sample
 * has to live as long, and may be given three channels before the first picture is taken. A sample that is all grey makes
 * the stream grey; a picture with colours is then refused when its turn comes. Prints a sentence and returns false on
 * failure.
 */
bool stream_open(const StreamSettings *settings, Stream *stream, Images *sample);

/* Goes to a picture, and passes over so many batches, as large as the next one, before it gives any. */
void stream_move(Stream *stream, uint64_t next, uint64_t batches);

/* Returns when all threads have ended. */
void stream_close(Stream *stream);

/*
 * SfeuotSampleCallback; userdata is a Stream. A picture that cannot be read has printed a sentence when it returns 1; one that
 * was decoded ahead prints it even where the training ends before its turn.
 */
int32_t stream_draw(void *userdata, float *batch, uint64_t rows, uint64_t dimension);

#ifdef __cplusplus
}
#endif

#endif
