/* A small file, whole: lists of users or tokens, a page.  For `load`, before anything is served. */
#ifndef HANDLERS_TEXTFILE_H
#define HANDLERS_TEXTFILE_H

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <tornado/tornado.h>
#include <unistd.h>

/* 0 and its bytes, to be freed, with a NUL behind; key is the option's name, for the error. */
static inline int
textfile_read(const char *key, const char *path, size_t size_max, char **out, td_err *err)
{
    struct stat st;
    char *text;
    ssize_t len;
    int fd;

    if (path[0] != '/')
        return td_err_set(err, TD_ECONFIG, "%s = %s: the path has to begin with a slash", key, path);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0) {
        td_err_errno(err, "%s = %s", key, path);
        if (fd >= 0)
            close(fd);
        return err->code;
    }
    if (!S_ISREG(st.st_mode) || (size_t)st.st_size > size_max) {
        close(fd);
        return td_err_set(err, TD_ECONFIG, "%s = %s: is not a file of at most %zu bytes", key, path,
                          size_max);
    }
    text = calloc(1, (size_t)st.st_size + 1);
    len = text != NULL ? read(fd, text, (size_t)st.st_size) : -1;
    close(fd);
    if (text == NULL)
        return td_err_errno(err, "%s = %s", key, path);
    if (len != st.st_size) {
        free(text);
        return td_err_set(err, TD_ECONFIG, "%s = %s: cannot be read whole", key, path);
    }
    *out = text;
    return 0;
}

/* The next line that is no comment, without white space at its ends; NULL: there is none. */
static inline char *
textfile_line(char **rest, int *number)
{
    char *line;

    while ((line = strsep(rest, "\n")) != NULL) {
        ++*number;
        line += strspn(line, " \t\r");
        for (size_t len = strlen(line); len > 0 && strchr(" \t\r", line[len - 1]) != NULL;)
            line[--len] = '\0';
        if (line[0] != '\0' && line[0] != '#')
            return line;
    }
    return NULL;
}

#endif
