// SPDX-License-Identifier: BSL-1.0
// The limit: contexts on the stacks of one large mapping, each entered and left once, and entered again to end.
#include "bench.hpp"
#include "parked.hpp"

#include <cstddef>
#include <sys/mman.h>
#include <vector>

#include <boost/context/detail/fcontext.hpp>

namespace {

namespace detail = boost::context::detail;

struct task {
    bench::parked_report* report;
    bench::number index;
};

bench::number ended = 0;

void run(detail::transfer_t from)
{
    const auto [report, index] = *static_cast<task*>(from.data);
    report->touch_stack(index);
    from = detail::jump_fcontext(from.fctx, nullptr);
    ++ended;
    detail::jump_fcontext(from.fctx, nullptr);
}

} // namespace

int main(int argc, char** argv)
{
    const auto fibers = static_cast<std::size_t>(bench::argument(argc, argv, 1, 10'000));
    constexpr std::size_t stack_size = 64 * 1024;
    bench::parked_report report{static_cast<bench::number>(fibers)};
    void* const memory = ::mmap(nullptr, fibers * stack_size, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return 1;
    auto* end = static_cast<std::byte*>(memory);
    std::vector<detail::fcontext_t> all(fibers);
    for (std::size_t i = 0; i < fibers; ++i) {
        task mine{&report, static_cast<bench::number>(i)};
        end += stack_size;
        all[i] = detail::jump_fcontext(detail::make_fcontext(end, stack_size, run), &mine).fctx;
    }
    report.parked(0); // nothing is guarded
    for (const auto context : all)
        detail::jump_fcontext(context, nullptr);
    report.woken(ended == static_cast<bench::number>(fibers));
}
