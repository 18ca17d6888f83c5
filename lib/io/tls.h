/*
 * What TLS connections have in common: contexts made of td_ssl_options, and sessions to resume.
 *
 * Both are kept for each thread, made when the first is needed and gone with its loop.
 */
#ifndef TORNADO_IO_TLS_H
#define TORNADO_IO_TLS_H

#include <openssl/types.h>
#include <stdbool.h>
#include <tornado/error.h>
#include <tornado/ssl.h>
#include "base/buf.h"

/* What ca_certs is when nobody says it; NULL: the system's.  Must live on. */
TD_PRIVATE void td_tls_configure(const char *ca_certs);

/* 0, or why no context could be made with it: "ca_certs PATH: ...".  Off a loop, too. */
TD_PRIVATE int td_tls_check_ca_certs(const char *path, td_err *err);

#pragma GCC visibility push(hidden)

/* What TD_SSL says, complete; false: it is wrong, which is logged.  NULL: all as usual. */
bool td_ssl_options_read(const td_ssl_options *wanted, td_ssl_options *out, const char *function);

/* Append what tells these options from others, files and all: for a key. */
void td_ssl_options_describe(const td_ssl_options *options, td_buf *out);

/*
 * The client's side of a connection through fd with `host` (a name or a number, "[::1]" too),
 * unless the options say another one.  0 and an SSL for td_tls_free, or TD_ECONFIG and a text in
 * err: a file cannot be used, or there is no host to be proven.
 */
int td_tls_connect(const td_ssl_options *options, const char *host, int fd, SSL **out,
                   td_err *err);
void td_tls_free(SSL *ssl);

void td_tls_close(void); /* for td_ioloop_destroy */

#pragma GCC visibility pop

#endif
