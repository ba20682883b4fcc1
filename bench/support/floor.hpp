// SPDX-License-Identifier: BSL-1.0
#pragma once
// The floor: the least a stackful runtime on fcontext can do. Tasks switch directly to each other from an intrusive
// queue, on pooled stacks. No locks, no cancellation, no exceptions, no guard pages, no errno: what coir does beyond
// this is what its distance from the floor pays for.
#include <cstddef>
#include <cstdlib>
#include <new>
#include <sys/mman.h>
#include <type_traits>
#include <utility>

#include <boost/context/detail/fcontext.hpp>

namespace bench::bare {

namespace detail = boost::context::detail;

struct task {
    detail::fcontext_t stopped_at = nullptr;
    task* next = nullptr;
};

class queue {
public:
    bool empty() const { return first_ == nullptr; }
    void push(task& last)
    {
        last.next = nullptr;
        (first_ ? last_->next : first_) = &last;
        last_ = &last;
    }
    void push_front(task& first)
    {
        first.next = first_;
        if (!first_)
            last_ = &first;
        first_ = &first;
    }
    task& pop() { return *std::exchange(first_, first_->next); }

private:
    task* first_ = nullptr;
    task* last_ = nullptr;
};

inline task main_task;
inline task* current = &main_task;
inline queue ready;
inline task* free_stacks = nullptr;

inline void arrive(detail::transfer_t from)
{
    static_cast<task*>(from.data)->stopped_at = from.fctx;
}

/// Runs the next ready task; somebody has to have kept the current one.
inline void park()
{
    if (ready.empty())
        std::abort();
    task& next = ready.pop();
    task* const self = std::exchange(current, &next);
    if (&next != self)
        arrive(detail::jump_fcontext(next.stopped_at, self));
}

inline void yield()
{
    ready.push(*current);
    park();
}

// ---- stacks, and a task at the top of each --------------------------------------------------------------------------

inline constexpr std::size_t stack_size = 64 * 1024;

/// The end of a stack: used before, or the next of a large mapping.
inline std::byte* stack_end()
{
    static std::byte* fresh = nullptr;
    static std::byte* mapping_end = nullptr;
    constexpr std::size_t mapping_size = 1024 * stack_size;
    if (free_stacks)
        return reinterpret_cast<std::byte*>(std::exchange(free_stacks, free_stacks->next) + 1);
    if (fresh == mapping_end) {
        void* memory =
            ::mmap(nullptr, mapping_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED)
            std::abort();
        fresh = static_cast<std::byte*>(memory);
        mapping_end = fresh + mapping_size;
    }
    return fresh += stack_size;
}

template <class Function> void start(detail::transfer_t from)
{
    arrive(from);
    task* const self = current;
    {
        auto* const where = reinterpret_cast<std::byte*>(self) - sizeof(Function);
        auto& function = *std::launder(reinterpret_cast<Function*>(where));
        function();
        function.~Function();
    }
    self->next = std::exchange(free_stacks, self); // nobody takes it before the jump
    if (ready.empty())
        std::abort();
    current = &ready.pop();
    detail::jump_fcontext(current->stopped_at, self);
}

template <class Function> task& make_task(Function function)
{
    static_assert(alignof(Function) <= 16);
    auto* const self = ::new (stack_end() - sizeof(task)) task;
    auto* const where = reinterpret_cast<std::byte*>(self) - sizeof(Function);
    ::new (where) Function(std::move(function));
    self->stopped_at = detail::make_fcontext(where, stack_size - sizeof(task) - sizeof(Function), &start<Function>);
    return *self;
}

/// First in, first out.
template <class Function> void spawn(Function function)
{
    ready.push(make_task(std::move(function)));
}

// ---- what tasks wait for --------------------------------------------------------------------------------------------

/// Waits until `left` tasks have called `done`.
class latch {
public:
    explicit latch(std::size_t left) : left_{left} {}
    void done()
    {
        if (--left_ == 0 && waiting_)
            ready.push(*std::exchange(waiting_, nullptr));
    }
    void wait()
    {
        while (left_ > 0) {
            waiting_ = current;
            park();
        }
    }

private:
    std::size_t left_;
    task* waiting_ = nullptr;
};

/// One sender and one receiver at a time.
template <class T, std::size_t Capacity> class channel {
public:
    void send(T value)
    {
        while (size_ == Capacity) {
            sender_ = current;
            park();
        }
        ring_[(first_ + size_++) % Capacity] = value;
        wake(receiver_);
    }
    T receive()
    {
        while (size_ == 0) {
            receiver_ = current;
            park();
        }
        T value = ring_[first_];
        first_ = (first_ + 1) % Capacity;
        --size_;
        wake(sender_);
        return value;
    }

private:
    static void wake(task*& waiting)
    {
        if (waiting)
            ready.push(*std::exchange(waiting, nullptr));
    }

    T ring_[Capacity];
    std::size_t first_ = 0;
    std::size_t size_ = 0;
    task* sender_ = nullptr;
    task* receiver_ = nullptr;
};

class mutex {
public:
    void lock()
    {
        while (std::exchange(locked_, true)) {
            waiting_.push(*current);
            park();
        }
    }
    void unlock()
    {
        locked_ = false;
        if (!waiting_.empty())
            ready.push(waiting_.pop());
    }

private:
    bool locked_ = false;
    queue waiting_;
};

class condition_variable {
public:
    void notify_one()
    {
        if (!waiting_.empty())
            ready.push(waiting_.pop());
    }
    void wait(mutex& held)
    {
        held.unlock();
        waiting_.push(*current);
        park();
        held.lock();
    }

private:
    queue waiting_;
};

} // namespace bench::bare
