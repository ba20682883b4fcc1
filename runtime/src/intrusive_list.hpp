// SPDX-License-Identifier: BSL-1.0
#pragma once
// Lists whose links are members of their elements: nothing is allocated.

namespace coir {

/// First in, first out, through one `next` pointer.
template <class T, T* T::*Next> class intrusive_queue {
public:
    bool empty() const noexcept { return first_ == nullptr; }
    T& front() const noexcept { return *first_; }
    void push(T& last) noexcept
    {
        last.*Next = nullptr;
        *(first_ ? &(last_->*Next) : &first_) = &last;
        last_ = &last;
    }
    T& pop() noexcept
    {
        T& first = *first_;
        first_ = first.*Next;
        return first;
    }

private:
    T* first_ = nullptr;
    T* last_ = nullptr;
};

template <class T> struct list_links {
    T* next = nullptr;
    T* previous = nullptr;
};

/// In order of insertion, with removal from anywhere.
template <class T, list_links<T> T::*Links> class intrusive_list {
public:
    T* first() const noexcept { return first_; }
    static T* next(const T& element) noexcept { return (element.*Links).next; }
    void push(T& last) noexcept
    {
        last.*Links = {nullptr, last_};
        *(last_ ? &(last_->*Links).next : &first_) = &last;
        last_ = &last;
    }
    void remove(T& element) noexcept
    {
        auto [next, previous] = element.*Links;
        *(previous ? &(previous->*Links).next : &first_) = next;
        *(next ? &(next->*Links).previous : &last_) = previous;
    }

private:
    T* first_ = nullptr;
    T* last_ = nullptr;
};

} // namespace coir
