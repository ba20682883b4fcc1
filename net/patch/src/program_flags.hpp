// SPDX-License-Identifier: BSL-1.0
#pragma once
// A descriptor's flags as the program has set them: accept has to set O_NONBLOCK on a listener for the length of one
// system call, and several hubs may accept on one.
namespace coir {

/// As fcntl(F_GETFL), -1 with errno set included.
int program_flags(int descriptor) noexcept;

/// While one of these lives, no `program_flags` looks. Not across anything that suspends.
class flags_changed {
public:
    flags_changed() noexcept;
    flags_changed(const flags_changed&) = delete;
    flags_changed& operator=(const flags_changed&) = delete;
    ~flags_changed();
};

} // namespace coir
