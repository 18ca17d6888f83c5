/*
 * C++ in handlers: what its runtime keeps for each thread must be kept for each coroutine, and an
 * exception that a handler lets go must not end the worker.
 */
#ifndef TORNADO_IO_CXX_H
#define TORNADO_IO_CXX_H

#include <stddef.h>
#include <unwind.h>

/* Itanium C++ ABI section 2.2.2, __cxa_eh_globals: what is being caught and thrown right now. */
typedef struct td_cxx_state {
    void *caught;
    unsigned uncaught;
} td_cxx_state;

#pragma GCC visibility push(hidden)

/*
 * The state of the calling thread, NULL as long as no C++ runtime (libstdc++ as a shared library)
 * is loaded.  Cheap while nothing new has been loaded.
 */
td_cxx_state *td_cxx_thread_state(void);

/*
 * Describe an exception that has been caught, "std::runtime_error: disk full", into text (cut to
 * size), and destroy it.
 */
void td_cxx_consume(struct _Unwind_Exception *exception, char *text, size_t size);

#pragma GCC visibility pop

#endif
