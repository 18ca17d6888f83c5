#include "daemon/master/handover.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"
#include "base/settings.h"
#include "base/value.h"
#include "daemon/master/controlsocket.h"
#include "daemon/master/master_internal.h"
#include "daemon/scoreboard.h"
#include "daemon/site/shared.h"

#define FIRST_WORDS "tornadod upgrade "

/* What binaries before this one write is read, too; the newest first. */
static const char *const versions[] = {HANDOVER_VERSION, "4"};

enum kind { KIND_NUMBER, KIND_FD, KIND_TEXT };

struct field {
    const char *name; /* NULL ends them */
    enum kind kind;
    size_t offset;
    int64_t min, max;
};

#define AT(record, field) offsetof(struct handover_##record, field)
#define RECORD(record, min, max) static const struct field record##_fields[] = {
#define NUMBER(record, field, min, max) {#field, KIND_NUMBER, AT(record, field), min, max},
#define FD(record, field) {#field, KIND_FD, AT(record, field), STDERR_FILENO + 1, INT32_MAX},
#define FD_OR_NONE(record, field) {#field, KIND_FD, AT(record, field), -1, INT32_MAX},
#define TEXT(record, field) {#field, KIND_TEXT, AT(record, field), 0, 0},
#define END(record)                                                                                \
    {                                                                                              \
        NULL, KIND_TEXT, 0, 0, 0                                                                   \
    }                                                                                              \
    }                                                                                              \
    ;
#include "daemon/master/handover.def"

static const struct record {
    const char *name;
    size_t size, min, max;
    const struct field *fields;
} records[] = {
#define RECORD(record, min, max)                                                                   \
    {#record, sizeof(struct handover_##record), min, max, record##_fields},
#define NUMBER(record, field, min, max)
#define FD(record, field)
#define FD_OR_NONE(record, field)
#define TEXT(record, field)
#define END(record)
#include "daemon/master/handover.def"
};

static char *
row_at(const struct handover *handover, size_t kind, size_t i)
{
    return (char *)handover->of[kind].rows + i * records[kind].size;
}

static int64_t *
number_at(const char *row, const struct field *field)
{
    return (int64_t *)(void *)(row + field->offset);
}

static const char **
text_at(const char *row, const struct field *field)
{
    return (const char **)(void *)(row + field->offset);
}

void *
handover_add(struct handover *handover, enum handover_kind kind)
{
    struct handover_rows *rows = &handover->of[kind];
    const size_t size = records[kind].size;

    if (rows->count == rows->room) {
        const size_t room = rows->room > 0 ? 2 * rows->room : 4;
        void *larger = td_arena_alloc_array(handover->arena, size, room);
        if (rows->count > 0)
            memcpy(larger, rows->rows, rows->count * size);
        rows->rows = larger;
        rows->room = room;
    }
    return row_at(handover, kind, rows->count++);
}

/* ---- writing */

static void
put_text(td_buf *to, const char *text)
{
    for (; *text != '\0'; text++) {
        const char *found = strchr("\tt\nn\\\\", *text); /* the byte, then what stands for it */

        if (found != NULL && (*text == '\t' || *text == '\n' || *text == '\\'))
            td_buf_printf(to, "\\%c", found[1]);
        else
            td_buf_append(to, td_str_make(text, 1));
    }
}

static void
put_row(td_buf *to, const struct record *record, const char *row)
{
    td_buf_printf(to, "%s", record->name);
    for (const struct field *field = record->fields; field->name != NULL; field++) {
        td_buf_append(to, TD_STR("\t"));
        if (field->kind == KIND_TEXT)
            put_text(to, *text_at(row, field) != NULL ? *text_at(row, field) : "");
        else
            td_buf_printf(to, "%" PRId64, *number_at(row, field));
    }
    td_buf_append(to, TD_STR("\n"));
}

void
handover_write(const struct handover *handover, td_buf *to)
{
    td_buf_append(to, TD_STR(FIRST_WORDS HANDOVER_VERSION "\n"));
    for (size_t kind = 0; kind < HANDOVER_KINDS; kind++)
        for (size_t i = 0; i < handover->of[kind].count; i++)
            put_row(to, &records[kind], row_at(handover, kind, i));
    td_buf_append(to, TD_STR("end\n"));
}

/* ---- reading */

/* In place; false: a backslash before what needs none. */
static bool
unescape(char *text)
{
    char *end = text;

    for (; *text != '\0'; text++) {
        if (*text == '\\') {
            text++;
            if (*text != 't' && *text != 'n' && *text != '\\')
                return false;
            *end++ = *text == 't' ? '\t' : *text == 'n' ? '\n' : '\\';
        } else {
            *end++ = *text;
        }
    }
    *end = '\0';
    return true;
}

static int
read_field(const struct field *field, char *text, char *row, td_err *err)
{
    if (field->kind == KIND_TEXT) {
        *text_at(row, field) = text;
        return unescape(text) ? 0 : td_err_set(err, TD_EBADMSG, "%s: a wrong escape", field->name);
    }
    if (td_value_parse_int(text, field->min, field->max, number_at(row, field), NULL) < 0)
        return td_err_set(err, TD_EBADMSG, "%s: '%.32s' is no number in %" PRId64 "..%" PRId64,
                          field->name, text, field->min, field->max);
    return 0;
}

static int
read_row(struct handover *handover, size_t kind, char *rest, td_err *err)
{
    const struct record *record = &records[kind];

    if (handover->of[kind].count == record->max)
        return td_err_set(err, TD_EBADMSG, "more of them than %zu", record->max);
    char *row = handover_add(handover, (enum handover_kind)kind);
    for (const struct field *field = record->fields; field->name != NULL; field++) {
        char *text = strsep(&rest, "\t");
        if (text == NULL)
            return td_err_set(err, TD_EBADMSG, "%s: is missing", field->name);
        if (read_field(field, text, row, err) < 0)
            return err->code;
    }
    return rest == NULL ? 0 : td_err_set(err, TD_EBADMSG, "more fields than it has");
}

static int
read_line(struct handover *handover, char *line, td_err *err)
{
    char *rest = line;
    const char *name = strsep(&rest, "\t");

    for (size_t kind = 0; kind < HANDOVER_KINDS; kind++) {
        if (strcmp(records[kind].name, name) != 0)
            continue;
        return read_row(handover, kind, rest, err) == 0 ? 0 : td_err_prefix(err, "%s", name);
    }
    return td_err_set(err, TD_EBADMSG, "'%.32s' is no record", name);
}

/* ---- what refers to what */

static const struct handover_generation *
find_generation(const struct handover *handover, int64_t number)
{
    HANDOVER_EACH (generation, handover, generation) {
        if (generation->number == number)
            return generation;
    }
    return NULL;
}

static int
check_generations(const struct handover *handover, td_err *err)
{
    size_t serving = 0;

    HANDOVER_EACH (generation, handover, generation) {
        serving += !generation->drains;
        if (find_generation(handover, generation->number) != generation)
            return td_err_set(err, TD_EBADMSG, "two generations %" PRId64, generation->number);
    }
    if (serving != 1)
        return td_err_set(err, TD_EBADMSG, "%zu generations serve, not one", serving);
    HANDOVER_EACH (instance, handover, instance) {
        if (find_generation(handover, instance->generation) == NULL)
            return td_err_set(err, TD_EBADMSG, "a handler of no generation");
    }
    HANDOVER_EACH (worker, handover, worker) {
        if (find_generation(handover, worker->generation) == NULL)
            return td_err_set(err, TD_EBADMSG, "a worker of no generation");
        HANDOVER_EACH (other, handover, worker) {
            if (other < worker && other->pid == worker->pid)
                return td_err_set(err, TD_EBADMSG, "two workers %" PRId64, worker->pid);
        }
    }
    return 0;
}

static int
check_listeners(const struct handover *handover, td_err *err)
{
    const size_t count = handover->of[HANDOVER_listener].count;
    size_t sockets[LISTENERS_MAX] = {0};

    HANDOVER_EACH (socket, handover, socket) {
        if ((size_t)socket->listener >= count)
            return td_err_set(err, TD_EBADMSG, "a socket of no listener");
        sockets[socket->listener]++;
    }
    for (size_t i = 0; i < count; i++) {
        if (sockets[i] == 0)
            return td_err_set(err, TD_EBADMSG, "a listener without a socket");
    }
    return 0;
}

static int
check(const struct handover *handover, td_err *err)
{
    for (size_t kind = 0; kind < HANDOVER_KINDS; kind++) {
        if (handover->of[kind].count < records[kind].min)
            return td_err_set(err, TD_EBADMSG, "no %s", records[kind].name);
    }
    return check_generations(handover, err) == 0 ? check_listeners(handover, err) : err->code;
}

/* NULL: it is none of ours. */
static const char *
find_version(const char *line)
{
    const size_t len = strlen(FIRST_WORDS);

    for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
        if (strncmp(line, FIRST_WORDS, len) == 0 && strcmp(line + len, versions[i]) == 0)
            return versions[i];
    }
    return NULL;
}

int
handover_read(td_arena *arena, td_str text, struct handover *out, td_err *err)
{
    struct handover handover = {.arena = arena};
    unsigned number = 1;

    if (text.len > HANDOVER_SIZE_MAX || memchr(text.ptr, '\0', text.len) != NULL)
        return td_err_set(err, TD_EBADMSG, "what is handed over is no text, or too long");
    char *rest = (char *)td_str_dup(arena, text).ptr; /* ours, with a NUL behind it */
    char *line = strsep(&rest, "\n");
    handover.version = find_version(line);
    if (handover.version == NULL)
        return td_err_set(err, TD_EBADMSG, "'%.32s' is handed over, and this binary takes '%s'",
                          line, FIRST_WORDS HANDOVER_VERSION);
    while ((line = strsep(&rest, "\n")) != NULL && strcmp(line, "end") != 0) {
        number++;
        if (read_line(&handover, line, err) < 0)
            return td_err_prefix(err, "what is handed over, line %u", number);
    }
    if (line == NULL || rest == NULL || *rest != '\0')
        return td_err_set(err, TD_EBADMSG, "what is handed over has no end, or goes on behind it");
    if (check(&handover, err) < 0)
        return td_err_prefix(err, "what is handed over");
    *out = handover;
    return 0;
}

/* ---- descriptors */

void
handover_each_fd(const struct handover *handover, void (*each)(void *arg, int fd), void *arg)
{
    for (size_t kind = 0; kind < HANDOVER_KINDS; kind++) {
        for (size_t i = 0; i < handover->of[kind].count; i++) {
            const char *row = row_at(handover, kind, i);
            for (const struct field *field = records[kind].fields; field->name != NULL; field++)
                if (field->kind == KIND_FD && *number_at(row, field) >= 0)
                    each(arg, (int)*number_at(row, field));
        }
    }
}

struct found_fds {
    int *fds;
    size_t count;
};

static void
note_fd(void *arg, int fd)
{
    struct found_fds *found = arg;

    found->fds = td_xrealloc(found->fds, (found->count + 1) * sizeof(int));
    found->fds[found->count++] = fd;
}

static int
compare_fds(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b; /* none is negative */
}

int
handover_check_fds(const struct handover *handover, td_err *err)
{
    struct found_fds found = {NULL, 0};
    int rc = 0, accepts;
    socklen_t size = sizeof(accepts);

    handover_each_fd(handover, note_fd, &found);
    if (found.count > 0)
        qsort(found.fds, found.count, sizeof(int), compare_fds);
    for (size_t i = 0; rc == 0 && i < found.count; i++) {
        if (fcntl(found.fds[i], F_GETFD) < 0)
            rc = td_err_set(err, TD_EBADMSG, "descriptor %d is not open", found.fds[i]);
        else if (i > 0 && found.fds[i] == found.fds[i - 1])
            rc = td_err_set(err, TD_EBADMSG, "descriptor %d is named twice", found.fds[i]);
    }
    free(found.fds);
    HANDOVER_EACH (socket, handover, socket) {
        if (rc == 0 && (getsockopt((int)socket->fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &size) < 0 ||
                        !accepts))
            rc = td_err_set(err, TD_EBADMSG, "descriptor %d does not listen", (int)socket->fd);
    }
    return rc;
}
