// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <string>

namespace coir::net {

/// How a process ended: by itself with a number, or by a signal.
class exit_status {
public:
    /// By itself, with 0.
    exit_status() noexcept = default;
    static exit_status of_code(int code) noexcept { return {code, 0, false}; }
    static exit_status of_signal(int signal, bool core_dumped = false) noexcept { return {-1, signal, core_dumped}; }

    /// Whether it ended by itself and with 0.
    bool success() const noexcept { return code_ == 0; }
    bool exited() const noexcept { return signal_ == 0; }
    /// 0 to 255; -1 if it was ended by a signal.
    int code() const noexcept { return code_; }

    bool signalled() const noexcept { return signal_ != 0; }
    /// The signal that ended it; 0 if none did.
    int signal() const noexcept { return signal_; }
    bool core_dumped() const noexcept { return core_dumped_; }

    /// For people: "exit status 1", "SIGKILL", "SIGSEGV (core dumped)".
    std::string describe() const;

    friend bool operator==(const exit_status&, const exit_status&) = default;

private:
    exit_status(int code, int signal, bool core_dumped) noexcept
        : code_{code}, signal_{signal}, core_dumped_{core_dumped}
    {
    }

    int code_ = 0;
    int signal_ = 0;
    bool core_dumped_ = false;
};

} // namespace coir::net
