// SPDX-License-Identifier: BSL-1.0
//
// The primitives of docs/guide/waiting-and-waking.md.
#include <coir/channel.hpp>
#include <coir/condition_variable.hpp>
#include <coir/event.hpp>
#include <coir/fiber_group.hpp>
#include <coir/mutex.hpp>
#include <coir/runtime.hpp>
#include <coir/semaphore.hpp>

#include <cstdio>
#include <deque>
#include <mutex>

using namespace std::chrono_literals;

namespace {

/// Many may read at once, four may fetch.
class cache {
public:
    int get(int key)
    {
        slots_.acquire();
        coir::this_fiber::sleep_for(10ms); // ask somebody
        slots_.release();
        std::scoped_lock lock{mutex_};
        ++fetches_;
        return key * key;
    }
    int fetches() const { return fetches_; }

private:
    coir::counting_semaphore<> slots_{4};
    coir::mutex mutex_;
    int fetches_ = 0;
};

class jobs {
public:
    void add(int job)
    {
        {
            std::scoped_lock lock{mutex_};
            waiting_.push_back(job);
        }
        added_.notify_one();
    }
    int take()
    {
        std::unique_lock lock{mutex_};
        added_.wait(lock, [&] { return !waiting_.empty(); });
        const int job = waiting_.front();
        waiting_.pop_front();
        return job;
    }

private:
    coir::mutex mutex_;
    coir::condition_variable added_;
    std::deque<int> waiting_;
};

} // namespace

int main()
{
    coir::run([] {
        coir::event open;
        coir::channel<int> squares{16};
        cache numbers;
        jobs work;

        coir::fiber_group workers;
        for (int i = 0; i < 3; ++i)
            workers.spawn({.name = "worker"}, [&] {
                open.wait();
                squares.send(numbers.get(work.take()));
            });
        for (int i = 1; i <= 3; ++i)
            work.add(i);
        open.set();
        workers.join();
        squares.close();

        int sum = 0;
        for (int square : squares)
            sum += square;
        std::printf("%d fetches, the sum is %d\n", numbers.fetches(), sum);
    });
}
