// SPDX-License-Identifier: BSL-1.0
// pthread_once. An initialiser that suspends would leave the genuine function in progress, and the next fiber that
// needs it would block the thread for ever. The value keeps glibc's meaning, so threads that wait in the genuine
// function go on too:
//
//     bit 0: in progress    bit 1: done    the rest, while in progress: the fork generation (glibc,
//     nptl/pthread_once.c)
#include "interpose.hpp"
#include "libc.hpp"
#include "parking_lot.hpp"

#include <coir/runtime.hpp>

#include <linux/futex.h>
#include <sys/syscall.h>

#include <climits>
#include <limits>
#include <mutex>

namespace coir {

namespace {

constexpr int in_progress = 1;
constexpr int done = 2;

/// What the genuine function would store while an initialiser runs, learnt by running one. In a forked child it tells a
/// value that the parent left in progress from one of the child's own.
int in_progress_now() noexcept
{
    [[gnu::tls_model("initial-exec")]] static thread_local pthread_once_t probe;
    [[gnu::tls_model("initial-exec")]] static thread_local int seen;
    probe = PTHREAD_ONCE_INIT;
    libc.pthread_once(&probe, [] { seen = probe; });
    return seen | in_progress;
}

/// std::call_once of libstdc++ passes its function to pthread_once in two thread-local variables (<mutex>). Other
/// fibers of the thread do the same while this one waits for its turn, so that they have to be kept, and put back
/// before it.
class kept_callable {
public:
    void restore() const noexcept
    {
#if defined(__GLIBCXX__) && defined(_GLIBCXX_HAVE_TLS)
        std::__once_callable = callable_;
        std::__once_call = call_;
#endif
    }

private:
#if defined(__GLIBCXX__) && defined(_GLIBCXX_HAVE_TLS)
    void* callable_ = std::__once_callable;
    void (*call_)() = std::__once_call;
#endif
};

void finish(pthread_once_t* once, int value) noexcept
{
    __atomic_store_n(once, value, __ATOMIC_RELEASE);
    libc.syscall(SYS_futex, reinterpret_cast<long>(once), FUTEX_WAKE_PRIVATE, INT_MAX, 0, 0, 0);
    parking_lot::unpark(once, std::numeric_limits<std::size_t>::max());
}

int once_in_fiber(pthread_once_t* once, void (*initialise)())
{
    const kept_callable callable;
    for (;;) {
        int value = __atomic_load_n(once, __ATOMIC_ACQUIRE);
        if (value & done)
            return 0;
        const int running = in_progress_now();
        if (value == running) {
            parking_lot::park(once, {.reason = {"pthread_once", once}, .interruptible = false},
                              [&] { return __atomic_load_n(once, __ATOMIC_ACQUIRE) == running; });
            continue;
        }
        if (!__atomic_compare_exchange_n(once, &value, running, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            continue;
        callable.restore();
        try {
            initialise();
        } catch (...) {
            finish(once, PTHREAD_ONCE_INIT); // as the genuine function: the next caller tries again
            throw;
        }
        finish(once, done);
        return 0;
    }
}

} // namespace

COIR_INTERPOSE int pthread_once(pthread_once_t* once, void (*initialise)())
{
    if (__atomic_load_n(once, __ATOMIC_ACQUIRE) & done)
        return 0;
    if (!outside() || under_tsan)
        return once_in_fiber(once, initialise);
    struct wake_fibers {
        pthread_once_t* once;
        ~wake_fibers() { parking_lot::unpark(once, std::numeric_limits<std::size_t>::max()); }
    } afterwards{once};
    return libc.pthread_once(once, initialise);
}

} // namespace coir
