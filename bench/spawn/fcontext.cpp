// SPDX-License-Identifier: BSL-1.0
// The limit: make_fcontext on a stack that was used before, a jump there, and a jump back when it has ended.
#include "bench.hpp"

#include <cstddef>
#include <memory>

#include <boost/context/detail/fcontext.hpp>

namespace {

namespace detail = boost::context::detail;

void run(detail::transfer_t from)
{
    ++*static_cast<bench::number*>(from.data);
    detail::jump_fcontext(from.fctx, nullptr);
}

} // namespace

int main(int argc, char** argv)
{
    const auto count = bench::argument(argc, argv, 2, 1'000'000);
    constexpr std::size_t stack_size = 16 * 1024;
    const auto stack = std::make_unique<std::byte[]>(stack_size);
    bench::number ran = 0;
    bench::stopwatch watch;
    for (bench::number i = 0; i < count; ++i)
        detail::jump_fcontext(detail::make_fcontext(stack.get() + stack_size, stack_size, run), &ran);
    watch.report(count, {{"checked", ran == count}});
}
