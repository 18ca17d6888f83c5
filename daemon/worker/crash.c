/*
 * The handler runs on a stack of its own, for the other one may be what overflowed.  It writes what
 * is certain first and takes the risks (walking the stack) last: a second fault in
 * here ends the process by the default action, and the master still has what was written until
 * then.  An alarm ends it should it hang.
 */
#include "daemon/worker/crash.h"

#include <execinfo.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include "base/escape.h"
#include "daemon/modules.h"
#include "io/coroutine.h"
#include "io/executor.h"
#include "web/application.h"

#define STACK_SIZE (64 * 1024)
#define WALK_MAX (CRASH_FRAMES_MAX + 8) /* our own frames and the signal's are left out */
#define RISKS_SECONDS 2

static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGTRAP};

static struct slot *own_slot;

static uintptr_t
program_counter(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (uintptr_t)context->uc_mcontext.pc;
#else
    (void)context;
    return 0;
#endif
}

static void
note_request(struct crash_report *report)
{
    td_str line = td_handler_request_line(td_coroutine_owner());
    size_t len = td_log_escape_into(report->request, sizeof(report->request) - 1, line);

    report->request[len] = '\0';
}

/* The frames below the one that faulted; what backtrace shows above it is this handler. */
static void
note_callers(struct crash_report *report, uintptr_t pc)
{
    void *addresses[WALK_MAX];
    int count = backtrace(addresses, WALK_MAX), i = 0;

    while (i < count && (uintptr_t)addresses[i] != pc)
        i++;
    for (i++; i < count && report->frames_count < CRASH_FRAMES_MAX; i++)
        modules_find((uintptr_t)addresses[i], &report->frames[report->frames_count++]);
}

static void
on_fatal_signal(int number, siginfo_t *info, void *context)
{
    struct crash_report *report = &own_slot->crash;
    uintptr_t pc = program_counter(context);
    bool was_sent = info->si_code <= 0; /* by kill or abort, so returning does not fault again */
    const td_activity *job = td_executor_activity();

    if (job != NULL)
        td_activity_set(job); /* on its thread; what the loop does meanwhile is not to blame */
    report->code = info->si_code;
    report->address = was_sent ? 0 : (uintptr_t)info->si_addr;
    report->is_overflow = !was_sent && td_coroutine_is_overflow(info->si_addr);
    modules_find(pc, &report->at);
    report->signal = number;

    alarm(RISKS_SECONDS);
    note_request(report);
    note_callers(report, pc);
    if (was_sent)
        raise(number); /* blocked until we return, and the default action by then */
}

void
crash_install(struct slot *slot)
{
    stack_t stack = {.ss_size = STACK_SIZE};
    struct sigaction action = {.sa_sigaction = on_fatal_signal,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND};
    void *warm_up[2];

    own_slot = slot;
    backtrace(warm_up, 2); /* loads what it needs now, not on the day of the crash */
    stack.ss_sp =
        mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack.ss_sp == MAP_FAILED)
        return;
    sigaltstack(&stack, NULL);
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof(fatal_signals) / sizeof(*fatal_signals); i++)
        sigaction(fatal_signals[i], &action, NULL);
}
