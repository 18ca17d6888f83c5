/* Goal: coroutines leave, wait and fail in C++ frames as C++ expects; driven by test_cxx.py. */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include <ev.h>
#include <tornado/tornado.h>

extern "C" { /* our private headers are C's alone */
#include "io/coroutine.h"
}

namespace {

std::string notes;
td_ioloop *loop;

struct Noted {
    explicit Noted(char letter) : letter(letter) {}
    ~Noted() { notes += letter; }
    char letter;
};

void
check(const char *what, const char *wanted)
{
    if (notes != wanted) {
        std::printf("FAIL %s: wanted \"%s\", got \"%s\"\n", what, wanted, notes.c_str());
        std::exit(1);
    }
    notes.clear();
}

void
on_ended(void *, td_coroutine_end end)
{
    notes += "RXC"[end];
}

td_coroutine *
start(void (*run)(void *))
{
    td_coroutine_task task = {};
    td_coroutine *co = nullptr;

    task.run = run;
    task.ended = on_ended;
    td_coroutine_start(&task, &co);
    return co;
}

void
raise_deep(int depth)
{
    Noted noted(static_cast<char>('a' + depth));

    if (depth < 2)
        raise_deep(depth + 1);
    if (depth == 2)
        td_coroutine_raise();
    notes += '!';
}

void
raise_runs_destructors(void *)
{
    raise_deep(0);
}

void
catch_all_rethrows(void *)
{
    Noted noted('n');

    try {
        td_coroutine_raise();
    } catch (const std::exception &) {
        notes += '!'; /* a raise is no std::exception */
    } catch (...) {
        notes += 'c';
        throw;
    }
}

void
catch_all_keeps(void *)
{
    try {
        td_coroutine_raise();
    } catch (...) {
        notes += 'k';
    }
    td_coroutine_wait(nullptr, nullptr);
    notes += 'w';
}

void
wait_in_a_function(void *)
{
    Noted noted('n');

    td_coroutine_wait(nullptr, nullptr);
    notes += '!';
}

/* Two of these wait inside their catch blocks and end in the order in which they began. */
template <int number>
void
wait_while_handling(void *)
{
    try {
        throw std::runtime_error(std::to_string(number));
    } catch (const std::exception &e) {
        td_coroutine_wait(nullptr, nullptr);
        try {
            throw;
        } catch (const std::exception &again) {
            notes += again.what();
        }
    }
    notes += std::uncaught_exceptions() == 0 ? 'o' : '!';
}

struct Waits {
    ~Waits()
    {
        td_coroutine_wait(nullptr, nullptr);
        notes += 'd';
    }
};

void
wait_in_a_destructor(void *)
{
    Waits waits;

    td_coroutine_raise();
}

class own_error : public std::logic_error {
    using std::logic_error::logic_error;
};

void
throw_and_let_go(void *)
{
    Noted noted('n');

    throw own_error("disk full");
}

void
throw_an_int(void *)
{
    Noted noted('n');

    throw 7;
}

} /* namespace */

int
main()
{
    td_ioloop_create(&loop, nullptr);

    start(raise_runs_destructors);
    check("raise", "cbaX");
    start(catch_all_rethrows);
    check("catch (...) that rethrows", "cnX");

    td_coroutine *co = start(catch_all_keeps);
    check("catch (...) that keeps", "k");
    td_coroutine_resume(co, 0);
    check("and goes on", "wR");

    td_coroutine_cancel(start(wait_in_a_function));
    check("cancelled", "nC");

    td_coroutine *first = start(wait_while_handling<1>), *second = start(wait_while_handling<2>);
    td_coroutine_resume(first, 0);
    td_coroutine_resume(second, 0);
    check("waiting inside of catch", "1oR2oR");
    td_coroutine_cancel(start(wait_while_handling<3>));
    check("cancelled inside of catch", "C");
    start(raise_runs_destructors);
    check("raise afterwards", "cbaX");

    co = start(wait_in_a_destructor);
    check("waiting in a destructor", "");
    td_coroutine_resume(co, 0);
    check("and going on", "dX");

    start(throw_and_let_go);
    check("an exception that nobody catches", "nX");
    start(throw_an_int);
    check("an int that nobody catches", "nX");

    td_ioloop_destroy(&loop);
    std::puts("all good");
    return 0;
}
