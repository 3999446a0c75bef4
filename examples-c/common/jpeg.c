#include "jpeg.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool jpeg_begins(const char *path)
{
    unsigned char start[3];
    FILE *file = fopen(path, "rb");
    bool begins = file && fread(start, 1, sizeof start, file) == sizeof start && memcmp(start, "\xff\xd8\xff", 3) == 0;
    if (file) {
        fclose(file);
    }
    return begins;
}

bool picture_read(const char *path, Picture *picture)
{
    return jpeg_begins(path) ? picture_read_jpeg(path, picture) : picture_read_png(path, picture);
}

#ifdef EXAMPLES_JPEG

#include <setjmp.h>

#include <jpeglib.h>

/* What must survive libjpeg's long jump, outside the function that calls setjmp. */
typedef struct {
    struct jpeg_error_mgr errors; /* first, as libjpeg hands a pointer to it back */
    jmp_buf failed;
    const char *path;
    FILE *file;
    struct jpeg_decompress_struct jpeg;
    Picture picture;
} Reader;

static void on_error(j_common_ptr jpeg)
{
    Reader *reader = (Reader *)jpeg->err;
    char message[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, message);
    fprintf(stderr, "%s: libjpeg reports: %s\n", reader->path, message);
    longjmp(reader->failed, 1);
}

/* A damaged file would come out grey in places. */
static void on_message(j_common_ptr jpeg, int level)
{
    if (level < 0) {
        on_error(jpeg);
    }
}

static bool decode(Reader *reader)
{
    if (setjmp(reader->failed)) {
        return false;
    }
    struct jpeg_decompress_struct *jpeg = &reader->jpeg;
    jpeg_create_decompress(jpeg);
    jpeg_stdio_src(jpeg, reader->file);
    jpeg_read_header(jpeg, TRUE);
    jpeg->out_color_space = JCS_RGB;
    jpeg_start_decompress(jpeg);
    if (!picture_create(jpeg->output_width, jpeg->output_height, &reader->picture)) {
        return false;
    }
    while (jpeg->output_scanline < jpeg->output_height) {
        JSAMPROW row = reader->picture.rgb + (size_t)3 * jpeg->output_width * jpeg->output_scanline;
        jpeg_read_scanlines(jpeg, &row, 1);
    }
    jpeg_finish_decompress(jpeg);
    return true;
}

bool picture_read_jpeg(const char *path, Picture *picture)
{
    Reader reader;
    memset(&reader, 0, sizeof reader);
    reader.path = path;
    reader.file = fopen(path, "rb");
    if (!reader.file) {
        fprintf(stderr, "%s cannot be opened: %s.\n", path, strerror(errno));
        return false;
    }
    reader.jpeg.err = jpeg_std_error(&reader.errors);
    reader.errors.error_exit = on_error;
    reader.errors.emit_message = on_message;
    bool read = decode(&reader);
    jpeg_destroy_decompress(&reader.jpeg);
    fclose(reader.file);
    if (!read) {
        picture_free(&reader.picture);
        return false;
    }
    *picture = reader.picture;
    return true;
}

#else

bool picture_read_jpeg(const char *path, Picture *picture)
{
    (void)picture;
    fprintf(stderr, "%s is a JPEG file, and this program was built without libjpeg.\n", path);
    return false;
}

#endif
