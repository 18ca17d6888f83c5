/* Goal: a descriptor of a major that is not ours; nothing else of it can be trusted. */
#include <tornado/tornado.h>

TD_API const td_plugin tornado_plugin;
const td_plugin tornado_plugin = {.abi_major = TD_ABI_MAJOR + 1, .name = "abi_too_new"};
