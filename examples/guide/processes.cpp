// SPDX-License-Identifier: BSL-1.0
// Programs as children, and signals.
#include <coir/cancel_scope.hpp>
#include <coir/deadline.hpp>
#include <coir/fiber_group.hpp>
#include <coir/net/process.hpp>
#include <coir/net/signal.hpp>
#include <coir/runtime.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>
#include <system_error>

using namespace std::chrono_literals;
using namespace coir::net;

namespace {

void a_program_and_its_output()
{
    const auto [status, out, err] = coir::net::run({"sort", "-n"}, {.input = "10\n9\n1\n"});
    std::printf("%s: %s", status.describe().c_str(), out.c_str());

    const auto failed = coir::net::run({"ls", "/no/such/file"}, {.process = {.environment = {{"LC_ALL=C"}}}});
    std::printf("%d, and says something: %s\n", failed.status.code(), failed.err.empty() ? "no" : "yes");

    try {
        coir::net::run({"no-such-program"});
    } catch (const std::system_error& error) {
        std::printf("%s\n", error.what());
    }
}

void not_for_ever()
{
    coir::timeout limit{50ms};
    try {
        coir::net::run({"sleep", "1000"}, {.process = {.own_group = true}});
    } catch (const coir::timed_out&) {
        std::puts("took too long, and is gone");
    }
}

void a_conversation()
{
    process counter{{"sh", "-c", "while read line; do echo ${#line}; done"},
                    {.in = child_io::pipe(), .out = child_io::pipe(), .err = child_io::null()}};
    std::string answers;
    for (const char* word : {"one", "three", "eleven"}) {
        counter.in().write(std::string{word} + "\n");
        const auto size = counter.out().read_until(answers, "\n");
        std::printf("%s has %s", word, answers.substr(0, size).c_str());
        answers.erase(0, size);
    }
    counter.in().close(); // the end of its input
    std::printf("%s\n", counter.wait().describe().c_str());
}

void signals()
{
    signal_set hints{SIGUSR1, SIGHUP};
    std::raise(SIGHUP);
    std::printf("received %s\n", hints.wait() == SIGHUP ? "SIGHUP" : "another");
}

void an_orderly_end()
{
    stop_on_signal ending; // SIGINT or SIGTERM
    coir::cancel_scope working{ending.get_token()};
    coir::fiber somebody{[] { std::raise(SIGTERM); }};
    if (!working.run([] { coir::this_fiber::sleep_for(1h); }))
        std::puts("told to end, and ending");
}

} // namespace

int main()
{
    coir::run([] {
        a_program_and_its_output();
        not_for_ever();
        a_conversation();
        signals();
        an_orderly_end();
    });
}
