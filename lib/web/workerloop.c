#include "web/workerloop.h"

#include "http/compressor.h"
#include "http/httpclient.h"
#include "io/coroutine.h"
#include "io/executor.h"
#include "io/heap.h"
#include "io/tls.h"

#define HEAP_REST_MS 1000

int
td_workerloop_open(const td_configuration *configuration, td_ioloop **out, td_err *err)
{
    const td_tornadod_settings *settings = &configuration->tornadod;

    td_coroutine_configure(
        &(td_coroutine_options){.stack_size = (size_t)settings->coroutine_stack,
                                .coroutines_max = (size_t)settings->max_coroutines});
    td_executor_configure(
        &(td_executor_options){.threads_max = (unsigned)settings->executor_threads,
                               .queue_max = (size_t)settings->executor_queue});
    td_compressor_configure((size_t)settings->max_compressors);
    td_tls_configure(settings->ca_certs);
    td_http_client_configure(
        &(td_http_client_options){.max_clients = (size_t)settings->max_clients,
                                  .idle_max = (size_t)settings->client_idle,
                                  .idle_origin_max = (size_t)settings->client_idle_origin,
                                  .idle_timeout_ms = settings->client_idle_timeout_ms});
    int rc = td_ioloop_create(out, err);
    if (rc == 0)
        td_heap_open(*out, HEAP_REST_MS);
    return rc;
}

void
td_workerloop_close(td_ioloop **loop)
{
    td_heap_close();
    td_http_client_close();
    td_ioloop_destroy(loop);
}
