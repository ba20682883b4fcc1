// SPDX-License-Identifier: BSL-1.0
#include "late_dlopen.hpp"

#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstddef>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

namespace coir {

namespace {

/// The same as a path, where the caller's own directories have it.
std::string path_for(const void* caller, std::string_view file)
{
    Dl_info found{};
    link_map* object = nullptr;
    if (!::dladdr1(caller, &found, reinterpret_cast<void**>(&object), RTLD_DL_LINKMAP) || !object)
        return std::string{file};
    for (const std::string_view origin : {"$ORIGIN/", "${ORIGIN}/"}) {
        std::array<char, PATH_MAX> directory{};
        if (file.starts_with(origin) && ::dlinfo(object, RTLD_DI_ORIGIN, directory.data()) == 0)
            return std::string{directory.data()} + '/' + std::string{file.substr(origin.size())};
    }
    if (file.find('/') != file.npos)
        return std::string{file};

    Dl_serinfo size{};
    if (::dlinfo(object, RTLD_DI_SERINFOSIZE, &size) != 0)
        return std::string{file};
    const auto memory = std::make_unique<std::max_align_t[]>(size.dls_size / sizeof(std::max_align_t) + 1);
    auto* list = reinterpret_cast<Dl_serinfo*>(memory.get());
    if (::dlinfo(object, RTLD_DI_SERINFOSIZE, list) != 0 || ::dlinfo(object, RTLD_DI_SERINFO, list) != 0)
        return std::string{file};
    for (unsigned i = 0; i < list->dls_cnt; ++i) {
        auto path = std::string{list->dls_serpath[i].dls_name} + '/' + std::string{file};
        if (::access(path.c_str(), R_OK) == 0)
            return path;
    }
    return std::string{file};
}

} // namespace

void* dlopen_for(const void* caller, const char* file, int mode) noexcept
try {
    if (!file || !*file)
        return ::dlopen(file, mode);
    if (void* loaded = ::dlopen(file, mode | RTLD_NOLOAD)) // by its name, wherever it was found
        return loaded;
    return ::dlopen(path_for(caller, file).c_str(), mode);
} catch (const std::exception&) {
    return ::dlopen(file, mode);
}

} // namespace coir
