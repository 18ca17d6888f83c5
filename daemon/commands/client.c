#include "daemon/commands/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/escape.h"
#include "base/ini.h"
#include "base/settings.h"
#include "daemon/master/controlsocket.h"

#define ANSWER_MAX (64u << 20) /* bytes */
#define STATUS_PATIENCE_S 10

/* ---- the way there */

/* Paths are relative to the file that they stand in. */
static const char *
beside_file(td_arena *arena, const td_ini_entry *entry)
{
    const char *file = entry->source.file, *slash = strrchr(file, '/');

    if (entry->value[0] == '/' || slash == NULL || strcmp(entry->value, "off") == 0)
        return entry->value;
    return td_arena_sprintf(arena, "%.*s%s", (int)(slash + 1 - file), file, entry->value).ptr;
}

/*
 * A mistake elsewhere in the settings is no reason not to ask: the daemon goes on with those that
 * it has read.  False: they do not say where it is.
 */
static bool
find_despite_mistake(td_arena *arena, const struct options *options, const char **path_out)
{
    static const char key[] = "tornadod.control=";
    td_configuration configuration = {.tornadod = {.control = NULL}};
    const char **control = &configuration.tornadod.control;
    td_ini ini;
    td_err mistake;

    if (options->path == NULL)
        return false;
    td_ini_init(&ini, arena);
    td_ini_read_file(&ini, options->path, &mistake); /* up to a line that is none */
    const td_ini_section *section = td_ini_find_section(&ini, "tornadod");
    const td_ini_entry *entry = section != NULL ? td_ini_find(section, "control") : NULL;
    if (entry != NULL)
        *control = beside_file(arena, entry);
    for (size_t i = 0; i < options->overrides_count; i++)
        if (strncmp(options->overrides[i], key, sizeof(key) - 1) == 0)
            *control = options->overrides[i] + sizeof(key) - 1;
    *path_out = controlsocket_path(arena, &configuration, options->path);
    return *path_out != NULL;
}

/* mistake_out: what is wrong with settings that tell where the daemon is nevertheless. */
static int
find_socket(td_arena *arena, const struct command_line *line, const char **path_out,
            td_err *mistake_out, td_err *err)
{
    const td_configuration *configuration;
    const struct options *options = &line->options;

    if (td_settings_load(arena, options->path, options->overrides, options->overrides_count,
                         &configuration, err) < 0) {
        if (err->code == TD_ECONFIG && find_despite_mistake(arena, options, path_out)) {
            *mistake_out = *err;
            return 0;
        }
        return err->code = TD_ECONFIG;
    }
    *path_out = controlsocket_path(arena, configuration, options->path);
    if (*path_out == NULL)
        return td_err_set(err, TD_ECLOSED,
                          configuration->tornadod.control != NULL
                              ? "control is off in its settings"
                              : "there is no /run/tornadod, and no control in its settings");
    return 0;
}

static int
connect_to(const char *path, int patience_s, int *fd_out, td_err *err)
{
    const struct timeval patience = {.tv_sec = patience_s};
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(address.sun_path))
        return td_err_set(err, TD_ECONFIG, "%s: longer than a socket's path may be", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return td_err_errno(err, "socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        const bool nobody = errno == ENOENT || errno == ECONNREFUSED;
        td_err_errno(err, "no daemon at %s", path);
        close(fd);
        return nobody ? err->code = TD_ECLOSED : err->code;
    }
    *fd_out = fd;
    return 0;
}

/* ---- asking */

static int
send_request(int fd, const char *request, const char *argument, const char *ini, td_err *err)
{
    td_buf text = {0};

    td_buf_printf(&text, "%s\t%s\t%s\n", request, argument, ini);
    /* A daemon that refuses us may have closed already; then there is an answer to read. */
    if (send(fd, td_buf_str(&text).ptr, text.len, MSG_NOSIGNAL) < 0 && errno != EPIPE)
        td_err_errno(err, "asking");
    else
        err->code = 0;
    td_buf_release(&text);
    return err->code;
}

static int
read_answer(int fd, td_buf *out, td_err *err)
{
    ssize_t n;

    while ((n = recv(fd, td_buf_reserve(out, 65536), 65536, 0)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return td_err_set(err, TD_ETIMEDOUT, "the daemon does not answer");
        if (n < 0 && errno == ECONNRESET)
            return 0; /* what came before it is what there is */
        if (n < 0)
            return td_err_errno(err, "waiting for the answer");
        td_buf_added(out, (size_t)n);
        if (out->len > ANSWER_MAX)
            return td_err_set(err, TD_ETOOBIG, "the answer is too long");
    }
    return 0;
}

/* Leaves the body of a good one. */
static int
judge(td_buf *answer, td_err *err)
{
    const td_str all = td_buf_str(answer);

    if (all.len >= 3 && memcmp(all.ptr, "ok\n", 3) == 0) {
        td_buf_consume(answer, 3);
        return 0;
    }
    if (all.len > 6 && memcmp(all.ptr, "error ", 6) == 0)
        return td_err_set(err, TD_EINVAL, "%.*s", (int)(all.len - 6), all.ptr + 6);
    return td_err_set(err, TD_ECLOSED, "the daemon ended before it answered");
}

int
client_ask(const struct command_line *line, const char *path, const char *request,
           const char *argument, int patience_s, td_buf *answer_out, td_err *err)
{
    const char *ini_option = line->options.path;
    char *ini = path == NULL && ini_option != NULL ? realpath(ini_option, NULL) : NULL;
    td_err mistake = {.code = 0};
    td_buf answer = {0};
    td_arena arena;
    int fd = -1, rc = 0;

    td_arena_init(&arena);
    if (path == NULL)
        rc = find_socket(&arena, line, &path, &mistake, err);
    if (rc == 0)
        rc = connect_to(path, patience_s, &fd, err);
    if (rc < 0 && mistake.code != 0) {
        *err = mistake;
        rc = err->code;
    }
    if (rc < 0)
        goto done;
    rc = send_request(fd, request, argument != NULL ? argument : "", ini != NULL ? ini : "", err);
    if (rc == 0)
        rc = read_answer(fd, &answer, err);
    if (rc == 0)
        rc = judge(&answer, err);
    close(fd);
    if (rc < 0)
        td_buf_release(&answer);
    else
        *answer_out = answer;

done:
    td_arena_fini(&arena);
    free(ini);
    return rc;
}

int
client_fail(const char *command, const td_err *err)
{
    fprintf(stderr, "tornadod %s: %s\n", command, err->text);
    return err->code == TD_ECLOSED ? EXIT_NO_DAEMON : EXIT_FAILURE;
}

int
client_run(int argc, char **argv, const char *request, int patience_s)
{
    const char *path = NULL;
    const struct command_option own[] = {CLIENT_OPTION(path)};
    struct command_line line;
    td_buf answer = {0};
    td_err err;
    int status;

    if (!COMMAND_LINE_READ(argc, argv, own, 0, &line, &status))
        return status;
    if (client_ask(&line, path, request, NULL, patience_s, &answer, &err) == 0) {
        status = EXIT_SUCCESS;
        if (answer.len > 0)
            printf("%.*s\n", TD_STR_FMT(td_buf_str(&answer)));
    } else {
        status = client_fail(argv[0], &err);
    }
    td_buf_release(&answer);
    command_line_fini(&line);
    return status;
}

/* ---- the status */

json_t *
client_status(const struct command_line *line, const char *path, td_err *err)
{
    td_buf answer = {0};

    if (client_ask(line, path, "status", NULL, STATUS_PATIENCE_S, &answer, err) < 0)
        return NULL;
    json_t *status = json_loadb(td_buf_str(&answer).ptr, answer.len, JSON_REJECT_DUPLICATES, NULL);
    td_buf_release(&answer);
    if (status == NULL)
        td_err_set(err, TD_EBADMSG, "the daemon's status is no JSON");
    return status;
}

const char *
client_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

int64_t
client_number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

double
client_seconds(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

const json_t *
client_serving(const json_t *status)
{
    const json_t *generations = json_object_get(status, "generations"), *generation;
    size_t i;

    json_array_foreach(generations, i, generation) {
        if (strcmp(client_text(generation, "state"), "serving") == 0)
            return generation;
    }
    return NULL;
}

void
client_print(const char *text)
{
    const size_t len = strlen(text);

    for (size_t i = 0, plain; i < len; i += plain > 0 ? plain : 1) {
        plain = td_text_plain(td_str_make(text + i, len - i));
        if (plain > 0)
            fwrite(text + i, 1, plain, stdout);
        else
            putchar('?');
    }
}

void
client_format_age(double seconds, char out[CLIENT_AGE_SIZE])
{
    static const struct {
        int64_t seconds;
        char unit;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    int64_t left = seconds > 0 && seconds < 1e15 ? (int64_t)seconds : 0;
    size_t i = 0;

    while (i < 3 && left < units[i].seconds)
        i++;
    int n = snprintf(out, CLIENT_AGE_SIZE, "%lld%c", (long long)(left / units[i].seconds),
                     units[i].unit);
    left %= units[i].seconds;
    if (i < 3 && left >= units[i + 1].seconds)
        snprintf(out + n, CLIENT_AGE_SIZE - (size_t)n, " %lld%c",
                 (long long)(left / units[i + 1].seconds), units[i + 1].unit);
}

bool
client_print_handshakes(const json_t *status)
{
    const json_t *handshakes =
        json_object_get(json_object_get(status, "metrics"), "tls_handshakes");
    const int64_t resumed = client_number(handshakes, "resumed");
    const int64_t done = client_number(handshakes, "full") + resumed;
    const int64_t failed = client_number(handshakes, "failed");

    if (done + failed == 0)
        return false;
    printf("%-12s %lld handshakes with other servers, %lld of them resumed; %lld failed", "tls",
           (long long)done, (long long)resumed, (long long)failed);
    if (done > 0)
        printf("; %.1f ms each", client_seconds(handshakes, "duration_seconds") * 1e3 / (double)done);
    putchar('\n');
    return true;
}
