/* Ten thousand routes, for what has to go through all of them. */
#include <tornado/tornado.h>

static void
get(td_handler *h)
{
    td_write(h, TD_STR("one of many"));
}

static const td_handler_class One = {.get = get};

#define ROUTE(n_) TD_URL("/many/" #n_, &One)
#define TEN(n_)                                                                                    \
    ROUTE(n_##0), ROUTE(n_##1), ROUTE(n_##2), ROUTE(n_##3), ROUTE(n_##4), ROUTE(n_##5),            \
        ROUTE(n_##6), ROUTE(n_##7), ROUTE(n_##8), ROUTE(n_##9)
#define HUNDRED(n_)                                                                                \
    TEN(n_##0), TEN(n_##1), TEN(n_##2), TEN(n_##3), TEN(n_##4), TEN(n_##5), TEN(n_##6),            \
        TEN(n_##7), TEN(n_##8), TEN(n_##9)
#define THOUSAND(n_)                                                                               \
    HUNDRED(n_##0), HUNDRED(n_##1), HUNDRED(n_##2), HUNDRED(n_##3), HUNDRED(n_##4),                \
        HUNDRED(n_##5), HUNDRED(n_##6), HUNDRED(n_##7), HUNDRED(n_##8), HUNDRED(n_##9)

/* /many/10000 .. /many/19999 */
TD_PLUGIN(.name = "manyroutes", .version = "1.0",
          .urls = TD_URLS(THOUSAND(10), THOUSAND(11), THOUSAND(12), THOUSAND(13), THOUSAND(14),
                          THOUSAND(15), THOUSAND(16), THOUSAND(17), THOUSAND(18), THOUSAND(19)));
