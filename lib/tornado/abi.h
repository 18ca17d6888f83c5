/*
 * The binary contract between libtornado and the handlers that were built against it.
 *
 * A plugin loads when its major is ours and its minor is not above ours.  Fields are appended to
 * public structs, never moved or removed, without a new major; each addition is listed here.
 *
 *   1.0   the first.  It is not released yet, so what was added since stands here too; each of
 *         these, and all that stands behind it in its struct:
 *             td_handler_class     get_current_user
 *             td_plugin            get_current_user
 *             td_url               urls
 *             td_static_options    precompressed
 *             td_fetch_options     body_producer
 *             td_response          is_stale
 *             td_iostream_options  half_open
 *             td_metric_info       label
 */
#ifndef TORNADO_ABI_H
#define TORNADO_ABI_H

#define TD_ABI_MAJOR 1
#define TD_ABI_MINOR 0

#ifdef __cplusplus
#define TD_EXTERN_C extern "C"
#else
#define TD_EXTERN_C extern
#endif

/*
 * TD_API marks what handlers may call: symbol version TORNADO_1.0.  TD_PRIVATE marks what only the
 * daemon of the same build may call: symbol version TORNADO_PRIVATE; a handler that needs one of
 * these is refused.  The linker script is generated from these marks, so they stand at the start of
 * the declaration and the function's name is on the same line.
 */
#define TD_API TD_EXTERN_C __attribute__((visibility("default")))
#define TD_PRIVATE __attribute__((visibility("default")))

/*
 * Behind each field that authors may leave out: it is zero then, which always means "as usual", and
 * no C++ compiler warns of it.
 */
#ifdef __cplusplus
#define TD_ZERO = {}
#else
#define TD_ZERO
#endif

/*
 * What TD_SSE, TD_STATIC and their kin are in C++: options of a call live as long as the call,
 * those of a table (.initialize_arg = TD_STATIC(...)) as long as the file is loaded.
 */
#ifdef __cplusplus
extern "C++" {
template <class Options, class Place> struct td_options_of {
    Options options;

    operator const Options *() const { return &options; }
    operator const void *() const
    {
        static Options kept{}; /* Place is another type at each place, so each has its own */

        kept = options;
        return &kept;
    }
};
}
#define TD_OPTIONS_OF(type_, ...)                                                                  \
    (td_options_of<type_, decltype([] {})>{type_{.size = sizeof(type_), __VA_ARGS__}})
#endif

#define TD_PRINTF(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#define TD_NORETURN __attribute__((noreturn))

#endif
