/*
 * Error numbers and td_err, the text that goes with one.
 *
 * A function that can fail returns 0 or a negative number: -errno for the system's errors, and ours
 * from -4096 down.  Numbers are never renumbered.
 */
#ifndef TORNADO_ERROR_H
#define TORNADO_ERROR_H

#include <tornado/abi.h>

#define TD_ERROR_LIST(X)                                                                           \
    X(TD_EINVAL, -4096, "the call is wrong in this state or with these arguments")                 \
    X(TD_EBADMSG, -4097, "the bytes break the protocol")                                           \
    X(TD_ECLOSED, -4098, "the other side has gone")                                                \
    X(TD_ETOOBIG, -4099, "a size limit was crossed")                                               \
    X(TD_ETIMEDOUT, -4100, "the time is up")                                                       \
    X(TD_ECANCELED, -4101, "the wait was cancelled")                                               \
    X(TD_EBUSY, -4102, "a limit on how many at once was reached")                                  \
    X(TD_ENOTFOUND, -4103, "there is no such thing")                                               \
    X(TD_EEXISTS, -4104, "there is one already")                                                   \
    X(TD_ECONFIG, -4105, "a setting is wrong")                                                     \
    X(TD_EPLUGIN, -4106, "a handler's file cannot be used")                                        \
    X(TD_ENAME, -4107, "the name servers do not answer, or have failed")                           \
    X(TD_EDRAINING, -4108, "the worker is leaving")                                                \
    X(TD_ETLS, -4109, "the TLS connection has failed")                                             \
    X(TD_ECERTIFICATE, -4110, "the certificate of the other side is not to be trusted")            \
    X(TD_ETRUNCATED, -4111, "the other side has gone in the middle of TLS")                        \
    X(TD_EPROXY, -4112, "the proxy has refused")

enum td_error {
#define TD_ERROR_ENUM(name, number, text) name = number,
    TD_ERROR_LIST(TD_ERROR_ENUM)
#undef TD_ERROR_ENUM
};

#define TD_ERR_TEXT_SIZE 512 /* bytes, the NUL included; longer texts are cut */

/* Written by whoever fails, read by whoever logs.  A NULL td_err is allowed everywhere. */
typedef struct td_err {
    int code; /* 0, or what the failing function returned */
    char text[TD_ERR_TEXT_SIZE];
} td_err;

/*
 * The sentence for a number of either kind; static or thread-local text, valid until the next call.
 */
TD_API const char *td_strerror(int code);

/*
 * Fill `err` in and return `code`: return td_err_set(err, TD_EBADMSG, "line %d: no value", line);
 */
TD_API int td_err_set(td_err *err, int code, const char *format, ...) TD_PRINTF(3, 4);

/* The same with -errno as the code and ": No such file or directory" after the text. */
TD_API int td_err_errno(td_err *err, const char *format, ...) TD_PRINTF(2, 3);

/* Put "context: " before a text that is already there; returns err->code, or TD_EINVAL for NULL. */
TD_API int td_err_prefix(td_err *err, const char *format, ...) TD_PRINTF(2, 3);

#endif
