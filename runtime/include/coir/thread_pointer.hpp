// SPDX-License-Identifier: BSL-1.0
#pragma once
// For who gives a fiber the thread-local storage of a thread, as `coir run --threads=fibers` does.

namespace coir {

/// The processor's thread pointer, by which code finds thread_local variables, errno and what libc keeps of a thread
/// (fs on x86-64, tpidr_el0 on AArch64). Never suspends.
void* thread_pointer() noexcept;

namespace this_fiber {

/// From now on the calling fiber, and no other, runs with this thread pointer; null is that of its hub's thread, which
/// it began with and must end with. Never suspends.
///
/// `pointer` is that of a thread's storage which libc has made and no thread uses. All thread_local variables change
/// with it, those of the caller too: their addresses from before are somebody else's. Switches between fibers of this
/// hub cost a little more from then on.
void set_thread_pointer(void* pointer) noexcept;

} // namespace this_fiber

} // namespace coir
