#include "web/workerloop.h"

#include "base/budget.h"
#include "base/log.h"
#include "http/compressor.h"
#include "http/httpclient.h"
#include "io/coroutine.h"
#include "io/executor.h"
#include "io/future_internal.h"
#include "io/heap.h"
#include "io/iostream.h"
#include "io/process.h"
#include "io/resolver.h"
#include "io/tls.h"

#define HEAP_REST_MS 1000

static td_system_lookup *
system_lookup(int choice)
{
    enum { AUTO, ON };

    if (choice == AUTO)
        choice = td_resolver_system_knows_more("/etc/nsswitch.conf") ? ON : ON + 1;
    return choice == ON ? getaddrinfo : NULL;
}

static void
configure_resolver(const td_tornadod_settings *settings)
{
    td_resolver_configure(
        &(td_resolver_options){.servers = settings->resolver_servers,
                               .try_ms = settings->resolver_try_ms,
                               .timeout_ms = settings->resolver_timeout_ms,
                               .ttl_min_ms = settings->resolver_ttl_min_ms,
                               .ttl_max_ms = settings->resolver_ttl_max_ms,
                               .cache_max = (size_t)settings->resolver_cache,
                               .pending_max = (size_t)settings->resolver_pending,
                               .system_lookup = system_lookup((int)settings->resolver_system)});
}

const char *
td_workerloop_find_fault(const td_configuration *configuration, td_err *err)
{
    const td_tornadod_settings *settings = &configuration->tornadod;
    const char *key = NULL;

    if (settings->resolver_servers != NULL &&
        td_resolver_check_servers(settings->resolver_servers, err) < 0)
        key = "resolver_servers";
    else if (settings->resolver_override != NULL &&
             td_resolver_check_overrides(settings->resolver_override, err) < 0)
        key = "resolver_override";
    if (key != NULL)
        td_err_prefix(err, "%s", key);
    else if (settings->ca_certs != NULL && td_tls_check_ca_certs(settings->ca_certs, err) < 0)
        key = "ca_certs";
    return key;
}

static int
override_names(const td_tornadod_settings *settings, td_err *err)
{
    if (settings->resolver_override == NULL ||
        td_resolver_override_list(settings->resolver_override, err) == 0)
        return 0;
    return td_err_prefix(err, "resolver_override");
}

void
td_workerloop_share_memory(const td_configuration *configuration, size_t workers_count)
{
    const int64_t set = configuration->tornadod.memory;

    td_budget_configure(set != 0 ? (size_t)set : td_budget_auto(workers_count));
}

int
td_workerloop_open(const td_configuration *configuration, size_t workers_count, td_ioloop **out,
                   td_err *err)
{
    const td_tornadod_settings *settings = &configuration->tornadod;

    td_workerloop_share_memory(configuration, workers_count);
    td_coroutine_configure(
        &(td_coroutine_options){.stack_size = (size_t)settings->coroutine_stack,
                                .coroutines_max = (size_t)settings->max_coroutines});
    td_executor_configure(
        &(td_executor_options){.threads_max = (unsigned)settings->executor_threads,
                               .queue_max = (size_t)settings->executor_queue});
    td_processes_configure((size_t)settings->max_subprocesses);
    td_compressor_configure((size_t)settings->max_compressors);
    td_tls_configure(settings->ca_certs);
    configure_resolver(settings);
    td_http_client_configure(
        &(td_http_client_options){.max_clients = (size_t)settings->max_clients,
                                  .idle_max = (size_t)settings->client_idle,
                                  .idle_origin_max = (size_t)settings->client_idle_origin,
                                  .idle_timeout_ms = settings->client_idle_timeout_ms,
                                  .lifetime_ms = settings->client_lifetime_ms,
                                  .proxy = &settings->proxy});
    int rc = td_ioloop_create(out, err);
    if (rc < 0)
        return rc;
    td_heap_open(*out, HEAP_REST_MS);
    return override_names(settings, err);
}

/*
 * With the loop nobody is left who could still want it: ours, or a handler's that has forgotten it.
 */
static void
tell_leftovers(void)
{
    const struct {
        const char *what;
        size_t count;
    } left[] = {
        {"coroutines", td_coroutines_count()},   {"futures", td_futures_count()},
        {"streams", td_iostreams_count()},       {"requests to servers", td_http_client_active()},
        {"kept connections", td_http_client_idle()}, {"jobs", td_executor_jobs()},
    };

    for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++)
        if (left[i].count > 0)
            td_log(TD_LOG_WARNING, "left behind at the end: %zu %s", left[i].count, left[i].what);
}

void
td_workerloop_close(td_ioloop **loop)
{
    td_heap_close();
    td_http_client_close();
    td_ioloop_destroy(loop);
    tell_leftovers();
}
