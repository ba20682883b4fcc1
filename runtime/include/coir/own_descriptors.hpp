// SPDX-License-Identifier: BSL-1.0
#pragma once

namespace coir {

[[gnu::tls_model("initial-exec")]] extern constinit thread_local unsigned opening_own_descriptors;

/// While one lives, the descriptors that the calling thread opens and closes are coir's own: epoll instances, timers,
/// what Asio needs. libcoir-patch keeps such descriptors from the program, which may close all that it has not opened.
class [[nodiscard]] own_descriptors_scope {
public:
    own_descriptors_scope() noexcept { ++opening_own_descriptors; }
    ~own_descriptors_scope() { --opening_own_descriptors; }
    own_descriptors_scope(const own_descriptors_scope&) = delete;
    own_descriptors_scope& operator=(const own_descriptors_scope&) = delete;

    static bool active() noexcept { return opening_own_descriptors != 0; }
};

} // namespace coir
