/* Error numbers into sentences, and the texts of td_err, which are cut where they do not fit. */
#include <tornado/error.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *
td_strerror(int code)
{
    static _Thread_local char text[128];

    switch (code) {
    case 0:
        return "no error";
#define TD_ERROR_CASE(name, number, sentence)                                                      \
    case name:                                                                                     \
        return sentence;
        TD_ERROR_LIST(TD_ERROR_CASE)
#undef TD_ERROR_CASE
    }
    if (code > TD_EINVAL && code < 0)
        return strerror_r(-code, text, sizeof(text));
    snprintf(text, sizeof(text), "error %d", code);
    return text;
}

int
td_err_set(td_err *err, int code, const char *format, ...)
{
    va_list args;

    if (err == NULL)
        return code;
    err->code = code;
    va_start(args, format);
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    return code;
}

int
td_err_errno(td_err *err, const char *format, ...)
{
    const int code = -errno;
    va_list args;

    if (err == NULL)
        return code;
    err->code = code;
    va_start(args, format);
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);

    const size_t len = strlen(err->text);

    snprintf(err->text + len, sizeof(err->text) - len, ": %s", td_strerror(code));
    return code;
}

int
td_err_prefix(td_err *err, const char *format, ...)
{
    char text[TD_ERR_TEXT_SIZE];
    va_list args;

    if (err == NULL)
        return TD_EINVAL;
    memcpy(text, err->text, sizeof(text));
    va_start(args, format);
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);

    const size_t len = strlen(err->text);

    snprintf(err->text + len, sizeof(err->text) - len, ": %s", text);
    return err->code;
}
