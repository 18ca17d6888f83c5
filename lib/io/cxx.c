/*
 * The C++ runtime, seen from C.  We do not link to it: a daemon without C++ handlers should not
 * load it, so its functions are looked up once a handler has.  All used here is fixed by the
 * Itanium C++ ABI, but for __do_catch, which is libstdc++'s and in its symbol versions since 2001.
 */
#include "io/cxx.h"

#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* std::type_info and std::exception, as C sees objects of theirs. */
struct type_info {
    void *const *methods;
    const char *name; /* mangled; a leading '*' is no part of it */
};
enum { TYPE_INFO_DO_CATCH = 4 }; /* places in the table of methods, after two destructors */
struct exception {
    void *const *methods;
};
enum { EXCEPTION_WHAT = 2 };

/* "GNUCC++"; the byte below it tells the kind of header. */
#define GNU_CXX_CLASS UINT64_C(0x474e5543432b2b)

typedef td_cxx_state *get_globals_fn(void);
typedef void begin_catch_fn(void *exception);
typedef void end_catch_fn(void);
typedef const struct type_info *current_type_fn(void);
typedef char *demangle_fn(const char *name, char *out, size_t *len, int *status);
typedef unsigned char do_catch_fn(const struct type_info *wanted, const struct type_info *thrown,
                                  void **object, unsigned outer);
typedef const char *what_fn(const struct exception *exception);

struct search {
    unsigned long long loaded_before, loaded; /* objects, ever */
    const char *path;
};

static int
on_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct search *search = arg;

    (void)size;
    search->loaded = info->dlpi_adds;
    if (search->loaded == search->loaded_before)
        return 1; /* nothing new to look at */
    if (strstr(info->dlpi_name, "/libstdc++.so.6") == NULL)
        return 0;
    search->path = info->dlpi_name;
    return 1;
}

/*
 * A function or object of the runtime, NULL when that is not loaded.  Handlers are loaded
 * RTLD_LOCAL, so what they need is in no scope that we could ask for a name; and dlopen would
 * search directories for a library that is not there, so we ask the linker what is.
 */
static void *
runtime(const char *symbol)
{
    static __thread void *library;
    static __thread struct search search;

    if (library == NULL) {
        dl_iterate_phdr(on_object, &search);
        search.loaded_before = search.loaded;
        if (search.path != NULL)
            library = dlopen(search.path, RTLD_LAZY | RTLD_NOLOAD);
    }
    return library != NULL ? dlsym(library, symbol) : NULL;
}

td_cxx_state *
td_cxx_thread_state(void)
{
    get_globals_fn *const get_globals = (get_globals_fn *)runtime("__cxa_get_globals");

    return get_globals != NULL ? get_globals() : NULL;
}

/*
 * What was thrown stands behind the header; with std::rethrow_exception (class ...\1) it is
 * elsewhere.
 * (__cxa_begin_catch returns what a C++ frame would have prepared when it caught.)
 */
static void *
object_of(struct _Unwind_Exception *exception)
{
    return (exception->exception_class & 0xff) == 0 ? exception + 1 : NULL;
}

/* The text of a std::exception, or of a class derived from it; NULL for everything else. */
static const char *
text_of(const struct type_info *thrown, void *object)
{
    const struct type_info *wanted = runtime("_ZTISt9exception");

    if (wanted == NULL || object == NULL)
        return NULL;
    do_catch_fn *const do_catch = (do_catch_fn *)wanted->methods[TYPE_INFO_DO_CATCH];
    if (!do_catch(wanted, thrown, &object, 1))
        return NULL;
    const struct exception *exception = object;
    return ((what_fn *)exception->methods[EXCEPTION_WHAT])(exception);
}

static void
describe(const struct type_info *thrown, void *object, char *text, size_t size)
{
    demangle_fn *const demangle = (demangle_fn *)runtime("__cxa_demangle");
    const char *name = thrown->name + (thrown->name[0] == '*');
    char *const plain = demangle != NULL ? demangle(name, NULL, NULL, NULL) : NULL;
    const char *what = text_of(thrown, object);

    snprintf(text, size, "%s%s%s", plain != NULL ? plain : name, what != NULL ? ": " : "",
             what != NULL ? what : "");
    free(plain);
}

void
td_cxx_consume(struct _Unwind_Exception *exception, char *text, size_t size)
{
    begin_catch_fn *const begin_catch = (begin_catch_fn *)runtime("__cxa_begin_catch");
    end_catch_fn *const end_catch = (end_catch_fn *)runtime("__cxa_end_catch");
    current_type_fn *const current_type =
        (current_type_fn *)runtime("__cxa_current_exception_type");

    snprintf(text, size, "an exception of another language");
    if (begin_catch == NULL || end_catch == NULL || current_type == NULL ||
        exception->exception_class >> 8 != GNU_CXX_CLASS) {
        _Unwind_DeleteException(exception);
        return;
    }
    begin_catch(exception);
    describe(current_type(), object_of(exception), text, size);
    end_catch();
}
