/*
 * Goal: a page whose script does what browsers do: cookies, XSRF tokens, forms with files,
 * server-sent events that come again, and tells the log what came of it.
 */
#include <stdlib.h>
#include <tornado/tornado.h>

/*
 * Each step adds to `said`; whatever goes wrong stands there, too, and the report is made anyway.
 */
static const char script[] =
    "const said = {};\n"
    "const text = async (...request) => { const r = await fetch(...request);"
    " return r.status + ' ' + await r.text(); };\n"
    "async function step(name, what) {"
    " try { said[name] = await what(); } catch (e) { said[name] = String(e); } }\n"
    "const events = () => new Promise((resolve) => { const ids = [];"
    " const source = new EventSource('/events');"
    " source.addEventListener('tick', (e) => { ids.push(e.lastEventId + '=' + e.data);"
    " if (ids.length == 4) { source.close(); resolve(ids.join(' ')); } }); });\n"
    "const submitted = () => new Promise((resolve) => {"
    " const frame = document.querySelector('iframe');"
    " frame.onload = () => resolve(frame.contentDocument.body.textContent);"
    " document.querySelector('form').submit(); });\n"
    "function filled() { const form = new FormData(document.querySelector('form'));"
    " form.append('photo', new Blob(['a\\r\\nb'], {type: 'image/png'}), 'J\\u00fcrg \"1\".png');"
    " return form; }\n"
    "(async () => {\n"
    " await step('cookies', async () => { await text('/log-in');"
    " return (await text('/who')) + ' ' + document.cookie.includes('user'); });\n"
    " await step('without_token', async () => (await fetch('/upload', {method: 'POST',"
    " body: new FormData()})).status);\n"
    " await step('upload', () => text('/upload', {method: 'POST', body: filled()}));\n"
    " await step('form', submitted);\n"
    " await step('text', () => document.querySelector('#text').textContent);\n"
    " await step('events', events);\n"
    " await step('range', () => text('/static/digits.txt', {headers: {Range: 'bytes=2-4'}}));\n"
    " await step('fresh', async () => (await text('/static/app.js', {cache: 'no-cache'})).length);\n"
    " await step('redirect', () => text('/moved'));\n"
    " await fetch('/report', {method: 'POST', body: JSON.stringify(said),"
    " headers: {'X-Xsrftoken': document.querySelector('[name=_xsrf]').value}});\n"
    "})();\n";

static void
page(td_handler *h)
{
    td_write_text(h, "<!DOCTYPE html><title>browser</title><p id=\"text\">");
    td_write_escaped(h, TD_STR("<b>\"it's\" & J\xc3\xbcrg</b>"));
    td_write_text(h, "</p><iframe name=\"frame\"></iframe>"
                     "<form method=\"post\" action=\"/form\" target=\"frame\">"
                     "<input name=\"name\" value=\"a &amp; b\xe2\x82\xac\"/>");
    td_write(h, td_xsrf_form_html(h));
    td_write_text(h, "</form><script src=\"/static/app.js\"></script><script>");
    td_write_text(h, script);
    td_write_text(h, "</script>");
}

static void
log_in(td_handler *h)
{
    td_set_signed_cookie(h, "user", TD_STR("jack"),
                         &TD_COOKIE(.httponly = true, .samesite = "Strict"));
}

static void
who(td_handler *h)
{
    td_write_escaped(h, td_get_signed_cookie(h, "user", 0));
}

static void
upload(td_handler *h)
{
    const td_http_file *file = td_get_file(h, "photo");

    if (file == NULL)
        td_raise(h, 400, "no photo");
    td_writef(h, "%.*s %.*s %zu %s", TD_STR_FMT(file->filename), TD_STR_FMT(file->content_type),
              file->body.len, td_get_argument(h, "name").ptr);
}

static void
form(td_handler *h)
{
    td_write_escaped(h, td_get_body_argument(h, "name"));
}

/* Two events and the end, as a proxy or a reload ends it: the browser comes again, for the next. */
static void
events(td_handler *h)
{
    const td_str last = td_request_header(h, "Last-Event-ID");
    const int first = td_str_is_null(last) ? 1 : atoi(last.ptr) + 1;

    td_set_header(h, "Content-Type", "text/event-stream");
    td_write_text(h, "retry: 10\n\n");
    for (int id = first; id < first + 2; id++) {
        td_writef(h, "id: %d\nevent: tick\ndata: from %d\n\n", id, first);
        if (td_flush(h) < 0)
            return;
    }
}

static void
moved(td_handler *h)
{
    td_redirect(h, "/who", false);
}

static void
report(td_handler *h)
{
    td_log_info("the browser says %.*s", TD_STR_FMT(td_request_body(h)));
}

static const td_handler_class Page = {.get = page}, LogIn = {.get = log_in}, Who = {.get = who},
                              Upload = {.post = upload}, Form = {.post = form},
                              Events = {.get = events}, Moved = {.get = moved},
                              Report = {.post = report};

TD_PLUGIN(.name = "browser", .version = "1.0",
          .urls = TD_URLS(TD_URL("/", &Page), TD_URL("/log-in", &LogIn), TD_URL("/who", &Who),
                          TD_URL("/upload", &Upload), TD_URL("/form", &Form),
                          TD_URL("/events", &Events), TD_URL("/moved", &Moved),
                          TD_URL("/report", &Report)));
