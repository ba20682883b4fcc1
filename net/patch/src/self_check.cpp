// SPDX-License-Identifier: BSL-1.0
// Does the program's libc really lead here? Loaded too late - as the dependency of a dependency, or by dlopen - the
// library comes after libc in the search order and interposes nothing; users of other hooks have met that as a silent
// miss. So it is asked at start-up, by a call as the rest of the program makes it. (A comparison of addresses would not
// do: under a sanitizer its own interceptor comes first, and calls ours.)
#include "self_check.hpp"
#include "interpose.hpp"

#include <coir/patch.hpp>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <sys/uio.h>

namespace coir {

constinit thread_local bool self_check_seen = false;

namespace {

constinit bool interposed = false;

constexpr const char* advice =
    "coir: libcoir-patch was loaded after libc and interposes nothing: blocking calls will block the thread.\n"
    "coir: list -lcoir-patch when linking the program itself (with --as-needed, also include <coir/patch.hpp>), set "
    "LD_PRELOAD, or link libcoir-net only and call coir::patch::install.\n";

bool ask() noexcept
{
    using function = ssize_t (*)(int, const iovec*, int);
    const auto as_the_program_calls_it = reinterpret_cast<function>(::dlsym(RTLD_DEFAULT, "readv"));
    const int before = errno; // 0 when main() begins, says the C standard
    self_check_seen = false;
    as_the_program_calls_it(-1, nullptr, 0);
    errno = before;
    return self_check_seen;
}

[[gnu::constructor]] void check_at_start() noexcept
{
    interposed = ask();
    const bool is_going_to_be = loaded_by_install(); // and has to hear of us in any case
    if (interposed || is_going_to_be)
        return;
    std::fputs(advice, stderr);
    const char* policy = std::getenv("COIR_PATCH_CHECK");
    if (!policy || std::strcmp(policy, "warn") != 0)
        std::abort();
}

} // namespace

bool patch::active() noexcept
{
    return interposed || is_installed();
}

} // namespace coir
