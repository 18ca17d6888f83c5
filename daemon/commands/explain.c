/*
 * `tornadod explain METHOD URL`: who would answer that request, by which way, within which limits
 * and who has said so; or why nobody would.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "daemon/check.h"
#include "daemon/commands/commands.h"
#include "http/request.h"
#include "http/uri.h"
#include "web/explain.h"

struct question {
    const char *method, *url, *header; /* header NULL: none */
    const char *listener;              /* name of one; NULL: the one that the URL leads to */
    const char *target, *host;         /* of the request */
    int port;                          /* of the URL; 0: it is but a path */
};

static void
print_line(const char *label, const char *text)
{
    printf("  %-12s %s\n", label, text);
}

/* ---- where it comes in */

static bool
is_port_of(const td_listener_settings *listener, const struct question *question)
{
    const char *colon = strrchr(listener->address, ':');

    return colon != NULL && strncmp(listener->address, "unix:", 5) != 0 &&
           atoi(colon + 1) == question->port;
}

/* By its name, else the first of the URL's port, else the first. */
static const td_listener_settings *
find_listener(const td_configuration *configuration, const struct question *question)
{
    for (size_t i = 0; i < configuration->listeners_count; i++) {
        const td_listener_settings *listener = &configuration->listeners[i];
        if (question->listener != NULL ? strcmp(listener->name, question->listener) == 0
                                       : is_port_of(listener, question))
            return listener;
    }
    return question->listener == NULL ? &configuration->listeners[0] : NULL;
}

/* A Host that was asked for stands in the place of the URL's, as with curl. */
static td_str
make_head(td_arena *arena, const struct question *question)
{
    const char *header = question->header;
    const char *host = td_arena_sprintf(arena, "Host: %s\r\n", question->host).ptr;
    const bool is_host = header != NULL && strncasecmp(header, "Host:", 5) == 0;

    return td_arena_sprintf(arena, "%s %s HTTP/1.1\r\n%s%s%s\r\n", question->method, question->target,
                            is_host ? "" : host, header != NULL ? header : "",
                            header != NULL ? "\r\n" : "");
}

/* ---- what was found */

static void
print_instance(td_arena *arena, const td_explanation *found)
{
    const td_handler_settings *section = found->instance->section;
    const td_route_info *route = &found->route;
    const char *place = section->source.file != NULL
                            ? td_source_text(arena, section->source)
                            : "no section";

    printf("  %-12s %s (%s; %s)\n", "handler", found->instance->name, found->instance->file, place);
    print_line("mount", route->mount);
    if (strcmp(route->hosts, ".*") != 0)
        print_line("hosts", route->hosts);
    printf("  %-12s %s%s%s%s%s\n", "route", route->pattern, route->name != NULL ? ", called " : "",
           route->name != NULL ? route->name : "", route->wanted != NULL ? ", for " : "",
           route->wanted != NULL ? route->wanted : "");
    if (found->class_name != NULL)
        print_line("class", found->class_name);
    print_line("methods", found->allow.ptr);
}

static void
print_arguments(const td_explanation *found)
{
    for (size_t i = 0; i < found->arguments_count; i++) {
        const td_explained_argument *argument = &found->arguments[i];
        printf("  %-12s ", i == 0 ? "arguments" : "");
        if (argument->name != NULL)
            printf("%s", argument->name);
        else
            printf("%zu", i);
        if (argument->value.ptr != NULL)
            printf(" = %.*s\n", TD_STR_FMT(argument->value));
        else
            puts(" is not there");
    }
}

static void
print_chain(const td_explanation *found)
{
    if (found->chain == NULL || found->chain[0] == NULL)
        return;
    printf("  %-12s", "middleware");
    for (size_t i = 0; found->chain[i] != NULL; i++)
        printf("%s %s", i > 0 ? "," : "", found->chain[i]->name);
    putchar('\n');
}

/* ---- why nobody answers as asked */

static void TD_PRINTF(2, 3)
print_reason(bool *is_first, const char *format, ...)
{
    va_list args;

    fputs(*is_first ? ": " : "; ", stdout);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    *is_first = false;
}

static void
print_near(const td_explained_route *near, td_str path)
{
    const td_route_info *route = &near->route;
    bool is_first = true;

    printf("%s%s of %s", strcmp(route->mount, "/") != 0 ? route->mount : "", route->pattern,
           route->instance->name);
    if ((near->why & TD_NEAR_PATTERN) && near->misfit.len > 0)
        print_reason(&is_first, "'%.*s' does not fit", TD_STR_FMT(near->misfit));
    else if (near->why & TD_NEAR_PATTERN)
        print_reason(&is_first, "it wants more behind the path");
    if (near->why & TD_NEAR_SLASH)
        print_reason(&is_first, "it has %s slash at its end",
                     path.ptr[path.len - 1] == '/' ? "no" : "a");
    if (near->why & TD_NEAR_CASE)
        print_reason(&is_first, "upper and lower case differ");
    if (near->why & TD_NEAR_HOST)
        print_reason(&is_first, "it is for hosts %s", route->hosts);
    if (near->why & TD_NEAR_METHOD)
        print_reason(&is_first, "it answers %s", near->allow.ptr);
    if (near->why & TD_NEAR_HEADERS)
        print_reason(&is_first, "it is for %s", route->wanted);
    putchar('\n');
}

static void
print_nearest(const td_explanation *found)
{
    for (size_t i = 0; i < found->nearest_count; i++) {
        printf("  %-12s ", i == 0 ? "nearest" : "");
        print_near(&found->nearest[i], found->request->head.path);
    }
}

static void
print_refusal(const td_explanation *found, const char *method)
{
    if (found->status == 405)
        printf("  %-12s 405: the route has no %s; it answers %s\n", "answer", method,
               found->allow.ptr);
    else if (found->status == 501)
        printf("  %-12s 501: no route of the application has %s\n", "answer", method);
    else if (found->status == 404)
        printf("  %-12s 404: no route matches\n", "answer");
    else if (found->status == 400)
        printf("  %-12s 400: an argument in the path is not UTF-8\n", "answer");
    else if (found->status != 0)
        printf("  %-12s %d\n", "answer", found->status);
    print_nearest(found);
}

static void
print_explanation(const struct site *site, const struct question *question,
                  const td_listener_settings *listener, const td_explanation *found)
{
    const td_configuration *configuration = site->plan->configuration;

    printf("%s %s\n", question->method, question->url);
    printf("  %-12s %s, %s%s%s\n", "listener", listener->name, listener->address,
           listener->source.file != NULL ? "; " : "",
           listener->source.file != NULL ? td_source_text(site->arena, listener->source) : "");
    print_line("application", listener->application);
    if (found->instance != NULL) {
        print_instance(site->arena, found);
        print_arguments(found);
    }
    print_chain(found);
    print_refusal(found, question->method);
    puts("  limits");
    td_settings_print_limits(
        configuration,
        &(td_limits_place){.limits = &found->limits,
                           .of_class = &found->of_class,
                           .listener = listener->name,
                           .application = listener->application,
                           .handler = found->instance != NULL ? found->instance->name : NULL,
                           .indent = "    "},
        stdout);
}

static int
explain(void *arg, const struct site *site)
{
    const struct question *question = arg;
    const td_listener_settings *listener = find_listener(site->plan->configuration, question);
    td_explanation found;
    td_err err;

    if (listener == NULL) {
        fprintf(stderr, "tornadod explain: there is no [listen:%s]\n", question->listener);
        return EXIT_FAILURE;
    }
    if (td_application_explain(site_application(site, listener->application), &listener->limits,
                               make_head(site->arena, question), &found, &err) < 0) {
        printf("%s %s\n  answer       %s\n", question->method, question->url, err.text);
        return EXIT_SUCCESS;
    }
    print_explanation(site, question, listener, &found);
    td_explanation_fini(&found);
    return EXIT_SUCCESS;
}

/* ---- asking */

/* "/path" is asked of the first listener, as it stands; so is "*". */
static bool
parse_url(td_arena *arena, struct question *question)
{
    td_uri uri;

    if (question->url[0] == '/' || strcmp(question->url, "*") == 0) {
        question->target = question->url;
        question->host = "localhost";
        return true;
    }
    if (!td_uri_parse(td_str_of(question->url), &uri))
        return false;
    question->target = td_arena_sprintf(arena, "%.*s%s%.*s", TD_STR_FMT(uri.path),
                                        uri.query.ptr != NULL ? "?" : "", (int)uri.query.len,
                                        uri.query.ptr != NULL ? uri.query.ptr : "")
                           .ptr;
    question->host = td_arena_sprintf(arena, "%.*s:%u", TD_STR_FMT(uri.host), uri.port).ptr;
    question->port = uri.port;
    return true;
}

static int
ask(td_arena *arena, struct question *question, const struct command_line *line)
{
    if (line->operands_count < 2) {
        fputs("tornadod explain: wants METHOD and URL, as in explain GET /hello/world\n", stderr);
        return EXIT_FAILURE;
    }
    question->method = line->operands[0];
    question->url = line->operands[1];
    if (!parse_url(arena, question)) {
        fprintf(stderr, "tornadod explain: %s is neither a path nor an http URL\n", question->url);
        return EXIT_FAILURE;
    }
    return check_and_tell(&line->options, explain, question);
}

int
command_explain(int argc, char **argv)
{
    struct question question = {.method = NULL};
    const struct command_option own[] = {
        {"header", "NAME:VALUE", "a header that the request has", NULL, &question.header},
        {"listener", "NAME", "where it comes in; by the port of the URL without", NULL,
         &question.listener}};
    struct command_line line;
    td_arena arena;
    int status;

    if (!COMMAND_LINE_READ(argc, argv, own, 2, &line, &status))
        return status;
    td_arena_init(&arena);
    status = ask(&arena, &question, &line);
    td_arena_fini(&arena);
    command_line_fini(&line);
    return status;
}
