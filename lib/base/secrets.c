/* See secrets.h.  Nothing of a secret ever gets into an error message. */
#include "base/secrets.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/escape.h"

#define VERSION_DIGITS_MAX 9

/* Take the next line, trimmed, off the front. */
static td_str
next_line(td_str *rest)
{
    const char *end = memchr(rest->ptr, '\n', rest->len);
    td_str line = td_str_make(rest->ptr, end != NULL ? (size_t)(end - rest->ptr) : rest->len);
    const size_t taken = line.len + (end != NULL);

    *rest = td_str_make(rest->ptr + taken, rest->len - taken);
    if (line.len > 0 && line.ptr[line.len - 1] == '\r')
        line.len--;
    return td_str_trim(line);
}

static size_t
count_lines(td_str text)
{
    size_t count = 0;

    while (text.len > 0)
        count += next_line(&text).len > 0;
    return count;
}

/* VERSION:SECRET; false where the line is none, and is a secret as it stands. */
static bool
take_version(td_str line, td_secret *out)
{
    int64_t version = 0;
    size_t digits = 0;

    while (digits < line.len && line.ptr[digits] >= '0' && line.ptr[digits] <= '9' &&
           digits <= VERSION_DIGITS_MAX)
        version = version * 10 + (line.ptr[digits++] - '0');
    if (digits == 0 || digits > VERSION_DIGITS_MAX || line.len < digits + 2 ||
        line.ptr[digits] != ':')
        return false;
    out->version = version;
    out->text = td_str_make(line.ptr + digits + 1, line.len - digits - 1);
    return true;
}

static bool
has_version(const td_secret *secrets, size_t count, int64_t version)
{
    for (size_t i = 0; i < count; i++)
        if (secrets[i].version == version)
            return true;
    return false;
}

int
td_secrets_parse(td_arena *arena, td_str text, td_secrets *out, td_err *err)
{
    const size_t lines = count_lines(text);
    td_secret *secrets;
    td_secrets found = {0};

    if (lines == 0)
        return td_err_set(err, TD_ECONFIG, "there is no secret");
    found.items = secrets = TD_ARENA_ARRAY(arena, td_secret, lines);
    for (int number = 1; text.len > 0; number++) {
        const td_str line = next_line(&text);
        td_secret *secret = &secrets[found.count];

        if (line.len == 0)
            continue;
        found.has_versions = take_version(line, secret);
        if (!found.has_versions && lines == 1)
            secret->text = line;
        else if (!found.has_versions)
            return td_err_set(err, TD_ECONFIG, "line %d is not VERSION:SECRET", number);
        else if (has_version(secrets, found.count, secret->version))
            return td_err_set(err, TD_ECONFIG, "line %d has the version of another one", number);
        found.count++;
    }
    *out = found;
    return 0;
}

static int
read_file(int fd, td_arena *arena, td_str *out, td_err *err)
{
    char *text = td_arena_alloc_raw(arena, TD_SECRETS_FILE_MAX + 1);
    size_t len = 0;
    struct stat st;
    ssize_t n;

    if (fstat(fd, &st) < 0)
        return td_err_errno(err, "fstat");
    if (!S_ISREG(st.st_mode))
        return td_err_set(err, TD_ECONFIG, "is not a file");
    while ((n = read(fd, text + len, TD_SECRETS_FILE_MAX + 1 - len)) > 0)
        len += (size_t)n;
    if (n < 0)
        return td_err_errno(err, "read");
    if (len > TD_SECRETS_FILE_MAX)
        return td_err_set(err, TD_ECONFIG, "is larger than %d bytes", TD_SECRETS_FILE_MAX);
    *out = td_str_make(text, len);
    return 0;
}

int
td_secrets_read_text(td_arena *arena, const char *path, td_str *out, td_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO is refused, not waited for */
    int rc;

    if (fd < 0)
        return td_err_errno(err, "%s", path);
    rc = read_file(fd, arena, out, err);
    close(fd);
    return rc < 0 ? td_err_prefix(err, "%s", path) : 0;
}

int
td_secrets_read(td_arena *arena, const char *path, td_secrets *out, td_err *err)
{
    td_str text;
    int rc = td_secrets_read_text(arena, path, &text, err);

    if (rc < 0)
        return rc;
    rc = td_secrets_parse(arena, text, out, err);
    return rc < 0 ? td_err_prefix(err, "%s", path) : 0;
}
