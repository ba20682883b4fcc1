// SPDX-License-Identifier: BSL-1.0
#pragma once
// pthread_cancel, for threads that are fibers. libc's own would leave a mark that libc looks at in each of its calls,
// and then unwinds from there: through coir, which is in the middle of something. So the mark is kept here, and looked
// at where the program calls (cancellation_points.cpp), on the outside of all that is coir's:
//
//     the program -> point: due? -> libcoir-patch -> libc
//                    point: has the wait in there been ended?
//
// Only then libc is told, and unwinds the program's frames, runs its clean-up handlers and keeps PTHREAD_CANCELED.
#include <coir/signal_wait.hpp>

#include <pthread.h>

namespace coir {

class thread_cancellation {
public:
    /// The caller's. Null if libc's own counts: a thread that is no fiber, or no --threads=fibers.
    static bool any() noexcept { return prepared_; }
    static thread_cancellation* own() noexcept { return prepared_ ? find_own() : nullptr; }
    /// That of the first fiber, which main is in. Null before there are threads that are fibers.
    static thread_cancellation* of_main() noexcept;
    static void prepare_main() noexcept;

    void belong_to(const signal_wait& waits) noexcept { waits_ = waits; }
    /// On the hub's thread: ends what the thread waits for, if that is a cancellation point; else the next one ends it.
    void request() noexcept;
    /// As pthread_setcancelstate and pthread_setcanceltype have it. They return what it was.
    bool enable(bool on) noexcept;
    bool set_asynchronous(bool on) noexcept;
    /// The thread is on its way out, and is not cancelled any more.
    void end() noexcept { ending_ = true; }

    /// Unwinds the caller, whose own this is, if it is time for that, and if the program has called: coir, too, calls
    /// what the program calls.
    void act_if_due(const void* called_from);
    void act_if_due_asynchronously();

    /// Makes a call that may wait. If it has been cut off it does not return, unless it has `opened` something: that is
    /// for the program to close.
    template <class Call, class Opened> auto point(Call&& call, Opened&& opened)
    {
        ++points_;
        const auto result = call();
        if (--points_ == 0 && cut_off_) [[unlikely]]
            leave(opened(result));
        return result;
    }

private:
    static thread_cancellation* find_own() noexcept;
    bool is_due() const noexcept { return requested_ && enabled_ && !ending_; }
    [[noreturn]] void act();
    void leave(bool goes_on);

    inline static constinit bool prepared_ = false;

    signal_wait waits_;
    int points_ = 0; ///< that the thread is in, one within the other
    bool requested_ = false;
    bool enabled_ = true;
    bool asynchronous_ = false;
    bool cut_off_ = false; ///< the outermost point, or it would be if it waited
    bool ending_ = false;
};

} // namespace coir
