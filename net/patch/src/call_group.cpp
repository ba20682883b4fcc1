// SPDX-License-Identifier: BSL-1.0
#include "call_group.hpp"

#include <cstdio>
#include <cstdlib>

namespace coir {

constinit unsigned patched_groups = ~0U;

namespace {

[[gnu::constructor]] void choose_groups() noexcept
{
    const char* list = std::getenv(patched_groups_variable);
    if (!list)
        return;
    patched_groups = groups_in(list);
    if (patched_groups)
        return;
    std::fprintf(stderr, "coir: %s=%s: there is no such group. There are:", patched_groups_variable, list);
    for (const auto& group : call_groups)
        std::fprintf(stderr, " %.*s", static_cast<int>(group.name.size()), group.name.data());
    std::fputc('\n', stderr);
    std::abort();
}

} // namespace

} // namespace coir
