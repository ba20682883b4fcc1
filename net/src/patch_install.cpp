// SPDX-License-Identifier: BSL-1.0
#include <coir/patch_install.hpp>

#include <atomic>
#include <dlfcn.h>
#include <mutex>
#include <stdexcept>
#include <unistd.h>

namespace coir::patch {

namespace {

constexpr const char* file_name = "libcoir-patch.so.0";

// By several threads of one process, and by the library's initialiser while one of them loads it.
constinit std::atomic<const install_entries*> loaded_entries{nullptr};
constinit std::atomic<bool> loading{false};
constinit std::mutex load_guard;

std::string beside_this_library()
{
    Dl_info self{};
    if (!::dladdr(reinterpret_cast<void*>(&library_loaded), &self) || !self.dli_fname)
        return file_name;
    const std::string path = self.dli_fname;
    const auto found = path.substr(0, path.rfind('/') + 1) + file_name;
    return ::access(found.c_str(), R_OK) == 0 ? found : file_name;
}

const install_entries& load(const std::string& library)
{
    const std::scoped_lock lock{load_guard};
    if (!loaded_entries.load(std::memory_order_acquire)) {
        const auto path = library.empty() ? beside_this_library() : library;
        loading.store(true, std::memory_order_relaxed);
        // Never unloaded: what it has replaced leads there.
        const void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        const char* error = handle ? nullptr : ::dlerror();
        loading.store(false, std::memory_order_relaxed);
        if (!loaded_entries.load(std::memory_order_acquire))
            throw std::runtime_error{"coir::patch::install: " + (error ? error : path + " is not libcoir-patch")};
    }
    return *loaded_entries.load(std::memory_order_acquire);
}

} // namespace

install_report install(const install_options& options)
{
    return load(options.library).install(options);
}

void uninstall()
{
    if (const auto* entries = loaded_entries.load(std::memory_order_acquire))
        entries->uninstall();
}

bool library_loaded(const install_entries& entries) noexcept
{
    loaded_entries.store(&entries, std::memory_order_release);
    return loading.load(std::memory_order_relaxed);
}

} // namespace coir::patch
