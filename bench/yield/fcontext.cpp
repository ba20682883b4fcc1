// SPDX-License-Identifier: BSL-1.0
// The limit: each context jumps to the next one in a ring. No queue, no scheduler, nothing to find out.
#include "bench.hpp"

#include <cstddef>
#include <memory>
#include <vector>

#include <boost/context/detail/fcontext.hpp>

namespace {

namespace detail = boost::context::detail;

struct context {
    detail::fcontext_t stopped_at = nullptr;
    context* next = nullptr;
};

bench::number jumps = 0;

/// Whoever jumps says who it is.
void arrive(detail::transfer_t from)
{
    static_cast<context*>(from.data)->stopped_at = from.fctx;
}

context* running = nullptr;

void run(detail::transfer_t from)
{
    arrive(from);
    for (context* const self = running;;) {
        ++jumps;
        running = self->next;
        arrive(detail::jump_fcontext(self->next->stopped_at, self));
    }
}

} // namespace

int main(int argc, char** argv)
{
    const auto contexts = static_cast<std::size_t>(bench::argument(argc, argv, 1, 2));
    const auto rounds = bench::argument(argc, argv, 2, 2'000'000) / static_cast<bench::number>(contexts);
    constexpr std::size_t stack_size = 16 * 1024;
    std::vector<context> ring(contexts); // the first is main's
    std::vector<std::unique_ptr<std::byte[]>> stacks;
    for (std::size_t i = 0; i < contexts; ++i) {
        ring[i].next = &ring[(i + 1) % contexts];
        if (i == 0)
            continue;
        stacks.push_back(std::make_unique_for_overwrite<std::byte[]>(stack_size));
        ring[i].stopped_at = detail::make_fcontext(stacks.back().get() + stack_size, stack_size, run);
    }
    auto go_round = [&] {
        ++jumps;
        running = ring[0].next;
        arrive(detail::jump_fcontext(ring[0].next->stopped_at, &ring[0]));
    };
    go_round(); // all have started
    jumps = 0;
    bench::stopwatch watch;
    for (bench::number round = 0; round < rounds; ++round)
        go_round();
    const auto all = rounds * static_cast<bench::number>(contexts);
    watch.report(all, {{"checked", jumps == all}});
}
