// SPDX-License-Identifier: BSL-1.0
// A library that threads.cpp loads when it has threads already, with thread-local variables of both kinds: found by a
// call (general dynamic), and in the room that libc keeps for late comers (initial exec).
namespace {

int* destroyed = nullptr;

struct counted {
    int value = 7;
    ~counted()
    {
        if (destroyed)
            ++*destroyed;
    }
};

thread_local counted general;
thread_local int plain = 5;
[[gnu::tls_model("initial-exec")]] thread_local int early = 11;

} // namespace

extern "C" [[gnu::visibility("default")]] void late_count(int* in)
{
    destroyed = in;
}

/// What the variables were, together; they get `add` more each.
extern "C" [[gnu::visibility("default")]] int late_add(int add)
{
    const int before = general.value + plain + early;
    general.value += add;
    plain += add;
    early += add;
    return before;
}
