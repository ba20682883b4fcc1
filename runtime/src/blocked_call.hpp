// SPDX-License-Identifier: BSL-1.0
#pragma once
// What a thread that does not run is doing in the kernel, as another thread of the process sees it in /proc.
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace coir {

/// Copies memory that may be unmapped, or written to, at the same time: what it copies is to be checked, or used for
/// messages only. The kernel does it, so a bad address is only a refusal, and a sanitizer sees no access. Returns how
/// many bytes it got.
std::size_t peek(const void* from, void* into, std::size_t size) noexcept;

struct blocked_call;

/// The descriptors that a call waits for, and what each is. A plain value, made without allocation: in a signal
/// handler.
struct call_descriptors {
    static constexpr std::size_t most = 8;
    struct one {
        int number;
        std::array<char, 80> target; ///< what /proc says of it
    };
    std::array<one, most> known{};
    std::size_t count = 0; ///< which may be more than are known

    static call_descriptors of(const blocked_call& call) noexcept;
    /// " of descriptor 5 (pipe:[1789])", or nothing.
    std::string text() const;
};

/// The top of a stack, copied; without allocation.
struct stack_words {
    std::array<std::uintptr_t, 512> words;
    std::size_t count = 0;

    static stack_words at(std::uintptr_t stack) noexcept;
};

struct blocked_call {
    static constexpr long page_fault = -1;

    long number = page_fault;
    std::array<std::uintptr_t, 6> arguments{};
    std::uintptr_t stack = 0;
    std::uintptr_t code = 0; ///< behind the instruction

    /// The text of /proc/self/task/ID/syscall; nothing for a thread that runs.
    static std::optional<blocked_call> parse(std::string_view text) noexcept;

    /// The calls by which a hub that has nothing to do waits.
    bool is_idling() const noexcept;
    /// The call's own name.
    std::string name() const;
    /// Where it comes from, as far as the stack tells: it is searched for return addresses, and some of these may be of
    /// calls that have long returned. Without the other registers nobody can tell.
    struct path {
        std::uintptr_t entry; ///< the function, libc's if it has a name there, that the rest of the program has called
        std::vector<std::uintptr_t> callers; ///< outside of libc and of coir's runtime, innermost first
    };
    path find_path(const stack_words& on) const;

    friend bool operator==(const blocked_call&, const blocked_call&) = default;
};

/// Function and library, or library and offset for what is not exported.
std::string describe_code(std::uintptr_t address);

} // namespace coir
