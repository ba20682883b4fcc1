// SPDX-License-Identifier: BSL-1.0
#include "thread_shell.hpp"

#include "first_thread.hpp"
#include "next_definition.hpp"
#include "signal_handlers.hpp"

#include <coir/outside_fiber.hpp>
#include <coir/thread_pointer.hpp>

#include <linux/futex.h>
#include <linux/sched.h>
#include <sys/rseq.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <dlfcn.h>
#include <new>
#include <sched.h>
#include <unistd.h>

namespace coir {

namespace {

[[gnu::tls_model("initial-exec")]] constinit thread_local thread_shell* own_shell = nullptr;

/// Of libc's description of a thread, the kernel id: how many bytes from its beginning, which is what a pthread_t
/// points to. 0 until it is known.
constinit std::size_t kernel_id_offset = 0;
constinit pthread_key_t end_key = 0;
constinit std::atomic<int> hub_id = 0;
constinit std::atomic<int> last_id = 0;
constinit int process = 0;             ///< which of this line of forks
constinit std::atomic<int> living = 1; ///< threads of the program that have not ended, main among them

constinit decltype(&::syscall) genuine_syscall = nullptr;

/// The kernel's answer, or -1. Not through the patch, where a futex is a fiber's.
template <class... Args> long kernel(long number, Args... args) noexcept
{
    const int before = errno;
    const long result = genuine_syscall(number, args...);
    errno = before;
    return result;
}

int* kernel_id_of(pthread_t thread) noexcept
{
    return reinterpret_cast<int*>(reinterpret_cast<std::byte*>(thread) + kernel_id_offset);
}

/// Above every id that the kernel gives (those end at 2^22), and below the sign.
int new_id() noexcept
{
    constexpr int first = 1 << 29;
    return first | (last_id.fetch_add(1, std::memory_order_relaxed) & (first - 1));
}

std::byte* stack_pointer(const ucontext_t& context) noexcept
{
#if defined(__x86_64__)
    return reinterpret_cast<std::byte*>(context.uc_mcontext.gregs[REG_RSP]);
#elif defined(__aarch64__)
    return reinterpret_cast<std::byte*>(context.uc_mcontext.sp);
#endif
}

void set_mask(int how, const sigset_t* to, sigset_t* before) noexcept
{
    kernel(SYS_rt_sigprocmask, how, to, before, NSIG / 8);
}

struct signals_blocked {
    sigset_t before{};
    signals_blocked() noexcept
    {
        sigset_t every;
        sigfillset(&every);
        set_mask(SIG_SETMASK, &every, &before);
    }
    ~signals_blocked() { set_mask(SIG_SETMASK, &before, nullptr); }
    signals_blocked(const signals_blocked&) = delete;
    signals_blocked& operator=(const signals_blocked&) = delete;
};

} // namespace

int thread_shell::hub_kernel_id() noexcept
{
    return hub_id.load(std::memory_order_relaxed);
}

thread_shell* thread_shell::own() noexcept
{
    return own_shell;
}

thread_end* thread_shell::own_end() noexcept
{
    if (own_shell)
        return &own_shell->end_;
    auto* const main = first_thread::own();
    return main ? &main->end : nullptr;
}

bool thread_shell::prepared() noexcept
{
    return kernel_id_offset != 0;
}

const char* thread_shell::prepare() noexcept
{
    struct description { // nptl_db/thread_dbP.h: DB_DESC
        std::uint32_t bits;
        std::uint32_t count;
        std::uint32_t offset;
    };
    const auto* found = static_cast<const description*>(::dlsym(RTLD_DEFAULT, "_thread_db_pthread_tid"));
    if (!found || found->bits != CHAR_BIT * sizeof(int) || found->offset == 0)
        return "this libc does not say how it describes a thread";
    void* const libc = ::dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    genuine_syscall = libc ? reinterpret_cast<decltype(&::syscall)>(::dlsym(libc, "syscall")) : nullptr;
    if (!genuine_syscall)
        return "there is no libc.so.6";
    hub_id = ::gettid();
    kernel_id_offset = found->offset;
    if (*kernel_id_of(::pthread_self()) != hub_id) {
        kernel_id_offset = 0;
        return "this libc describes a thread otherwise than it says";
    }
    if (!first_thread::prepare())
        return "there is no memory";
    thread_cancellation::prepare_main();
    let_threads_be_cancelled();
    if (::pthread_key_create(&end_key, on_end) != 0 || ::pthread_setspecific(end_key, &end_key) != 0)
        return "there is no key left for thread-specific data";
    ::pthread_atfork(nullptr, nullptr, [] {
        living = 1;
        hub_id = ::gettid();
        ++process;
        if (own_shell) {
            own_shell->process_ = process;
            heed_signals(); // there is no main any more
        }
    });
    return nullptr;
}

// ---- a thread begins ------------------------------------------------------------------------------------------------

int thread_shell::start(pthread_t* thread, const pthread_attr_t* attributes, function what, void* argument) noexcept
{
    auto* const create = next<"pthread_create", decltype(::pthread_create)>();
    auto* const self = new (std::nothrow) thread_shell;
    if (!self)
        return EAGAIN;
    self->what_ = what;
    self->argument_ = argument;
    self->process_ = process;
    int detached = PTHREAD_CREATE_JOINABLE;
    if (attributes)
        ::pthread_attr_getdetachstate(attributes, &detached);
    {
        const signals_blocked guard;
        self->mask = own() ? own()->mask : guard.before;
        pthread_t made;
        if (const int error = create(&made, attributes, &begin, self)) {
            delete self;
            return error;
        }
        const outside_fiber meant; // a short wait, of which the audit has nothing to tell
        while (const int there = self->kernel_thread_.load(std::memory_order_acquire))
            kernel(SYS_futex, &self->kernel_thread_, FUTEX_WAIT, there, nullptr, nullptr, 0);
    }
    *thread = self->id_;
    living.fetch_add(1, std::memory_order_relaxed);
    if (detached == PTHREAD_CREATE_DETACHED) {
        self->end_.detach();
        self->references_.store(1, std::memory_order_relaxed);
    }
    try {
        fiber{{.name = "thread", .stack_size = 32 * 1024}, [self] { self->inhabit(); }}.detach();
    } catch (...) { // no memory for the fiber: then it is a thread like others
        living.fetch_sub(1, std::memory_order_relaxed);
        of(self->id_) = nullptr;
        if (detached != PTHREAD_CREATE_DETACHED)
            self->release();
        self->on_kernel_thread();
    }
    return 0;
}

/// On the kernel thread that libc has started, up to where it leaves; from there, which `getcontext` has kept, in the
/// fiber. What it returns, or passes to pthread_exit, is libc's to keep.
void* thread_shell::begin(void* argument)
{
    auto& self = *static_cast<thread_shell*>(argument);
    self.leave_kernel_thread();
    ::getcontext(&self.thread_);
    if (!*const_cast<volatile bool*>(&self.in_fiber_))
        kernel(SYS_exit, 0);
    void* const result = self.what_(self.argument_);
    asm volatile("" : : : "memory"); // no tail call: a debugger's backtrace tells by this frame what the stack is
    return result;
}

/// The kernel is to leave nothing behind in this thread's memory, and to say when it has gone.
void thread_shell::leave_kernel_thread() noexcept
{
    own_shell = this;
    id_ = ::pthread_self();
    thread_pointer_ = coir::thread_pointer();
    kernel_id_ = kernel_id_of(id_);
    ::pthread_setspecific(end_key, this);
    if (__rseq_size != 0) {
        auto* const area = reinterpret_cast<rseq*>(static_cast<std::byte*>(thread_pointer_) + __rseq_offset);
        kernel(SYS_rseq, area, sizeof *area, RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
        area->cpu_id = static_cast<std::uint32_t>(RSEQ_CPU_ID_UNINITIALIZED);
    }
    kernel(SYS_set_tid_address, &kernel_thread_);
    *kernel_id_ = new_id();
}

void thread_shell::inhabit() noexcept
{
    in_fiber_ = true;
    waits_ = signal_wait::of_this_fiber();
    cancellation.belong_to(waits_);
    set_mask(SIG_SETMASK, nullptr, &thread_.uc_sigmask); // of the hub's thread, as it is now
    this_fiber::set_thread_pointer(thread_pointer_);
    ::swapcontext(&fiber_, &thread_);
    waits_ = {};
    cancellation.belong_to(waits_);
    this_fiber::set_thread_pointer(nullptr);
    on_kernel_thread();
}

// ---- and ends -------------------------------------------------------------------------------------------------------

/// Libc calls this as the destructor of thread-specific data, after those of thread_local variables, as often as it
/// calls any. The last time is the latest moment at which a thread can still be kept from leaving the kernel.
void thread_shell::on_end(void* value) noexcept
{
    static constinit int rounds_of_main = 0;
    const bool main = value == &end_key;
    auto* const self = static_cast<thread_shell*>(main ? nullptr : value);
    if (++(main ? rounds_of_main : self->rounds_) < PTHREAD_DESTRUCTOR_ITERATIONS) {
        ::pthread_setspecific(end_key, value);
        return;
    }
    if (main)
        end_of_main();
    else
        self->end();
}

/// main has called pthread_exit. Its kernel thread is the hub's: it stays, until the last thread has ended.
void thread_shell::end_of_main() noexcept
{
    if (!this_fiber::active())
        return;
    if (living.fetch_sub(1, std::memory_order_acq_rel) == 1)
        std::exit(0);
    if (auto* const main = first_thread::own())
        main->end.come();
    for (;;)
        park_until({.reason = {"the end of the last thread"}, .interruptible = false});
}

void thread_shell::end() noexcept
{
    if (!in_fiber_ || !this_fiber::active()) { // a thread like others
        release();
        return;
    }
    if (living.fetch_sub(1, std::memory_order_acq_rel) == 1)
        std::exit(0);
    end_.come();
    set_mask(SIG_SETMASK, nullptr, &fiber_.uc_sigmask);
    ::swapcontext(&thread_, &fiber_);
    release();
    // And back into libc, on a kernel thread.
}

/// Goes on where the thread has stopped, on a new kernel thread, whose end is the thread's for libc. It starts below
/// the part of the stack that is in use.
void thread_shell::on_kernel_thread() noexcept
{
    constexpr int kind = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND | CLONE_THREAD |
                         CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    if (in_fiber_)
        sigfillset(&thread_.uc_sigmask);
    else
        thread_.uc_sigmask = mask;
    in_fiber_ = true; // for `begin`, if that is where it goes on
    auto* const top = reinterpret_cast<std::byte*>(reinterpret_cast<std::uintptr_t>(stack_pointer(thread_) - 512) &
                                                   ~std::uintptr_t{63});
    const signals_blocked guard;
    const auto go_on = [](void* self) {
        ::setcontext(&static_cast<thread_shell*>(self)->thread_);
        return 0;
    };
    auto* const id = kernel_id_;
    if (::clone(go_on, top, kind, this, id, thread_pointer_, id) != -1)
        return;
    // The kernel has no thread for it. Libc may take the stack back; what else it holds is lost.
    release();
    __atomic_store_n(id, 0, __ATOMIC_RELEASE);
    kernel(SYS_futex, id, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

// ---- who knows of it ------------------------------------------------------------------------------------------------

void thread_shell::release() noexcept
{
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1)
        delete this;
}

/// Every thread has its own_shell in the same place, seen from its thread pointer, and its thread pointer in the same
/// place, seen from its pthread_t.
thread_shell*& thread_shell::of(pthread_t thread) noexcept
{
    const auto distance = reinterpret_cast<std::byte*>(&own_shell) - reinterpret_cast<std::byte*>(::pthread_self());
    return *reinterpret_cast<thread_shell**>(reinterpret_cast<std::byte*>(thread) + distance);
}

thread_shell::reference::reference(pthread_t thread) noexcept : shell_{prepared() ? thread_shell::of(thread) : nullptr}
{
    if (shell_ && shell_->process_ != process)
        shell_ = nullptr;
    if (shell_)
        shell_->references_.fetch_add(1, std::memory_order_relaxed);
}

thread_shell::reference::~reference()
{
    if (shell_)
        shell_->release();
}

thread_cancellation* thread_shell::cancellation_of(pthread_t thread) noexcept
{
    if (this_fiber::active() && first_thread::of(thread))
        return thread_cancellation::of_main();
    const reference known{thread};
    return known ? &known->cancellation : nullptr;
}

int thread_shell::detach() noexcept
{
    auto* const genuine = next<"pthread_detach", decltype(::pthread_detach)>();
    if (const int error = genuine(id_))
        return error;
    end_.detach();
    release();
    return 0;
}

int thread_shell::try_join(void** result) noexcept
{
    auto* const genuine = next<"pthread_tryjoin_np", decltype(::pthread_tryjoin_np)>();
    const int error = genuine(id_, result);
    if (error == 0)
        release(); // who calls has a reference of his own
    return error;
}

int thread_shell::join(void** result, clock::time_point deadline) noexcept
{
    return end_.join(own_end(), deadline, [&] {
        // Its kernel thread has yet to give back what it had, which takes some microseconds.
        for (clock::duration pause = std::chrono::microseconds{20};;) {
            if (const int error = try_join(result); error != EBUSY)
                return error;
            park_until({.reason = {"pthread_join", this}, .deadline = clock::now() + pause, .interruptible = false});
            pause = std::min<clock::duration>(2 * pause, std::chrono::milliseconds{1});
        }
    });
}

} // namespace coir
