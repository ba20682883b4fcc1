// SPDX-License-Identifier: BSL-1.0
// A program that is linked with coir-net only, so that libc comes first, and installs the patch at run time.
#include <coir/patch_install.hpp>

#include <coir/fiber.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <dlfcn.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

// The names of libraries are written by dlopen and read under the dynamic linker's lock, which ThreadSanitizer does not
// know.
extern "C" [[gnu::visibility("default")]] const char* __tsan_default_suppressions()
{
    return "race:coir::loaded_object::loaded_object\n";
}

// The program's own, which its libraries call instead of libc's: nobody is to touch that.
extern "C" [[gnu::visibility("default")]] int pause()
{
    return 42;
}

namespace {

using coir::patch::install_options;
using coir::patch::install_report;

install_report install(install_options options = {})
{
    options.library = COIR_TEST_PATCH;
    return coir::patch::install(options);
}

/// Whatever a test case does, the next finds the program as it began.
struct uninstaller {
    uninstaller() = default;
    ~uninstaller() { coir::patch::uninstall(); }
    uninstaller(const uninstaller&) = delete;
    uninstaller& operator=(const uninstaller&) = delete;
};

std::string directory()
{
    return std::filesystem::read_symlink("/proc/self/exe").parent_path();
}

/// A plug-in, loaded while this lives.
class plugin {
public:
    explicit plugin(const std::string& name, int mode = RTLD_LAZY)
        : handle_{::dlopen((directory() + "/lib" + name + ".so").c_str(), mode | RTLD_LOCAL)}
    {
        REQUIRE_MESSAGE(handle_, ::dlerror());
    }
    ~plugin() { ::dlclose(handle_); }
    plugin(const plugin&) = delete;
    plugin& operator=(const plugin&) = delete;

    void nap() const { reinterpret_cast<void (*)()>(::dlsym(handle_, "nap"))(); }
    int pause() const { return reinterpret_cast<int (*)()>(::dlsym(handle_, "calls_pause"))(); }
    auto& pointer() const
    {
        return *static_cast<int (**)(const timespec*, timespec*)>(::dlsym(handle_, "nap_by_pointer"));
    }
    void nap_by_pointer() const
    {
        const timespec time{.tv_sec = 0, .tv_nsec = 1'000'000};
        pointer()(&time, nullptr);
    }

private:
    void* handle_;
};

void own_nap()
{
    const timespec time{.tv_sec = 0, .tv_nsec = 1'000'000};
    ::nanosleep(&time, nullptr);
}

/// Does another fiber run while one sleeps?
bool suspends(const std::function<void()>& nap)
{
    return coir::run([&] {
        bool ran = false;
        coir::fiber other{[&] { ran = true; }};
        nap();
        const bool meanwhile = ran;
        other.join();
        return meanwhile;
    });
}

/// The access rights of each piece of memory that a file is mapped to.
std::vector<std::string> access_rights(const std::string& file)
{
    std::vector<std::string> result;
    std::ifstream maps{"/proc/self/maps"};
    for (std::string line; std::getline(maps, line);)
        if (line.ends_with(file))
            result.push_back(line.substr(0, line.find(' ') + 5));
    return result;
}

} // namespace

TEST_SUITE_BEGIN("install");

// Before the others, because once it is loaded it stays.
TEST_CASE("without the library there is an error, and nothing has changed") {
    CHECK_THROWS_WITH_AS(coir::patch::install({.library = "/nowhere/libcoir-patch.so"}),
                         doctest::Contains("/nowhere/libcoir-patch.so"), std::runtime_error);
    CHECK(!suspends(own_nap));
}

TEST_CASE("installed at run time, the patch reaches the program and its libraries, and uninstalled it is gone") {
    const uninstaller guard;
    for (const std::string name : {"plugin-now", "plugin-lazy", "plugin-plain"}) {
        CAPTURE(name);
        const plugin library{name};
        const auto original = library.pointer();
        const auto rights = access_rights("lib" + name + ".so");
        REQUIRE(!rights.empty());
        for (int round = 0; round < 2; ++round) {
            CHECK(!suspends(own_nap));
            CHECK(!suspends([&] { library.nap(); }));
            CHECK(!suspends([&] { library.nap_by_pointer(); }));

            CHECK(install().replaced > 0);
            CHECK(suspends(own_nap));
            CHECK(suspends([&] { library.nap(); }));
            CHECK(suspends([&] { library.nap_by_pointer(); }));
            CHECK(access_rights("lib" + name + ".so") == rights);
            CHECK(install().replaced == 0);

            coir::patch::uninstall();
            CHECK((library.pointer() == original));
            CHECK(access_rights("lib" + name + ".so") == rights);
        }
        CHECK(!suspends(own_nap));
        CHECK(!suspends([&] { library.nap(); }));
    }
}

TEST_CASE("a library that was never called through before is patched too") {
    const uninstaller guard;
    const plugin library{"plugin-lazy"}; // its slots still lead to the dynamic linker
    install();
    CHECK(suspends([&] { library.nap(); }));
    coir::patch::uninstall();
    CHECK(!suspends([&] { library.nap(); })); // and again, and is resolved now
}

TEST_CASE("a library that is loaded later is patched when dlopen returns") {
    const uninstaller guard;
    install();
    {
        const plugin library{"plugin-now", RTLD_NOW};
        CHECK(suspends([&] { library.nap(); }));
    }
    const plugin again{"plugin-now", RTLD_NOW};
    CHECK(suspends([&] { again.nap(); }));
    coir::patch::uninstall();
    CHECK(!suspends([&] { again.nap(); }));
    const plugin last{"plugin-lazy"};
    CHECK(!suspends([&] { last.nap(); }));
}

TEST_CASE("a library that was unloaded meanwhile is not written to") {
    const uninstaller guard;
    {
        const plugin library{"plugin-now"};
        install();
        CHECK(suspends([&] { library.nap(); }));
    }
    coir::patch::uninstall();
    CHECK(!suspends(own_nap));
}

TEST_CASE("patterns say which libraries, the program among them") {
    const uninstaller guard;
    const plugin one{"plugin-now"};
    const plugin other{"plugin-lazy"};
    install({.exclude = {"libplugin-l*"}});
    CHECK(suspends([&] { one.nap(); }));
    CHECK(!suspends([&] { other.nap(); }));
    CHECK(suspends(own_nap));
    coir::patch::uninstall();

    install({.include = {"libplugin-l*"}});
    CHECK(!suspends([&] { one.nap(); }));
    CHECK(suspends([&] { other.nap(); }));
    CHECK(!suspends(own_nap));
    coir::patch::uninstall();

    install({.exclude = {"install-tests"}});
    CHECK(suspends([&] { one.nap(); }));
    CHECK(!suspends(own_nap));
}

TEST_CASE("what leads elsewhere than to libc is left alone, and told") {
    const uninstaller guard;
    const plugin library{"plugin-now"};
    const auto report = install();
    const auto told = std::ranges::find(report.missed, "libplugin-now.so", &coir::patch::missed_call::library);
    REQUIRE(told != report.missed.end());
    CHECK(told->symbol == "pause");
    CHECK(told->why == "it calls that of install-tests");
    CHECK(library.pause() == 42);
    CHECK(std::ranges::all_of(report.missed, [](const auto& each) { return each.symbol == "pause"; }));
}

TEST_CASE("threads may install, uninstall, load and call at the same time") {
    const uninstaller guard;
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i)
        threads.emplace_back([] {
            for (int round = 0; round < 20; ++round) {
                install();
                coir::patch::uninstall();
            }
        });
    threads.emplace_back([] {
        for (int round = 0; round < 20; ++round)
            const plugin loaded{"plugin-now"};
    });
    std::thread caller{[&] {
        const plugin library{"plugin-lazy"};
        const timespec none{};
        while (!stop.load()) {
            std::atomic_ref{library.pointer()}.load()(&none, nullptr); // a plain read would do, but for ThreadSanitizer
            CHECK(library.pause() == 42);
        }
    }};
    for (auto& each : threads)
        each.join();
    stop = true;
    caller.join();
    CHECK(!suspends(own_nap));
    install();
    CHECK(suspends(own_nap));
}

TEST_SUITE_END();
