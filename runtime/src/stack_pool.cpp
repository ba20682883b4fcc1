// SPDX-License-Identifier: BSL-1.0
#include "stack_pool.hpp"

#include "sanitizers.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <new>
#include <string>
#include <system_error>
#include <utility>

namespace coir {

namespace {

constexpr std::size_t mapping_size = std::size_t{16} << 20;
constexpr std::size_t warm_slots_max = 4096; ///< more free stacks than this give their memory back to the system
constexpr int madv_guard_install = 102;      // <linux/mman.h> since 6.13; not in Debian 12's headers

const std::size_t system_page_size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));

std::size_t page_size() noexcept
{
    return system_page_size;
}

std::size_t round_to_pages(std::size_t size) noexcept
{
    return (size + page_size() - 1) / page_size() * page_size();
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

} // namespace

stack_pool::~stack_pool()
{
    for (const auto& [begin, size] : mappings_)
        ::munmap(begin, size);
}

stack_memory stack_pool::allocate(std::size_t size)
{
    std::unique_lock held{guard_};
    auto& slots = class_of(round_to_pages(std::max(size, std::size_t{4} * page_size())));
    std::byte* slot;
    if (!slots.free.empty()) {
        slot = slots.free.back();
        slots.free.pop_back();
    } else {
        if (slots.fresh == slots.fresh_end)
            map_more(slots);
        install_guard(slots.fresh);
        slot = std::exchange(slots.fresh, slots.fresh + slots.slot_size);
#if COIR_VALGRIND
        static_cast<void>(VALGRIND_STACK_REGISTER(slot + page_size(), slot + slots.slot_size));
#endif
    }
    ++in_use_;
    return {slot + page_size(), slots.slot_size - page_size()};
}

void stack_pool::release(stack_memory memory) noexcept
{
#if COIR_ASAN
    __asan_unpoison_memory_region(memory.base, memory.size);
#endif
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

void stack_pool::close() noexcept
{
    std::unique_lock held{guard_};
    closed_ = true;
    const bool last = in_use_ == 0;
    held.unlock();
    if (last)
        delete this;
}

std::size_t stack_pool::colour(const stack_memory& memory) noexcept
{
    constexpr std::size_t colours = 16;
    constexpr std::size_t cache_line = 64;
    return reinterpret_cast<std::uintptr_t>(memory.base) / (memory.size + page_size()) % colours * cache_line;
}

stack_pool::slot_class& stack_pool::class_of(std::size_t slot_size)
{
    for (auto& slots : classes_)
        if (slots.slot_size == slot_size)
            return slots;
    return classes_.emplace_back(slot_class{slot_size, {}});
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
    slots.fresh = static_cast<std::byte*>(begin);
    slots.fresh_end = slots.fresh + size;
    slots.slots += count;
}

} // namespace coir
