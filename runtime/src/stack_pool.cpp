// SPDX-License-Identifier: BSL-1.0
#include "stack_pool.hpp"

#include "raw_syscall.hpp"
#include "sanitizers.hpp"
#include "scheduler.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>

namespace coir {

namespace {

constexpr std::size_t mapping_size = std::size_t{16} << 20;
constexpr std::size_t warm_slots_max = 1024; ///< of those that other threads release; more give their memory back
constexpr int madv_guard_install = 102;      // <linux/mman.h> since 6.13; not in Debian 12's headers

const std::size_t system_page_size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));

std::size_t page_size() noexcept
{
    return system_page_size;
}

std::size_t round_to_pages(std::size_t size) noexcept
{
    return (size + page_size() - 1) & ~(page_size() - 1);
}

[[noreturn]] void throw_no_stack(int error, const char* what)
{
    std::string text = std::string{"coir: "} + what;
    if (error == ENOMEM)
        text +=
            " (out of memory, or of mappings: see sysctl vm.max_map_count, which Linux before 6.13 needs at twice the "
            "number of fibers)";
    throw std::system_error(error, std::generic_category(), text);
}

void install_guard(std::byte* page)
{
    static std::atomic<bool> lightweight{true};
    if (lightweight.load(std::memory_order_relaxed)) {
        if (::madvise(page, page_size(), madv_guard_install) == 0)
            return;
        if (errno != EINVAL)
            throw_no_stack(errno, "cannot guard a fiber's stack");
        lightweight.store(false, std::memory_order_relaxed);
    }
    if (::mprotect(page, page_size(), PROT_NONE) != 0)
        throw_no_stack(errno, "cannot guard a fiber's stack");
}

constexpr std::size_t guards_at_once_max = 32;

/// Guards of several slots in one call: a third less than one by one. Returns how many it has made, which may be none:
/// the kernel takes that for a process itself since 6.13, and by this name since 6.14.
std::size_t install_guards(std::byte* first, std::size_t count, std::size_t distance) noexcept
{
    constexpr long pidfd_self = -10001; // PIDFD_SELF_THREAD_GROUP of <linux/pidfd.h>
    static std::atomic<bool> works{true};
    if (count == 1 || !works.load(std::memory_order_relaxed))
        return 0;
    std::array<iovec, guards_at_once_max> pages;
    for (std::size_t i = 0; i < count; ++i)
        pages[i] = {.iov_base = first + i * distance, .iov_len = page_size()};
    const long made = raw_syscall(SYS_process_madvise, pidfd_self, reinterpret_cast<long>(pages.data()),
                                  static_cast<long>(count), madv_guard_install, 0);
    if (made < 0)
        works.store(false, std::memory_order_relaxed);
    return made < 0 ? 0 : static_cast<std::size_t>(made) / page_size();
}

} // namespace

stack_pool::~stack_pool()
{
    for (const auto& [begin, size] : mappings_)
        ::munmap(begin, size);
}

stack_memory stack_pool::allocate_rounded(std::size_t size)
{
    const auto slot_size = round_to_pages(std::max(size, std::size_t{4} * page_size()));
    if (is_owners_thread())
        if (auto* kept = kept_of(slot_size); kept && !kept->empty())
            return kept->pop();
    std::unique_lock held{guard_};
    auto& slots = class_of(slot_size);
    std::byte* slot;
    if (!slots.free.empty()) {
        slot = slots.free.back();
        slots.free.pop_back();
    } else {
        if (slots.fresh == slots.fresh_end)
            map_more(slots);
        if (slots.fresh == slots.guarded)
            guard_more(slots);
        slot = std::exchange(slots.fresh, slots.fresh + slots.slot_size);
#if COIR_VALGRIND
        static_cast<void>(VALGRIND_STACK_REGISTER(slot + page_size(), slot + slots.slot_size));
#endif
    }
    ++in_use_;
    return {slot + page_size(), slots.slot_size - page_size()};
}

void stack_pool::release_other(stack_memory memory) noexcept
{
    if (is_owners_thread() && keep(memory))
        return;
    std::unique_lock held{guard_};
    auto& slots = class_of(memory.size + page_size());
    if (slots.free.size() >= warm_slots_max)
        ::madvise(memory.base, memory.size, MADV_DONTNEED);
    slots.free.push_back(memory.base - page_size());
    const bool last = --in_use_ == 0 && closed_;
    held.unlock();
    if (last)
        delete this;
}

bool stack_pool::give_back() noexcept
{
    constexpr std::size_t at_once = 64; // some 100 us
    auto& kept = kept_.front();
    if (surplus_ == 0) {
        surplus_ = std::min(kept.least, kept.count - std::min(kept.count, kept_at_rest));
        look_from_now();
    }
    const auto some = std::min({surplus_, kept.count, at_once});
    const std::lock_guard held{guard_};
    for (std::size_t i = 0; i < some; ++i) {
        const auto memory = kept.pop();
        ::madvise(memory.base, memory.size, MADV_DONTNEED);
        class_of(kept.slot_size).free.push_back(memory.base - page_size());
        --in_use_;
    }
    surplus_ = kept.count == 0 ? 0 : surplus_ - some;
    if (surplus_ == 0)
        look_from_now();
    return surplus_ != 0;
}

/// Null: of another size than those that it keeps.
stack_pool::kept_stacks* stack_pool::kept_of(std::size_t slot_size) noexcept
{
    for (auto& each : kept_)
        if (each.slot_size == slot_size)
            return &each;
    return nullptr;
}

bool stack_pool::keep(stack_memory memory) noexcept
{
    const auto slot_size = memory.size + page_size();
    auto* kept = kept_of(slot_size);
    if (!kept && (kept = kept_of(0)))
        *kept = {.slot_size = slot_size, .stack_size = memory.size};
    if (!kept || (kept != &kept_.front() && kept->count >= kept_at_rest))
        return false;
    kept->push(memory);
    return true;
}

void stack_pool::give_up_kept() noexcept
{
    for (auto& each : kept_) {
        for (auto* stack = each.first; stack; stack = stack->next)
            class_of(each.slot_size).free.push_back(reinterpret_cast<std::byte*>(stack + 1) - each.slot_size);
        in_use_ -= each.count;
        each = {};
    }
}

void stack_pool::close() noexcept
{
    owner_.store(nullptr, std::memory_order_relaxed);
    std::unique_lock held{guard_};
    give_up_kept();
    closed_ = true;
    const bool last = in_use_ == 0;
    held.unlock();
    if (last)
        delete this;
}

stack_pool::slot_class& stack_pool::class_of(std::size_t slot_size)
{
    for (auto& slots : classes_)
        if (slots.slot_size == slot_size)
            return slots;
    return classes_.emplace_back(slot_class{slot_size, {}});
}

/// As many at a time as is little beside those that are in use.
void stack_pool::guard_more(slot_class& slots)
{
    const auto unguarded = static_cast<std::size_t>(slots.fresh_end - slots.guarded) / slots.slot_size;
    const auto wanted = std::min({std::max<std::size_t>(in_use_ / 8, 1), guards_at_once_max, unguarded});
    auto made = install_guards(slots.guarded, wanted, slots.slot_size);
    if (made == 0) {
        install_guard(slots.guarded);
        made = 1;
    }
    slots.guarded += made * slots.slot_size;
}

void stack_pool::map_more(slot_class& slots)
{
    const std::size_t count = std::max<std::size_t>(1, mapping_size / slots.slot_size);
    const std::size_t size = count * slots.slot_size;
    if (slots.free.capacity() < slots.slots + count)
        slots.free.reserve(std::max(slots.slots + count, 2 * slots.free.capacity()));
    void* begin =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (begin == MAP_FAILED)
        throw_no_stack(errno, "cannot map memory for fibers' stacks");
    ::madvise(begin, size, MADV_NOHUGEPAGE); // a huge page would commit eight stacks at the first touch of one
    try {
        mappings_.push_back({static_cast<std::byte*>(begin), size});
    } catch (...) {
        ::munmap(begin, size);
        throw;
    }
    slots.fresh = slots.guarded = static_cast<std::byte*>(begin);
    slots.fresh_end = slots.fresh + size;
    slots.slots += count;
}

} // namespace coir
