// SPDX-License-Identifier: BSL-1.0
#include "blocked_call.hpp"

#include "raw_syscall.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <dlfcn.h>
#include <memory>
#include <sstream>

namespace coir {

namespace {

enum class names { nothing, first, poll_list };

struct known_call {
    long number;
    const char* name;
    names descriptors = names::nothing;
};

// Those that may block.
constexpr known_call known_calls[] = {
    {SYS_read, "read", names::first},
    {SYS_write, "write", names::first},
    {SYS_readv, "readv", names::first},
    {SYS_writev, "writev", names::first},
    {SYS_pread64, "pread", names::first},
    {SYS_pwrite64, "pwrite", names::first},
    {SYS_preadv2, "preadv2", names::first},
    {SYS_pwritev2, "pwritev2", names::first},
    {SYS_recvfrom, "recvfrom", names::first},
    {SYS_recvmsg, "recvmsg", names::first},
    {SYS_recvmmsg, "recvmmsg", names::first},
    {SYS_sendto, "sendto", names::first},
    {SYS_sendmsg, "sendmsg", names::first},
    {SYS_sendmmsg, "sendmmsg", names::first},
    {SYS_connect, "connect", names::first},
    {SYS_accept, "accept", names::first},
    {SYS_accept4, "accept4", names::first},
    {SYS_sendfile, "sendfile", names::first},
    {SYS_splice, "splice", names::first},
    {SYS_tee, "tee", names::first},
    {SYS_vmsplice, "vmsplice", names::first},
    {SYS_copy_file_range, "copy_file_range", names::first},
    {SYS_close, "close", names::first},
    {SYS_fcntl, "fcntl", names::first},
    {SYS_flock, "flock", names::first},
    {SYS_ioctl, "ioctl", names::first},
    {SYS_fsync, "fsync", names::first},
    {SYS_fdatasync, "fdatasync", names::first},
    {SYS_sync, "sync"},
    {SYS_openat, "openat"},
    {SYS_getdents64, "getdents64", names::first},
    {SYS_close_range, "close_range", names::first},
    {SYS_dup3, "dup3", names::first},
    {SYS_epoll_ctl, "epoll_ctl", names::first},
    {SYS_fallocate, "fallocate", names::first},
    {SYS_ftruncate, "ftruncate", names::first},
    {SYS_unlinkat, "unlinkat"},
    {SYS_epoll_pwait, "epoll_pwait", names::first},
    {SYS_ppoll, "ppoll", names::poll_list},
    {SYS_pselect6, "pselect"},
    {SYS_nanosleep, "nanosleep"},
    {SYS_clock_nanosleep, "clock_nanosleep"},
    {SYS_futex, "futex"},
    {SYS_wait4, "wait4"},
    {SYS_waitid, "waitid"},
    {SYS_rt_sigtimedwait, "rt_sigtimedwait"},
    {SYS_rt_sigsuspend, "rt_sigsuspend"},
    {SYS_msgrcv, "msgrcv"},
    {SYS_msgsnd, "msgsnd"},
    {SYS_semop, "semop"},
    {SYS_semtimedop, "semtimedop"},
    {SYS_mq_timedreceive, "mq_timedreceive", names::first},
    {SYS_mq_timedsend, "mq_timedsend", names::first},
    {SYS_io_getevents, "io_getevents"},
    {SYS_io_uring_enter, "io_uring_enter", names::first},
    {SYS_mmap, "mmap"},
    {SYS_munmap, "munmap"},
    {SYS_clone, "clone"},
    {SYS_execve, "execve"},
#ifdef SYS_poll // what newer architectures do not have
    {SYS_poll, "poll", names::poll_list},
    {SYS_select, "select"},
    {SYS_epoll_wait, "epoll_wait", names::first},
    {SYS_pause, "pause"},
    {SYS_dup2, "dup2", names::first},
    {SYS_unlink, "unlink"},
    {SYS_rename, "rename"},
    {SYS_stat, "stat"},
    {SYS_open, "open"},
    {SYS_fork, "fork"},
    {SYS_vfork, "vfork"},
#endif
#ifdef SYS_clone3
    {SYS_clone3, "clone3"},
#endif
#ifdef SYS_epoll_pwait2
    {SYS_epoll_pwait2, "epoll_pwait2", names::first},
#endif
#ifdef SYS_futex_waitv
    {SYS_futex_waitv, "futex_waitv"},
#endif
};

void find_target(call_descriptors::one& descriptor) noexcept
{
    std::array<char, 32> path{"/proc/self/fd/"};
    std::to_chars(path.data() + std::strlen(path.data()), path.data() + path.size() - 1, descriptor.number);
    descriptor.target = {}; // and a null at its end
    raw_syscall(SYS_readlinkat, AT_FDCWD, reinterpret_cast<long>(path.data()),
                reinterpret_cast<long>(descriptor.target.data()), static_cast<long>(descriptor.target.size() - 1));
}

const known_call* find_call(long number) noexcept
{
    const auto* found = std::ranges::find(known_calls, number, &known_call::number);
    return found == std::end(known_calls) ? nullptr : found;
}

/// Is there an instruction before this address that may have called what returns there?
bool follows_a_call(std::uintptr_t address) noexcept
{
#if defined(__x86_64__)
    std::array<unsigned char, 7> code{};
    if (peek(reinterpret_cast<const void*>(address - code.size()), code.data(), code.size()) != code.size())
        return false;
    const auto indirect = [&code](std::size_t at, unsigned mode) {
        return code[at] == 0xff && (code[at + 1] & 0xf8U) == mode; // call, to what a register has or points to
    };
    return code[2] == 0xe8 || (code[1] == 0xff && code[2] == 0x15) || indirect(5, 0xd0) || indirect(5, 0x10) ||
           indirect(4, 0x50) || indirect(1, 0x90);
#elif defined(__aarch64__)
    std::uint32_t code = 0;
    if (peek(reinterpret_cast<const void*>(address - sizeof code), &code, sizeof code) != sizeof code)
        return false;
    return (code & 0xfc000000U) == 0x94000000U || (code & 0xfffffc1fU) == 0xd63f0000U;
#endif
}

/// The function that was called by the call before this address, where that goes through a procedure linkage table or a
/// pointer beside it; otherwise 0.
std::uintptr_t function_called_before(std::uintptr_t address) noexcept
{
    std::uintptr_t function = 0;
#if defined(__x86_64__)
    struct [[gnu::packed]] instruction {
        std::array<unsigned char, 2> code;
        std::int32_t offset;
    };
    const auto read = [](std::uintptr_t from, auto& into) {
        return peek(reinterpret_cast<const void*>(from), &into, sizeof into) == sizeof into;
    };
    const auto target = [](std::uintptr_t end, std::int32_t offset) {
        return end + static_cast<std::uintptr_t>(static_cast<std::intptr_t>(offset));
    };
    instruction call{};
    if (!read(address - sizeof call, call))
        return 0;
    std::uintptr_t pointer = 0;
    if (call.code[0] == 0xff && call.code[1] == 0x15) { // call *OFFSET(%rip)
        pointer = target(address, call.offset);
    } else if (call.code[1] == 0xe8) { // call STUB, and there: endbr64, bnd, both optional; jmp *OFFSET(%rip)
        constexpr std::array<unsigned char, 4> endbr64{0xf3, 0x0f, 0x1e, 0xfa};
        auto stub = target(address, call.offset);
        if (std::array<unsigned char, 4> first{}; read(stub, first) && first == endbr64)
            stub += first.size();
        if (unsigned char first = 0; read(stub, first) && first == 0xf2)
            ++stub;
        if (instruction jump{}; read(stub, jump) && jump.code[0] == 0xff && jump.code[1] == 0x25)
            pointer = target(stub + sizeof jump, jump.offset);
    }
    if (pointer == 0 || !read(pointer, function))
        return 0;
#else
    static_cast<void>(address);
#endif
    return function;
}

/// Object and function, as far as they are known.
Dl_info look_up(std::uintptr_t address) noexcept
{
    Dl_info found{};
    if (!::dladdr(reinterpret_cast<void*>(address), &found))
        found = {};
    return found;
}

} // namespace

std::size_t peek(const void* from, void* into, std::size_t size) noexcept
{
    // One piece for each page, because a piece is copied as a whole or not at all.
    constexpr std::uintptr_t page = 4096;
    const auto start = reinterpret_cast<std::uintptr_t>(from);
    const auto in_first = std::min<std::size_t>(size, page - start % page);
    const iovec here{into, size};
    const std::array<iovec, 2> there{iovec{const_cast<void*>(from), in_first},
                                     iovec{reinterpret_cast<void*>(start + in_first), size - in_first}};
    const long copied = raw_syscall(SYS_process_vm_readv, raw_syscall(SYS_getpid), reinterpret_cast<long>(&here), 1,
                                    reinterpret_cast<long>(there.data()), in_first < size ? 2 : 1, 0);
    return copied > 0 ? static_cast<std::size_t>(copied) : 0;
}

std::optional<blocked_call> blocked_call::parse(std::string_view text) noexcept
{
    blocked_call result;
    const char* at = text.data();
    const char* const end = at + text.size();
    auto number = std::from_chars(at, end, result.number);
    if (number.ec != std::errc{})
        return {}; // "running"
    at = number.ptr;

    std::array<std::uintptr_t, 8> values{};
    std::size_t count = 0;
    for (; count < values.size() && end - at > 3 && std::string_view(at, 3) == " 0x"; ++count)
        at = std::from_chars(at + 3, end, values[count], 16).ptr;
    if (count < 2)
        return {};
    result.code = values[count - 1];
    result.stack = values[count - 2];
    std::copy_n(values.begin(), count - 2, result.arguments.begin());
    return result;
}

bool blocked_call::is_idling() const noexcept
{
    switch (number) {
#ifdef SYS_epoll_wait
    case SYS_epoll_wait:
#endif
#ifdef SYS_epoll_pwait2
    case SYS_epoll_pwait2:
#endif
    case SYS_epoll_pwait:
    case SYS_futex: return true;
    default: return false;
    }
}

std::string blocked_call::name() const
{
    if (number == page_fault)
        return "page fault";
    const auto* known = find_call(number);
    return known ? known->name : "system call " + std::to_string(number);
}

call_descriptors call_descriptors::of(const blocked_call& call) noexcept
{
    call_descriptors result;
    const auto* known = find_call(call.number);
    if (known && known->descriptors == names::first) {
        result.known[0].number = static_cast<int>(call.arguments[0]);
        result.count = 1;
    } else if (known && known->descriptors == names::poll_list) {
        std::array<pollfd, most> entries{};
        const auto shown = std::min<std::size_t>(call.arguments[1], most);
        if (shown && peek(reinterpret_cast<const void*>(call.arguments[0]), entries.data(), shown * sizeof(pollfd)))
            result.count = call.arguments[1];
        for (std::size_t i = 0; i < shown; ++i)
            result.known[i].number = entries[i].fd;
    }
    for (std::size_t i = 0; i < std::min(result.count, most); ++i)
        find_target(result.known[i]);
    return result;
}

std::string call_descriptors::text() const
{
    if (count == 0)
        return {};
    std::string result = count == 1 ? " of descriptor " : " of descriptors ";
    for (std::size_t i = 0; i < std::min(count, most); ++i) {
        result += (i ? ", " : "") + std::to_string(known[i].number);
        if (known[i].target[0])
            result += " (" + std::string{known[i].target.data()} + ')';
    }
    return result + (count > most ? ", ..." : "");
}

stack_words stack_words::at(std::uintptr_t stack) noexcept
{
    stack_words result;
    const auto* top = reinterpret_cast<const void*>(stack & ~(sizeof(std::uintptr_t) - 1));
    result.count = peek(top, result.words.data(), sizeof result.words) / sizeof result.words[0];
    return result;
}

blocked_call::path blocked_call::find_path(const stack_words& on) const
{
    constexpr std::size_t most = 4;
    static const auto* const libc =
        look_up(reinterpret_cast<std::uintptr_t>(::dlsym(RTLD_DEFAULT, "gnu_get_libc_version"))).dli_fbase;
    static const auto* const runtime = look_up(reinterpret_cast<std::uintptr_t>(&coir::peek)).dli_fbase;

    const auto& [words, count] = on;
    path result{.entry = code, .callers = {}};
    for (std::size_t i = 0; i < count && result.callers.size() < most; ++i) {
        if (words[i] < 65536 || words[i] >> 56 || !follows_a_call(words[i]))
            continue;
        const auto from = words[i] - 1;
        const auto found = look_up(from);
        if (!found.dli_fbase || found.dli_fbase == runtime)
            continue;
        if (found.dli_fbase != libc && std::ranges::find(result.callers, from) == result.callers.end()) {
            // What lies on the stack between may be left over from earlier calls: the caller knows better.
            if (const auto called = result.callers.empty() ? function_called_before(words[i]) : 0;
                called && look_up(called).dli_fbase == libc)
                result.entry = called;
            result.callers.push_back(from);
        } else if (found.dli_fbase == libc && found.dli_sname && result.callers.empty())
            result.entry = from;
    }
    return result;
}

std::string describe_code(std::uintptr_t address)
{
    const auto found = look_up(address);
    if (!found.dli_fname)
        return "code of no library";
    const std::string_view path = found.dli_fname;
    const std::string file{path.substr(path.rfind('/') + 1)};
    if (found.dli_sname) {
        int status = 0;
        const std::unique_ptr<char, decltype(&std::free)> readable{
            abi::__cxa_demangle(found.dli_sname, nullptr, nullptr, &status), &std::free};
        return std::string{readable ? readable.get() : found.dli_sname} + " (" + file + ')';
    }
    std::ostringstream text;
    text << file << "+0x" << std::hex << address - reinterpret_cast<std::uintptr_t>(found.dli_fbase);
    return text.str();
}

} // namespace coir
