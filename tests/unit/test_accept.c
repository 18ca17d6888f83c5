/*
 * Goal: what a client would like is read as RFC 9110 section 12 says it, and nothing that it sends
 * makes us send what it has excluded.
 */
#include "http/accept.h"
#include "unit.h"

enum {
    Z = TD_CODING_BIT(TD_CODING_ZSTD),
    B = TD_CODING_BIT(TD_CODING_BR),
    G = TD_CODING_BIT(TD_CODING_GZIP),
    ALL = Z | B | G,
};

static const struct {
    const char *accept; /* NULL: there is none */
    unsigned offered;
    const char *chosen;
} codings[] = {
    {NULL, ALL, "identity"},
    {"", ALL, "identity"},
    {"gzip, deflate, br, zstd", ALL, "zstd"},
    {"gzip, deflate, br, zstd", B | G, "br"},
    {"gzip, deflate, br, zstd", G, "gzip"},
    {"gzip, deflate, br, zstd", 0, "identity"},
    {"deflate", ALL, "identity"},
    {"GZip", ALL, "gzip"},
    {"x-gzip", ALL, "gzip"},
    {"gzip;q=0.5, br;q=0.4", ALL, "gzip"},
    {"gzip ; q=0.5 , br ; Q=0.501", ALL, "br"},
    {"gzip;q=0.001", ALL, "gzip"}, /* identity is not named: what is named is liked better */
    {"gzip;q=0.5, identity;q=0.6", ALL, "identity"},
    {"gzip;q=0.5, identity;q=0.5", ALL, "gzip"},
    {"gzip;q=0", ALL, "identity"},
    {"gzip;q=0.0, br;q=0.000", ALL, "identity"},
    {"*", ALL, "zstd"},
    {"*;q=0.5, zstd;q=0", ALL, "br"},
    {"*;q=0, gzip", ALL, "gzip"},
    {"*;q=0", ALL, "identity"}, /* nothing may be sent, so what everybody can read is */
    {"identity;q=0", ALL, "identity"},
    {"identity;q=0, br;q=0.1", ALL, "br"},
    {"gzip, gzip;q=0", ALL, "gzip"}, /* the first one counts */

    /* Not well-formed: not there. */
    {"gzip;q=", ALL, "identity"},
    {"gzip;q=2", ALL, "identity"},
    {"gzip;q=1.001", ALL, "identity"},
    {"gzip;q=0.0001", ALL, "identity"},
    {"gzip;q=-1", ALL, "identity"},
    {"gzip;q=.5", ALL, "identity"},
    {"gzip;q=0,5", ALL, "identity"},
    {"gzip;q=1e3", ALL, "identity"},
    {";q=1", ALL, "identity"},
    {"gzipped", ALL, "identity"},
    {",, ,gzip,,", ALL, "gzip"},
    {"gzip;x=y;q=0.5;z", ALL, "gzip"},
};

START_TEST(coding_that_is_liked_most_is_chosen)
{
    const td_coding coding = td_accept_coding(td_str_of(codings[_i].accept), codings[_i].offered);

    ck_assert_msg(td_str_equal(td_coding_name(coding), td_str_of(codings[_i].chosen)), "%s: %s",
                  codings[_i].accept, td_coding_name(coding).ptr);
}
END_TEST

static const struct {
    const char *accept, *type;
    int quality;
    bool named;
} types[] = {
    {NULL, "text/html", 1000, false},
    {"", "text/html", 0, false},
    {"*/*", "text/html", 1000, false},
    {"text/*;q=0.3", "text/html", 300, false},
    {"text/html", "text/html", 1000, true},
    {"TEXT/Html;q=0.25", "text/html", 250, true},
    {"text/html;level=1;q=0.4", "text/html", 400, true},
    {"text/*;q=0.9, text/html;q=0.1, */*", "text/html", 100, true},
    {"text/*;q=0.9, text/html;q=0.1, */*", "text/plain", 900, false},
    {"text/*;q=0.9, text/html;q=0.1, */*;q=0.2", "image/png", 200, false},
    {"application/json", "text/html", 0, false},
    {"text/html;q=0, */*", "text/html", 0, false},
    {"text/htmlx, xtext/html, text/, /html, text", "text/html", 0, false},
    {"textx/*", "text/html", 0, false},
    {"text/html;q=x, */*;q=0.1", "text/html", 100, false},
    {"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", "text/html", 1000,
     true},
};

START_TEST(most_specific_range_says_the_quality)
{
    const td_str accept = td_str_of(types[_i].accept), type = td_str_of(types[_i].type);

    ck_assert_int_eq(td_accept_media(accept, type), types[_i].quality);
    ck_assert_int_eq(td_accept_names(accept, type), types[_i].named);
}
END_TEST

static const struct {
    const char *accept, *tag;
    int quality;
} languages[] = {
    {NULL, "fr", 1000},
    {"", "fr", 0},
    {"*", "fr", 1000},
    {"fr-FR; q=0.9", "fr-FR", 900},
    {"fr-FR;q=-1", "fr-FR", 0},
    {"FR-fr", "fr-FR", 1000},
    {"fr;q=0.5", "fr-FR", 500},
    {"fr-CH, fr;q=0.9", "fr", 900},
    {"fr-CH;q=0.8", "fr", 800},
    {"fr-BE;q=0.4, fr-CH;q=0.8, fr-CA;q=0.6", "fr", 800},
    {"fr-CH;q=0.8", "fr-FR", 0},
    {"fr-CH;q=0, *;q=0.2", "fr", 200},
    {"fr-CH;q=0", "fr", 0},
    {"fr;q=0, *", "fr-FR", 0},
    {"zh;q=0.1, zh-Hant;q=0.7, zh-Hant-TW-x;q=0.9", "zh-Hant-TW", 700},
    {"zh-Hant;q=0.7, zh;q=0.1", "zh-Hant-TW", 700},
    {"f, fre, -fr, fr-, *-FR", "fr", 1000}, /* "fr-" begins with it, whatever it means */
    {"f, fre, -fr, *-FR", "fr", 0},
    {"fr;q=0.2, fr;q=0.7", "fr", 200},
};

START_TEST(language_has_the_quality_of_the_range_that_is_closest)
{
    ck_assert_int_eq(td_accept_language(td_str_of(languages[_i].accept),
                                        td_str_of(languages[_i].tag)),
                     languages[_i].quality);
}
END_TEST

static void
fill(TCase *tcase)
{
    ADD_TABLE(tcase, coding_that_is_liked_most_is_chosen, codings);
    ADD_TABLE(tcase, most_specific_range_says_the_quality, types);
    ADD_TABLE(tcase, language_has_the_quality_of_the_range_that_is_closest, languages);
}

int
main(void)
{
    return unit_run("accept", fill);
}
