/* Goal: the fast scanner without SSE2 agrees with http-parser as well. */
#undef __SSE2__
#include "lib/http/parser.c"
#include "tests/unit/test_parser_differential.c"
