// SPDX-License-Identifier: BSL-1.0
// calls libc|outside|inside CALL [COUNT]
//
// What a libc call costs that does not have to wait: libc's own function, the patch's outside of a fiber, and the
// patch's inside of one. All three are called through a pointer, in the same program, in which there has been a
// runtime: libc itself does more in a program that is not single-threaded.
#include "rows.hpp"

#include <coir/patch.hpp>
#include <coir/runtime.hpp>

#include <dlfcn.h>

namespace {

template <class Function> void find(void* library, const char* name, Function& function)
{
    function = reinterpret_cast<Function>(::dlsym(library, name));
    if (!function)
        std::abort();
}

calls::functions genuine()
{
    void* const libc = ::dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    calls::functions found{};
    find(libc, "read", found.read);
    find(libc, "write", found.write);
    find(libc, "recv", found.recv);
    find(libc, "send", found.send);
    find(libc, "poll", found.poll);
    find(libc, "close", found.close);
    find(libc, "getppid", found.getppid);
    find(libc, "pthread_mutex_lock", found.lock);
    find(libc, "pthread_mutex_unlock", found.unlock);
    find(libc, "sem_wait", found.wait);
    find(libc, "sem_post", found.post);
    find(libc, "getaddrinfo", found.resolve);
    find(libc, "freeaddrinfo", found.free);
    return found;
}

} // namespace

int main(int argc, char** argv)
{
    const std::string where = argc > 1 ? argv[1] : "";
    const auto* row = calls::row_of(argc, argv, 2);
    const auto count = bench::argument(argc, argv, 3, 1'000'000);
    if (!row || (where != "libc" && where != "outside" && where != "inside")) {
        std::fputs("usage: calls libc|outside|inside CALL [COUNT]\n", stderr);
        return 2;
    }
    coir::run([] {});
    if (where == "inside")
        coir::run([&] { (*row)(calls::linked(), count); });
    else
        (*row)(where == "libc" ? genuine() : calls::linked(), count);
}
