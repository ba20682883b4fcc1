// SPDX-License-Identifier: BSL-1.0
// Two contexts, a thread each, post to each other.
#include "bench.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <thread>

namespace asio = boost::asio;

namespace {

struct game {
    bench::number left;
    asio::io_context here{1};
    asio::io_context there{1};

    void ping()
    {
        if (left-- > 0)
            asio::post(there, [this] { asio::post(here, [this] { ping(); }); });
        else
            here.stop();
    }
};

} // namespace

int main(int argc, char** argv)
{
    const auto rounds = bench::argument(argc, argv, 2, 100'000) / 2;
    game both{rounds};
    const auto here_goes_on = asio::make_work_guard(both.here);
    auto there_goes_on = asio::make_work_guard(both.there);
    bench::stopwatch watch;
    std::thread partner{[&] { both.there.run(); }};
    both.ping();
    both.here.run();
    there_goes_on.reset();
    partner.join();
    watch.report(2 * rounds);
}
