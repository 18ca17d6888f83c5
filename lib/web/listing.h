/* What a directory holds, as a page or as JSON. */
#ifndef TORNADO_WEB_LISTING_H
#define TORNADO_WEB_LISTING_H

#include <tornado/static.h>

#define TD_LISTING_MAX 10000 /* entries: the largest that options may say */

/* End the response with the list of the directory at path, normalised.  0 or TD_ECLOSED; waits. */
int td_listing_send(td_handler *h, const td_static_options *options, td_str path);

#endif
