// SPDX-License-Identifier: BSL-1.0
#pragma once
// pthread_mutex_t for fibers. Its representation stays glibc's, so that threads and fibers can share one: a fiber tries
// the genuine trylock, and parks on the mutex's address while that says EBUSY; every genuine unlock looks for parked
// fibers.
//
// Recursive and error-checking mutexes know their owner by the thread's id in __owner, a field of the public layout
// (<bits/struct_mutex.h>, fixed by the static initialisers). Fibers share a thread, so a fiber puts a number of its own
// there, above any thread id, after it has locked, and the thread's id back before it unlocks. Then every other fiber
// and thread, that of the fiber itself included, finds the mutex taken by somebody else.
#include <coir/clock.hpp>

#include <pthread.h>

namespace coir {

/// The calling fiber's number, as an owner.
int fiber_owner() noexcept;
/// What glibc writes for this thread.
int thread_owner() noexcept;

/// All to be called in a fiber; they return errno values.
int fiber_mutex_trylock(pthread_mutex_t* mutex) noexcept;
int fiber_mutex_lock(pthread_mutex_t* mutex, clock::time_point deadline = never) noexcept;
/// From a fiber or a thread.
int any_mutex_unlock(pthread_mutex_t* mutex) noexcept;
int any_mutex_lock(pthread_mutex_t* mutex) noexcept;

} // namespace coir
