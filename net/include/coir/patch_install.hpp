// SPDX-License-Identifier: BSL-1.0
#pragma once
// The patch for a program that was linked without it: at run time, by rewriting the addresses by which the program and
// its libraries call libc. This header needs libcoir-net only; it loads libcoir-patch.
#include <cstddef>
#include <string>
#include <vector>

namespace coir::patch {

struct install_options {
    /// Path of libcoir-patch.so. By default it is looked for beside libcoir-net, then where dlopen looks.
    std::string library{};
    /// Which libraries: patterns as in a shell, for the names of their files; the program's is that of its own.
    std::vector<std::string> include{"*"};
    std::vector<std::string> exclude{};
};

/// A call that still goes elsewhere.
struct missed_call {
    std::string symbol;
    std::string library; ///< that makes it
    std::string why;
};

struct install_report {
    std::size_t replaced = 0; ///< addresses, by this call
    std::vector<missed_call> missed;
};

/// From now on the blocking calls of every library that matches `include` and not `exclude` suspend the fiber, also of
/// those that are loaded later. Calling it again looks again, by the new options. Never suspends. Any thread.
///
///     const auto report = coir::patch::install({.exclude = {"libgomp*"}});
///     for (const auto& [symbol, library, why] : report.missed)
///         std::cerr << library << " calls " << symbol << " unpatched: " << why << '\n';
///
/// Locks, and what wakes who waits, are replaced everywhere: they are shared between libraries, and would be missed by
/// who waits as a fiber. Function pointers that somebody has copied before are not found.
/// Throws std::runtime_error if libcoir-patch cannot be loaded.
install_report install(const install_options& options = {});

/// Puts everything back as it was; the library stays loaded. No fiber may be waiting in a patched call, or hold a
/// pthread lock. Any thread.
void uninstall();

// ---- for libcoir-patch ----------------------------------------------------------------------------------------------

struct install_entries {
    install_report (*install)(const install_options&);
    void (*uninstall)();
};

/// Called when it is loaded. Returns whether `install` has loaded it.
bool library_loaded(const install_entries& entries) noexcept;

} // namespace coir::patch
