// SPDX-License-Identifier: BSL-1.0
#pragma once
// Waiting for children. A child that ends makes its pidfd readable, which the reactor can wait for. There is no such
// thing for "any child" and for stopping and going on: there a helper thread waits, in a way that takes nothing from
// anybody (WNOWAIT), and whoever is woken looks for himself. All who wait for the same share a helper; who is cancelled
// leaves it to the next.
#include <sys/wait.h>

namespace coir {

/// A choice of children and of what may happen to them, as waitid takes them.
struct child_choice {
    idtype_t kind;
    id_t id;
    int events; ///< WEXITED, WSTOPPED, WCONTINUED, and __WALL and the like

    friend bool operator==(const child_choice&, const child_choice&) = default;
};

/// One wait for children.
class child_watch {
public:
    explicit child_watch(const child_choice& choice) noexcept;
    child_watch(const child_watch&) = delete;
    child_watch& operator=(const child_watch&) = delete;
    ~child_watch();

    /// Suspends until it makes sense to look again; look once before the first time too, for what has happened before
    /// the watch began. False: errno says why not.
    bool wait() noexcept;

private:
    bool wait_for_pidfd() noexcept;
    bool wait_for_helper() noexcept;

    child_choice choice_;
    int pidfd_ = -1;
    bool owned_ = false;
};

} // namespace coir
