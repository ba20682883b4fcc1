// SPDX-License-Identifier: BSL-1.0
#pragma once
// Look-ups of libc's databases - hosts, services, accounts - on a helper thread. Each has a form with `_r`, which is
// given room for what the entry's pointers lead to, and one whose result is static. The helper works in room of its
// own, at the same distance from an aligned address, so that things fall into place alike; then all is moved over.
#include "blocking.hpp"
#include "libc.hpp"
#include "on_helper.hpp"

#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <shadow.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace coir {

/// A C string that may be null.
class optional_string {
public:
    explicit optional_string(const char* text) : present_{text != nullptr}, text_{text ? text : ""} {}
    const char* get() const noexcept { return present_ ? text_.c_str() : nullptr; }

private:
    bool present_;
    std::string text_;
};

// Where an entry's pointers are: `one` is called with strings, `list` with arrays of pointers that end in null.

template <class One, class List> void visit_pointers(hostent& entry, One&& one, List&& list)
{
    one(entry.h_name);
    list(entry.h_aliases);
    list(entry.h_addr_list);
}
template <class One, class List> void visit_pointers(servent& entry, One&& one, List&& list)
{
    one(entry.s_name);
    one(entry.s_proto);
    list(entry.s_aliases);
}
template <class One, class List> void visit_pointers(protoent& entry, One&& one, List&& list)
{
    one(entry.p_name);
    list(entry.p_aliases);
}
template <class One, class List> void visit_pointers(passwd& entry, One&& one, List&&)
{
    for (auto* each : {&entry.pw_name, &entry.pw_passwd, &entry.pw_gecos, &entry.pw_dir, &entry.pw_shell})
        one(*each);
}
template <class One, class List> void visit_pointers(group& entry, One&& one, List&& list)
{
    one(entry.gr_name);
    one(entry.gr_passwd);
    list(entry.gr_mem);
}
template <class One, class List> void visit_pointers(spwd& entry, One&& one, List&&)
{
    one(entry.sp_namp);
    one(entry.sp_pwdp);
}

/// Moves an entry, whose pointers lead into `from`, to `to`.
template <class Entry> void relocate(Entry& entry, const char* from, char* to, size_t size) noexcept
{
    std::memcpy(to, from, size);
    const auto move = [&](auto*& pointer) {
        const auto* address = reinterpret_cast<const char*>(pointer);
        if (address >= from && address < from + size)
            pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(to + (address - from));
    };
    // In the answer to a number, glibc does not align its arrays.
    const auto move_list = [&](char**& list) {
        move(list);
        for (auto* place = reinterpret_cast<char*>(list); place; place += sizeof(char*)) {
            char* each;
            std::memcpy(&each, place, sizeof each);
            if (!each)
                return;
            move(each);
            std::memcpy(place, &each, sizeof each);
        }
    };
    visit_pointers(entry, move, move_list);
}

/// `Query` owns its arguments and calls the genuine function: int(Entry*, char* room, size_t, Entry** found, int*
/// error).
template <class Entry, class Query> struct entry_lookup {
    Query query;
    std::vector<char> memory;
    char* room;
    size_t room_size;
    Entry entry{};
    Entry* found = nullptr;
    int result = 0;
    int error = 0;

    entry_lookup(Query what, const char* callers, size_t size)
        : query{std::move(what)},
          memory(size + alignof(std::max_align_t)),
          room{memory.data() + reinterpret_cast<std::uintptr_t>(callers) % alignof(std::max_align_t)},
          room_size{size}
    {
    }
    void operator()() { result = query(&entry, room, room_size, &found, &error); }
};

/// As the function with `_r`. `error` is h_errno's place, null for those that have none.
template <class Entry, class Query>
int look_up_entry(Query query, Entry* entry, char* room, size_t size, Entry** found, int* error) noexcept
{
    try {
        wake_cause cause;
        auto done = abandonable<entry_lookup<Entry, Query>>::run_on_helper({query, room, size}, cause);
        if (!done) {
            *found = nullptr;
            if (error)
                *error = NETDB_INTERNAL;
            return errno = errno_of(cause);
        }
        *entry = done->entry;
        if (error)
            *error = done->error;
        *found = done->found ? entry : nullptr;
        if (done->found)
            relocate(*entry, done->room, room, size);
        return done->result;
    } catch (...) {
        return query(entry, room, size, found, error); // no helper thread could be started: block, rather than fail
    }
}

/// As the function without. Like libc's own, the result is static and the next call overwrites it; one for each thread
/// and kind of entry, as little as POSIX asks. Look-ups that have an h_errno set it.
template <class Entry, class Query> Entry* look_up_static_entry(const Query& query, bool sets_h_errno) noexcept
{
    try {
        thread_local std::vector<char> room(1024);
        thread_local Entry entry;
        for (;;) {
            std::vector<char> mine(room.size()); // other fibers may make the same call meanwhile
            Entry answer{};
            Entry* found = nullptr;
            int error = 0;
            const int result = look_up_entry(query, &answer, mine.data(), mine.size(), &found, &error);
            if (result == ERANGE && mine.size() < (1 << 20)) {
                room.resize(std::max(room.size(), mine.size() * 2));
                continue;
            }
            if (!found) {
                if (sets_h_errno)
                    h_errno = error;
                return nullptr;
            }
            room.resize(std::max(room.size(), mine.size()));
            relocate(answer, mine.data(), room.data(), mine.size());
            entry = answer;
            return &entry;
        }
    } catch (const std::bad_alloc&) {
        errno = ENOMEM;
        return nullptr;
    }
}

} // namespace coir
