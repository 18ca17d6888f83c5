/*
 * The handlers of handlers/bench.c, for Kore.
 */
#include <kore/kore.h>
#include <kore/http.h>
#include <kore/seccomp.h>

/* glibc's localtime needs it; Kore 4.1's sandbox does not know it and kills the worker. */
KORE_SECCOMP_FILTER("bench", KORE_SYSCALL_ALLOW(newfstatat))

int plaintext(struct http_request *req);
int user(struct http_request *req);

int
plaintext(struct http_request *req)
{
    http_response_header(req, "content-type", "text/html; charset=UTF-8");
    http_response(req, 200, "Hello, World!", 13);
    return KORE_RESULT_OK;
}

int
user(struct http_request *req)
{
    const char *id = req->path + strlen("/user/"); /* Kore 4.1 compiles its routes without groups */

    http_response_header(req, "content-type", "text/html; charset=UTF-8");
    http_response(req, 200, id, strlen(id));
    return KORE_RESULT_OK;
}
