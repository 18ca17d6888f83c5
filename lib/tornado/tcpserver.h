/*
 * Protocols of one's own (Tornado's TCPServer.handle_stream): connections that are not HTTP.
 *
 *     static void
 *     handle_stream(td_connection *connection)
 *     {
 *         td_iostream *stream = td_connection_stream(connection);
 *         td_str line;
 *
 *         while (td_iostream_read_until(stream, TD_STR("\n"), 512, &line) == 0)
 *             td_iostream_write(stream, line);
 *     }
 *
 *     TD_PLUGIN(.name = "echo", .version = "1.0", .handle_stream = handle_stream);
 *
 * and in the ini [listen:echo] with `address = 0.0.0.0:7` and `protocol = echo`, the name of the
 * handler instance.  Each connection to that listener is one call of handle_stream, on a coroutine
 * of its own, where td_await, td_defer and all that waits works.
 *
 * Returning ends the connection: what was written is sent (for idle_timeout at most), then it
 * closes, and lingers where the client still sends (td_iostream_close): it counts for
 * max_connections then, but makes room for who comes.  A wait in the stream longer than the
 * listener's idle_timeout returns TD_ETIMEDOUT; see td_iostream_set_timeout.  When the worker leaves,
 * a read says TD_EDRAINING, and after drain_timeout the coroutine is unwound where it waits.
 * max_connections, max_connections_per_address, max_accepts and backlog of the listener hold; who is
 * too many is closed at once.
 */
#ifndef TORNADO_TCPSERVER_H
#define TORNADO_TCPSERVER_H

#include <stddef.h>
#include <stdint.h>
#include <tornado/abi.h>
#include <tornado/iostream.h>
#include <tornado/str.h>

/* Until handle_stream has returned, and all that was spawned by it no longer uses it. */
typedef struct td_connection td_connection;
typedef struct td_instance td_instance;

/*
 * The connection's, until it ends; td_iostream_close and td_iostream_destroy may come earlier (NULL
 * from then on).
 */
TD_API td_iostream *td_connection_stream(td_connection *connection);

/* Whose settings and state it has: td_instance_settings, td_instance_state. */
TD_API const td_instance *td_connection_instance(const td_connection *connection);

TD_API td_str td_connection_remote_addr(td_connection *connection); /* "127.0.0.1", "::1", "unix:" */
TD_API uint16_t td_connection_remote_port(const td_connection *connection); /* 0: a unix socket */

/* Memory that lives as long as the connection; as td_alloc and td_sprintf. */
TD_API void *td_connection_alloc(td_connection *connection, size_t size);
TD_API td_str td_connection_sprintf(td_connection *connection, const char *format, ...)
    TD_PRINTF(2, 3);

/*
 * Leave handle_stream from wherever it is (td_raise of a connection): the text is logged with the
 * client's address, cleanups run, what is unsent is lost, the connection closes.  Only on its
 * coroutine.
 */
TD_API TD_NORETURN void td_connection_raise(td_connection *connection, const char *format, ...)
    TD_PRINTF(2, 3);

#endif
