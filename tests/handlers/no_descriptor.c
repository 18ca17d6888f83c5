/* Goal: a shared object that is no handler. */
#include <tornado/tornado.h>

TD_API int tornado_plugins;
int tornado_plugins;
