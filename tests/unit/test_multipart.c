/*
 * Goal: a multipart/form-data body is taken apart as its sender meant it, in whatever pieces it
 * comes, and in time that is linear in its size.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <tornado/error.h>
#include "base/arena.h"
#include "http/multipart.h"
#include "unit.h"

static const td_multipart_limits limits = {.parts_max = 4, .head_size_max = 200};

/* Checked a million times: an assertion of libcheck is a system call each time. */
#define MUST(condition)                     \
    do {                                    \
        if (!(condition))                   \
            ck_abort_msg("%s", #condition); \
    } while (0)

/* ---- what a parser says, as text: "name[filename|type]=body;" for each part, then "." or "CODE
 * what" */

struct saying {
    char text[4096];
    size_t len;
    unsigned pieces; /* of bodies */
};

static void
say(struct saying *s, td_str bytes)
{
    MUST(s->len + bytes.len < sizeof(s->text));
    memcpy(s->text + s->len, bytes.ptr, bytes.len);
    s->len += bytes.len;
    s->text[s->len] = '\0';
}

static void
say_part(struct saying *s, const td_multipart *m)
{
    say(s, m->name);
    if (!td_str_is_null(m->filename)) {
        say(s, TD_STR("["));
        say(s, m->filename);
        say(s, TD_STR("|"));
        say(s, td_str_is_null(m->content_type) ? TD_STR("-") : m->content_type);
        say(s, TD_STR("]"));
    }
    say(s, TD_STR("="));
}

/* Feed one piece; false: nothing more is wanted. */
static bool
feed(struct saying *s, td_multipart *m, td_str input)
{
    td_str data;

    for (;;) {
        const int event = td_multipart_next(m, &limits, &input, &data);

        switch (event) {
        case TD_MULTIPART_MORE:
            MUST(input.len == 0);
            return true;
        case TD_MULTIPART_PART:
            say_part(s, m);
            break;
        case TD_MULTIPART_DATA:
            MUST(data.len > 0);
            s->pieces++;
            say(s, data);
            break;
        case TD_MULTIPART_PART_END:
            say(s, TD_STR(";"));
            break;
        case TD_MULTIPART_END:
            say(s, TD_STR("."));
            return false;
        default:
            MUST(event == (m->status == 413 ? TD_ETOOBIG : TD_EBADMSG));
            s->len += (size_t)snprintf(s->text + s->len, sizeof(s->text) - s->len, " %d %s",
                                       m->status, m->what);
            return false;
        }
    }
}

/* The body in three pieces, the first two ending at these bytes; each piece in memory of its own.
 */
static struct saying
saying_of(const char *content_type, td_str body, size_t first, size_t second)
{
    const size_t ends[] = {first, second, body.len};
    struct saying s = {.len = 0};
    td_multipart m = {.status = 0};
    size_t start = 0;
    bool wants_more = true;

    MUST(td_multipart_init(&m, td_str_of(content_type)) == 0);
    for (int i = 0; i < 3 && wants_more; i++) {
        const size_t len = ends[i] - start;
        char *const piece = td_xmalloc(len + 1);

        memcpy(piece, body.ptr + start, len);
        wants_more = feed(&s, &m, td_str_make(piece, len));
        free(piece);
        start = ends[i];
    }
    td_multipart_fini(&m);
    return s;
}

#define TYPE "multipart/form-data; boundary=B"
#define PART(name) "Content-Disposition: form-data; name=" name "\r\n\r\n"
#define FILE_PART(name, more) "Content-Disposition: form-data; name=" name "; " more "\r\n\r\n"

static const struct {
    const char *body, *said;
} bodies[] = {
    {"--B\r\n" PART("a") "1\r\n--B--\r\n", "a=1;."},
    {"--B\r\n" PART("\"a\"") "1\r\n--B--", "a=1;."},
    {"--B\r\n" PART("a") "1\r\n--B\r\n" PART("b") "2\r\n--B--\r\n", "a=1;b=2;."},
    {"--B\r\n" PART("a") "\r\n--B--\r\n", "a=;."},
    {"--B\r\n" PART("a") "--B--\r\n", "a=;."}, /* RFC 2046: no empty line is wanted */
    {"--B\r\n" PART("a") "--B\r\n" PART("b") "--B--\r\n", "a=;b=;."},
    {"--B--\r\n", "."},
    {"--B--", "."},
    {"preamble\r\n--B\r\n" PART("a") "1\r\n--B--\r\nepilogue\r\n--B\r\n", "a=1;."},
    {"\r\n--B\r\n" PART("a") "1\r\n--B--\r\n", "a=1;."},
    {"-\r\n-\r\n--\r\n--C\r\n--B\r\n" PART("a") "1\r\n--B--\r\n", "a=1;."},
    {"--B\r\n" PART("a") "x--B--\r\n\r\n--B--\r\n", "a=x--B--\r\n;."},
    {"--B\r\n" PART("a") "\r\n--Bx\r\n--B \r\n\r\n--B-\r\n--B--",
     "a=\r\n--Bx\r\n--B \r\n\r\n--B-;."},
    {"--B\r\n" PART("a") "\r\r\n\r\n-\r\n--\r\n--\r--B\r\n--B--",
     "a=\r\r\n\r\n-\r\n--\r\n--\r--B;."},
    {"--B\r\n" PART("a") "\r\n--B\r\r\n--B--", "a=\r\n--B\r;."},
    {"--B\r\n" PART("a") "\r\n--B-\r\n--B--", "a=\r\n--B-;."},
    {"--B\r\n" PART("a") "--Bx-\r\n--B--", "a=--Bx-;."},
    {"--B\r\n" PART("a") "--B\r\r\n--B--", "a=--B\r;."},
    {"--B\r\n" PART("a") "-\r\n--B--", "a=-;."},
    {"--B\r\n" PART("a") "\n--B--\n\r\n--B--", "a=\n--B--\n;."},
    {"--B\r\ncontent-disposition:form-data;name=a\r\nX-Other: y\r\n\r\n1\r\n--B--", "a=1;."},
    {"--B\r\nContent-Disposition: Form-Data ; NAME = a ;\r\n\r\n1\r\n--B--", "a=1;."},
    {"--B\r\n" PART("\"a b;c=d\"") "1\r\n--B--", "a b;c=d=1;."},
    {"--B\r\n" PART("\"a\\\"b\\\\c\\d\"") "1\r\n--B--", "a\"b\\c\\d=1;."},
    {"--B\r\n" PART("\"\xc3\xa9\"") "1\r\n--B--", "\xc3\xa9=1;."},
    {"--B\r\n" FILE_PART("a", "filename=\"f.txt\"") "1\r\n--B--", "a[f.txt|-]=1;."},
    {"--B\r\n" FILE_PART("a", "filename=f.txt") "1\r\n--B--", "a[f.txt|-]=1;."},
    {"--B\r\n" FILE_PART("a", "filename=\"\"") "1\r\n--B--", "a=1;."},
    {"--B\r\n" FILE_PART("a", "filename=\"C:\\x.txt\"") "1\r\n--B--", "a[C:\\x.txt|-]=1;."},
    {"--B\r\nContent-Type: text/plain; x=y\r\nContent-Disposition: form-data; name=a; "
     "filename=f\r\n"
     "\r\n1\r\n--B--",
     "a[f|text/plain; x=y]=1;."},
    {"--B\r\nContent-Disposition: form-data; name*=utf-8''caf%C3%A9\r\n\r\n1\r\n--B--",
     "caf\xc3\xa9=1;."},
    {"--B\r\nContent-Disposition: form-data; name*=ISO-8859-1'fr'%e9; name=e; filename=y\r\n\r\n1"
     "\r\n--B--", "\xc3\xa9[y|-]=1;."},
    {"--B\r\n" FILE_PART("a", "filename*=utf-8''%c3%a9.txt") "1\r\n--B--", "a[\xc3\xa9.txt|-]=1;."},
    {"--B\r\n" FILE_PART("a", "filename*=UTF-8'en'x; filename=y") "1\r\n--B--", "a[x|-]=1;."},
    {"--B\r\n" FILE_PART("a", "filename=y; filename*=iso-8859-1''%E9%41") "1\r\n--B--", "a[\xc3\xa9"
                                                                                        "A|-]=1;."},
    {"--B\r\n" FILE_PART("a", "filename=y; filename*=utf-8''") "1\r\n--B--", "a=1;."},
    {"--B\r\n" PART("a") "\r\n--B\r\n" PART("b") "\r\n--B\r\n" PART("c") "\r\n--B\r\n" PART(
         "d") "\r\n--B--",
     "a=;b=;c=;d=;."},

    /* lines that say nothing here, whatever is in front of them and behind */
    {"--B\r\nX: y\r\nX-Some-Other: \xc3\xa9 y\r\nX-Some: \r\n" PART("a") "1\r\n--B--", "a=1;."},
    {"--B\r\nX: y\r\nX-Tab: a\tb\r\nX_1: y\r\nX-12-Letters: y\r\n" PART("a") "1\r\n--B--", "a=1;."},
    {"--B\r\nX: y\r\nX-Some-Other: \xc3( and more of it\r\n" PART("a"),
     " 400 the header of a part is not UTF-8"},
    {"--B\r\nX: y\r\nX-Some-Other: \xc3\xa9\x7f and more of it\r\n" PART("a"),
     " 400 the header of a part has a control byte"},
    {"--B\r\nX: y\r\nX-Some-Other: \rX: y and more of it\r\n" PART("a"),
     " 400 the header of a part has a control byte"},
    {"--B\r\nX: y\r\n: y and more of it\r\n" PART("a"),
     " 400 a line of a part's header is not a name and a colon"},
    {"--B\r\nX: y\r\nX-Some-Other\r\nX: y and more of it\r\n" PART("a"),
     " 400 a line of a part's header is not a name and a colon"},

    /* what has no end: nothing is wrong with it so far */
    {"", ""},
    {"--B", ""},
    {"--B\r\n" PART("a") "1", "a=1"},
    {"--B\r\n" PART("a") "1\r\n--B\r\n", "a=1;"},

    /* what is refused */
    {"--B\r\n\r\n1\r\n--B--", " 400 a part has no Content-Disposition"},
    {"--B\r\nContent-Type: a/b\r\n\r\n1\r\n--B--", " 400 a part has no Content-Disposition"},
    {"--B\r\nContent-Disposition: attachment; name=a\r\n\r\n",
     " 400 Content-Disposition is not form-data"},
    {"--B\r\nContent-Disposition: form-data\r\n\r\n", " 400 a part has no name"},
    {"--B\r\n" PART("\"\""), " 400 a part has no name"},
    {"--B\r\n" PART("\"a"), " 400 a parameter of Content-Disposition is broken"},
    {"--B\r\n" PART("\"a\\\""), " 400 a parameter of Content-Disposition is broken"},
    {"--B\r\n" PART("\"a\"b"), " 400 a parameter of Content-Disposition is broken"},
    {"--B\r\n" PART("a; =b"), " 400 a parameter of Content-Disposition is broken"},
    {"--B\r\n" PART("a; filename"), " 400 a parameter of Content-Disposition is broken"},
    {"--B\r\n" PART("a; x; y=z"), " 400 a parameter of Content-Disposition is broken"},
    {"--B\r\n" PART("a; name=b"), " 400 a parameter of Content-Disposition comes twice"},
    {"--B\r\n" FILE_PART("a", "filename=f; FileName=g"),
     " 400 a parameter of Content-Disposition comes twice"},
    {"--B\r\nContent-Disposition: form-data; name*0=x; name=a\r\n\r\n", " 400 name* comes in pieces"},
    {"--B\r\nContent-Disposition: form-data; name*=koi8-r''x; name=a\r\n\r\n",
     " 400 name* is broken or in an unknown charset"},
    {"--B\r\nContent-Disposition: form-data; name*=utf-8''%0a\r\n\r\n",
     " 400 name* is broken or in an unknown charset"},
    {"--B\r\nContent-Disposition: form-data; name*=utf-8''\r\n\r\n", " 400 a part has no name"},
    {"--B\r\nContent-Disposition: form-data; name*=utf-8''a; NAME*=utf-8''b\r\n\r\n",
     " 400 a parameter of Content-Disposition comes twice"},
    {"--B\r\n" FILE_PART("a", "filename*0=x; filename*1=y"), " 400 filename* comes in pieces"},
    {"--B\r\n" FILE_PART("a", "FileName*0*=utf-8''x"), " 400 filename* comes in pieces"},
    {"--B\r\n" FILE_PART("a", "filename*=koi8-r''x"),
     " 400 filename* is broken or in an unknown charset"},
    {"--B\r\n" FILE_PART("a", "filename*=utf-8'x"),
     " 400 filename* is broken or in an unknown charset"},
    {"--B\r\n" FILE_PART("a", "filename*=utf-8''%ff"),
     " 400 filename* is broken or in an unknown charset"},
    {"--B\r\n" FILE_PART("a", "filename*=utf-8''%00"),
     " 400 filename* is broken or in an unknown charset"},
    {"--B\r\n" FILE_PART("a", "filename*=utf-8''%0d"),
     " 400 filename* is broken or in an unknown charset"},
    {"--B\r\n" FILE_PART("a", "filename*=utf-8''%4"),
     " 400 filename* is broken or in an unknown charset"},
    {"--B\r\n" PART("\"\x01\""), " 400 the header of a part has a control byte"},
    {"--B\r\n" PART("\"a\rb\""), " 400 the header of a part has a control byte"},
    {"--B\r\n" PART("\"a\nb\""), " 400 the header of a part has a control byte"},
    {"--B\r\n" PART("\"\xff\""), " 400 the header of a part is not UTF-8"},
    {"--B\r\nX\r\n\r\n", " 400 a line of a part's header is not a name and a colon"},
    {"--B\r\nX : y\r\n\r\n", " 400 a line of a part's header is not a name and a colon"},
    {"--B\r\nX: y\r\n z\r\n\r\n", " 400 a line of a part's header is not a name and a colon"},
    {"--B\r\nX: y\nContent-Type: a/b\r\n\r\n", " 400 the header of a part has a control byte"},
    {"--B\r\nContent-Type:\r\nContent-Type:\r\n\r\n",
     " 400 a line of a part's header comes twice"},
    {"--B\r\nX", ""},
    {"--B\r\nX\r\n", " 400 a line of a part's header is not a name and a colon"}, /* at once */
    {"--B\r\n" PART("a; b=; c=; d=; e=; f=; g=; h=; i=; j=; k=; l=; m=; n=; o=;; ;p=") "\r\n--B--",
     "a=;."},
    {"--B\r\n" PART("a; b=; c=; d=; e=; f=; g=; h=; i=; j=; k=; l=; m=; n=; o=; p=; q="),
     " 400 Content-Disposition has more than 16 parameters"},
    {"--B\r\nContent-Type: a/b\r\nContent-Type: a/b\r\n\r\n",
     " 400 a line of a part's header comes twice"},
    {"--B\r\nContent-Disposition: form-data; name=a\r\n--B--\r\n\r\n",
     " 400 a line of a part's header is not a name and a colon"},
    {"--B\r\n" PART("a") "\r\n--B\r\n" PART("b") "\r\n--B\r\n" PART("c") "\r\n--B\r\n" PART(
         "d") "\r\n--B\r\n" PART("e") "\r\n--B--",
     "a=;b=;c=;d= 413 more parts than max_parts"},
};

START_TEST(a_body_is_taken_apart_in_whatever_pieces_it_comes)
{
    const td_str body = td_str_of(bodies[_i].body);

    const size_t step = body.len < 110 ? 1 : body.len; /* of a long one each cut, not each pair */

    for (size_t first = 0; first <= body.len; first++)
        for (size_t second = first; second <= body.len; second += step) {
            const struct saying s = saying_of(TYPE, body, first, second);

            if (strcmp(s.text, bodies[_i].said) != 0)
                ck_abort_msg("%s\n%s\ncut at %zu and %zu", s.text, bodies[_i].body, first, second);
        }
}
END_TEST

START_TEST(the_body_of_a_part_is_one_piece_of_the_input)
{
    static const char body[] = "--B\r\n" PART("a") "--Bx\r\n--B\r\r--Bz\r\n--\r\n--B--";
    const struct saying s = saying_of(TYPE, td_str_make(body, sizeof(body) - 1), 0, 0);

    ck_assert_str_eq(s.text, "a=--Bx\r\n--B\r\r--Bz\r\n--;.");
    ck_assert_uint_eq(s.pieces, 1);
}
END_TEST

START_TEST(a_zero_byte_is_data)
{
    static const char body[] = "--B\r\n" PART("a") "x\0y\r\n--B--";
    const struct saying s = saying_of(TYPE, td_str_make(body, sizeof(body) - 1), 0, 0);

    ck_assert_uint_eq(s.len, 7);
    ck_assert_int_eq(memcmp(s.text, "a=x\0y;.", 7), 0);
}
END_TEST

START_TEST(a_zero_byte_in_a_header_is_not)
{
    static const char body[] = "--B\r\nContent-Disposition: form-data; name=\"a\0b\"\r\n\r\n";

    ck_assert_str_eq(saying_of(TYPE, td_str_make(body, sizeof(body) - 1), 0, 0).text,
                     " 400 the header of a part has a control byte");
}
END_TEST

/* max_part_header_size counts to the end of the empty line. */
START_TEST(a_header_of_a_part_is_bounded)
{
    char body[1024];
    const size_t around = strlen(PART("")) + 3;

    for (size_t name = limits.head_size_max - around - 2; name < limits.head_size_max; name++) {
        const int len =
            snprintf(body, sizeof(body), "--B\r\n" PART("%0*d") "\r\n--B--", (int)name, 0);
        const bool fits = strlen(PART("")) + name <= limits.head_size_max;

        for (int cut = 0; cut <= len; cut++) {
            const struct saying s =
                saying_of(TYPE, td_str_make(body, (size_t)len), (size_t)cut, (size_t)cut);

            if (fits)
                ck_assert_str_eq(s.text + s.len - 3, "=;.");
            else
                ck_assert_str_eq(s.text,
                                 " 413 the header of a part is larger than max_part_header_size");
        }
    }
}
END_TEST

/* ---- boundaries */

#define TEN "0123456789"
#define SEVENTY TEN TEN TEN TEN TEN TEN TEN

static const struct {
    const char *type, *boundary; /* NULL: refused */
} boundaries[] = {
    {"multipart/form-data; boundary=B", "B"},
    {"multipart/form-data;boundary=\"B\"", "B"},
    {"multipart/form-data; charset=utf-8; Boundary=B; x=y", "B"},
    {"multipart/form-data; boundary=\"a b\"", "a b"},
    {"multipart/form-data; boundary=a=b", "a=b"},
    {"multipart/form-data; boundary=----WebKitFormBoundaryAbC/+", "----WebKitFormBoundaryAbC/+"},
    {"multipart/form-data; boundary=\"a\\\"b\"", "a\"b"},
    {"multipart/form-data; boundary=" SEVENTY, SEVENTY},
    {"multipart/form-data; boundary=" SEVENTY "1", NULL},
    {"multipart/form-data; boundary=", NULL},
    {"multipart/form-data; boundary=\"\"", NULL},
    {"multipart/form-data; boundary=\"B", NULL},
    {"multipart/form-data; boundary=B; boundary=B", NULL},
    {"multipart/form-data; boundary", NULL},
    {"multipart/form-data", NULL},
    {"multipart/form-data;;", NULL},
    {"", NULL},
};

START_TEST(a_boundary_has_1_to_70_bytes)
{
    td_multipart m = {.status = 0};
    char body[512];

    if (boundaries[_i].boundary == NULL) {
        ck_assert_int_eq(td_multipart_init(&m, td_str_of(boundaries[_i].type)), TD_EBADMSG);
        ck_assert_int_eq(m.status, 400);
        ck_assert_ptr_nonnull(m.what);
        td_multipart_fini(&m);
        return;
    }
    snprintf(body, sizeof(body), "--%s\r\n" PART("a") "1\r\n--%s--", boundaries[_i].boundary,
             boundaries[_i].boundary);
    for (size_t cut = 0; cut <= strlen(body); cut++)
        ck_assert_str_eq(saying_of(boundaries[_i].type, td_str_of(body), cut, cut).text, "a=1;.");
}
END_TEST

/* ---- time */

/* Nanoseconds of this thread to go through the body, the least of a few runs. */
static int64_t
cost(td_str body)
{
    int64_t least = INT64_MAX;

    for (int run = 0; run < 5; run++) {
        const td_multipart_limits wide = {.parts_max = 1000000, .head_size_max = 1 << 30};
        td_multipart m = {.status = 0};
        struct timespec begin, end;
        td_str rest = body, data;
        int64_t ns;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
        ck_assert_int_eq(td_multipart_init(&m, TD_STR(TYPE)), 0);
        while (td_multipart_next(&m, &wide, &rest, &data) > TD_MULTIPART_MORE)
            if (m.what != NULL || rest.len == 0)
                break;
        td_multipart_fini(&m);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
        ns = (end.tv_sec - begin.tv_sec) * 1000000000 + end.tv_nsec - begin.tv_nsec;
        least = ns < least ? ns : least;
    }
    return least;
}

/* What is repeated, behind `front`: what makes a careless parser look at the same bytes again. */
static const struct {
    const char *front, *again;
} bombs[] = {
    {"", "--B\r\n" PART("a") "1\r\n"},
    {"--B\r\n" PART("a"), "\r\n--B"},
    {"--B\r\n" PART("a"), "\r\n--B\r"},
    {"--B\r\n" PART("a"), "\r"},
    {"--B\r\n" PART("a"), "-"},
    {"--B\r\n", "a: b\r\n"},
    {"--B\r\n", "\r"},
    {"--B\r\n", "a"},
    {"--B\r\nContent-Disposition: form-data; name=\"", "\\\""},
    {"--B\r\nContent-Disposition: form-data", ";"},
    {"--B\r\nContent-Disposition: form-data", "; a=\"b\""},
    {"", "\r\n--"},
};

START_TEST(ten_times_as_much_takes_ten_times_as_long)
{
    const size_t front = strlen(bombs[_i].front), again = strlen(bombs[_i].again);
    int64_t ns[3];

    for (size_t k = 0, count = 10000; k < 3; k++, count *= 10) {
        const size_t len = front + count / again * again;
        char *const body = td_xmalloc(len);

        memcpy(body, bombs[_i].front, front);
        for (size_t at = front; at < len; at += again)
            memcpy(body + at, bombs[_i].again, again);
        ns[k] = cost(td_str_make(body, len));
        free(body);
    }
    /* A hundredfold input: 10,000 times as long would be quadratic. */
    ck_assert_msg(ns[2] < 1000 * (ns[0] + 1000), "%ld, %ld, %ld ns", (long)ns[0], (long)ns[1],
                  (long)ns[2]);
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, a_body_is_taken_apart_in_whatever_pieces_it_comes, bodies);
    tcase_add_test(tcase, the_body_of_a_part_is_one_piece_of_the_input);
    tcase_add_test(tcase, a_zero_byte_is_data);
    tcase_add_test(tcase, a_zero_byte_in_a_header_is_not);
    tcase_add_test(tcase, a_header_of_a_part_is_bounded);
    ADD_TABLE(tcase, a_boundary_has_1_to_70_bytes, boundaries);
    ADD_TABLE(tcase, ten_times_as_much_takes_ten_times_as_long, bombs);
}

int
main(void)
{
    return unit_run("multipart", fill);
}
