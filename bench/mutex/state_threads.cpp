// SPDX-License-Identifier: BSL-1.0
// Its conditions go without a mutex, because nothing preempts its threads; the one here is taken as the others take it.
#include "state_threads.hpp"
#include "hand_off.hpp"

namespace {

class mutex {
public:
    void lock() { ::st_mutex_lock(mutex_); }
    void unlock() { ::st_mutex_unlock(mutex_); }

private:
    st_mutex_t mutex_ = ::st_mutex_new();
};

class condition_variable {
public:
    void notify_one() { ::st_cond_signal(condition_); }
    void wait(std::unique_lock<mutex>& held)
    {
        held.unlock();
        ::st_cond_wait(condition_);
        held.lock();
    }

private:
    st_cond_t condition_ = ::st_cond_new();
};

} // namespace

int main(int argc, char** argv)
{
    const auto turns = bench::argument(argc, argv, 1, 1'000'000) / 2;
    bench::start_state_threads();
    bench::hand_off<mutex, condition_variable> game;
    bench::stopwatch watch;
    auto other = [&] { game.play(false, turns); };
    const st_thread_t partner = bench::start_thread(other);
    game.play(true, turns);
    ::st_thread_join(partner, nullptr);
    watch.report(2 * turns);
}
