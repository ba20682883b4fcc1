// SPDX-License-Identifier: BSL-1.0
// Thread-specific data that must be fiber-specific. OpenSSL keeps its error queue per thread: shared between fibers,
// the failed handshake of one becomes the SSL_get_error of another that had suspended in SSL_read. So each fiber has
// its own value of the keys that libcrypto makes, as each thread has. Keys of other libraries stay the thread's: an
// allocator that finds its cache by a key must not lose it when a fiber ends.
#include "interpose.hpp"
#include "libc.hpp"

#include <coir/fiber_local.hpp>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>
#include <dlfcn.h>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace coir {

namespace {

struct fiber_key {
    std::atomic<bool> per_fiber{false};
    void (*destroy)(void*) = nullptr;
};

constinit std::array<fiber_key, PTHREAD_KEYS_MAX> keys;

bool is_per_fiber(pthread_key_t key) noexcept
{
    return key < keys.size() && keys[key].per_fiber.load(std::memory_order_relaxed);
}

/// One fiber's values.
class fiber_values {
public:
    fiber_values() = default;
    fiber_values(const fiber_values&) = delete;
    fiber_values& operator=(const fiber_values&) = delete;

    void* get(pthread_key_t key) const noexcept { return key < values_.size() ? values_[key] : nullptr; }
    void set(pthread_key_t key, void* value)
    {
        if (key >= values_.size())
            values_.resize(key + 1);
        values_[key] = value;
    }

    /// Runs the keys' destructors, again while they leave new values behind, as POSIX has it for threads
    /// (pthread_key_create). A value without one stays for the destructors of the others, which may look it up.
    void destroy_all()
    {
        bool again = true;
        for (int round = 0; again && round < PTHREAD_DESTRUCTOR_ITERATIONS; ++round) {
            again = false;
            for (pthread_key_t key = 0; key < values_.size(); ++key) {
                if (!values_[key] || !is_per_fiber(key) || !keys[key].destroy)
                    continue;
                keys[key].destroy(std::exchange(values_[key], nullptr));
                again = true;
            }
        }
    }

private:
    std::vector<void*> values_;
};

const fiber_local_slot& values_slot()
{
    static const fiber_local_slot slot;
    return slot;
}

/// When the fiber ends. In two steps, so that the destructors still find this fiber's values: OpenSSL has one key with
/// a destructor, which frees what its other keys lead to.
void end_values(void* values)
{
    values_slot().set(values, [](void* ended) { delete static_cast<fiber_values*>(ended); });
    static_cast<fiber_values*>(values)->destroy_all();
}

/// Null if the caller has set none yet.
fiber_values* callers_values() noexcept
{
    return static_cast<fiber_values*>(values_slot().get());
}

fiber_values& make_callers_values()
{
    if (auto* values = callers_values())
        return *values;
    auto made = std::make_unique<fiber_values>();
    values_slot().set(made.get(), end_values);
    return *made.release();
}

/// Whether the code at `address` belongs to a library whose per-thread state has to be per fiber.
bool wants_fiber_keys(void* address) noexcept
{
    Dl_info library{};
    if (!::dladdr(address, &library) || !library.dli_fname)
        return false;
    const char* slash = std::strrchr(library.dli_fname, '/');
    const char* name = slash ? slash + 1 : library.dli_fname;
    return std::strncmp(name, "libcrypto.so", std::strlen("libcrypto.so")) == 0;
}

} // namespace

COIR_INTERPOSE int pthread_key_create(pthread_key_t* key, void (*destroy)(void*)) noexcept
{
    const bool per_fiber = wants_fiber_keys(__builtin_return_address(0));
    const int result = libc.pthread_key_create(key, destroy);
    if (result == 0 && *key < keys.size()) {
        keys[*key].destroy = destroy;
        keys[*key].per_fiber.store(per_fiber, std::memory_order_release);
    }
    return result;
}

COIR_INTERPOSE int pthread_key_delete(pthread_key_t key) noexcept
{
    if (key < keys.size())
        keys[key].per_fiber.store(false, std::memory_order_relaxed);
    return libc.pthread_key_delete(key);
}

COIR_INTERPOSE void* pthread_getspecific(pthread_key_t key) noexcept
{
    if (outside() || !is_per_fiber(key))
        return libc.pthread_getspecific(key);
    const auto* values = callers_values();
    return values ? values->get(key) : nullptr;
}

COIR_INTERPOSE int pthread_setspecific(pthread_key_t key, const void* value) noexcept
{
    if (outside() || !is_per_fiber(key))
        return libc.pthread_setspecific(key, value);
    try {
        make_callers_values().set(key, const_cast<void*>(value));
        return 0;
    } catch (const std::bad_alloc&) {
        return ENOMEM;
    }
}

} // namespace coir
