// SPDX-License-Identifier: BSL-1.0
#pragma once
// The genuine functions, one line each. They are looked up when the library is loaded, or on first use where another
// library's initialiser comes before ours.
#include <aio.h>
#include <grp.h>
#include <mqueue.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <resolv.h>
#include <semaphore.h>
#include <shadow.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csetjmp>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <ctime>
#include <dirent.h>
#include <sched.h>

namespace coir {

/// Name, version and address of a function. The version is given where glibc has several implementations of a name.
class libc_symbol {
public:
    constexpr explicit libc_symbol(const char* name, const char* version = nullptr) noexcept
        : name_{name}, version_{version}
    {
    }
    void* resolve() noexcept;

protected:
    const char* name_;
    const char* version_;
    std::atomic<void*> address_{nullptr};
};

/// Called like the function itself.
template <class Function> class libc_function;
template <class Result, class... Args> class libc_function<Result(Args...)> : public libc_symbol {
public:
    using libc_symbol::libc_symbol;

    Result operator()(Args... args)
    {
        void* const address = address_.load(std::memory_order_relaxed);
        if (!address) [[unlikely]]
            return first_call(args...);
        return reinterpret_cast<Result (*)(Args...)>(address)(args...);
    }

private:
    /// Apart, so that the usual call is a load and a jump, with nothing to save. ThreadSanitizer calls it before it can
    /// bear to be called.
    [[gnu::noinline, gnu::cold, gnu::no_sanitize_thread]] Result first_call(Args... args)
    {
        return reinterpret_cast<Result (*)(Args...)>(resolve())(args...);
    }
};

struct libc_functions {
    // descriptors
    libc_function<ssize_t(int, void*, size_t)> read{"read"};
    libc_function<ssize_t(int, const void*, size_t)> write{"write"};
    libc_function<ssize_t(int, const iovec*, int)> readv{"readv"};
    libc_function<ssize_t(int, const iovec*, int)> writev{"writev"};
    libc_function<ssize_t(int, const iovec*, int, off64_t, int)> preadv2{"preadv2"};
    libc_function<ssize_t(int, const iovec*, int, off64_t, int)> pwritev2{"pwritev2"};
    libc_function<ssize_t(int, int, off64_t*, size_t)> sendfile{"sendfile"};
    libc_function<ssize_t(int, off64_t*, int, off64_t*, size_t, unsigned)> splice{"splice"};
    libc_function<ssize_t(int, int, size_t, unsigned)> tee{"tee"};
    libc_function<ssize_t(int, const iovec*, size_t, unsigned)> vmsplice{"vmsplice"};
    libc_function<ssize_t(int, off64_t*, int, off64_t*, size_t, unsigned)> copy_file_range{"copy_file_range"};
    libc_function<int(int, int, long)> fcntl{"fcntl"};
    libc_function<int(int, unsigned long, void*)> ioctl{"ioctl"};
    libc_function<int(int, int)> flock{"flock"};
    libc_function<int(int, int, off64_t)> lockf{"lockf"};
    libc_function<int(int)> close{"close"};
    libc_function<int(int)> epoll_create1{"epoll_create1"};
    libc_function<int(unsigned, int)> eventfd{"eventfd"};
    libc_function<int(int, int)> timerfd_create{"timerfd_create"};
    libc_function<int(unsigned, unsigned, int)> close_range{"close_range"};
    libc_function<void(int)> closefrom{"closefrom"};
    libc_function<int(int, int)> dup2{"dup2"};
    libc_function<int(int, int, int)> dup3{"dup3"};
    libc_function<int(FILE*)> fclose{"fclose"};
    libc_function<int(FILE*)> pclose{"pclose"};
    libc_function<int(DIR*)> closedir{"closedir"};

    libc_function<int(int, const char*, int, mode_t)> openat{"openat"};
    libc_function<int(const char*, int)> open_2{"__open_2"};
    libc_function<int(int, const char*, int)> openat_2{"__openat_2"};
    libc_function<FILE*(const char*, const char*)> fopen{"fopen"};
    libc_function<FILE*(const char*, const char*)> fopen64{"fopen64"};
    libc_function<FILE*(const char*, const char*, FILE*)> freopen{"freopen"};
    libc_function<FILE*(const char*, const char*, FILE*)> freopen64{"freopen64"};

    // stdio; what has an unlocked form does the same in it
    libc_function<int(FILE*)> getc{"getc"};
    libc_function<int(FILE*)> underflow{"__underflow"};
    libc_function<int(FILE*)> uflow{"__uflow"};
    libc_function<size_t(void*, size_t, size_t, FILE*)> fread{"fread"};
    libc_function<size_t(void*, size_t, size_t, size_t, FILE*)> fread_chk{"__fread_chk"};
    libc_function<char*(char*, int, FILE*)> fgets{"fgets"};
    libc_function<char*(char*, size_t, int, FILE*)> fgets_chk{"__fgets_chk"};
    libc_function<ssize_t(char**, size_t*, int, FILE*)> getdelim{"getdelim"};
    libc_function<int(FILE*, const char*, std::va_list)> vfscanf{"vfscanf"};
    libc_function<int(FILE*, const char*, std::va_list)> isoc99_vfscanf{"__isoc99_vfscanf"};
    libc_function<int(int, FILE*)> putc{"putc"};
    libc_function<int(FILE*, int)> overflow{"__overflow"};
    libc_function<size_t(const void*, size_t, size_t, FILE*)> fwrite{"fwrite"};
    libc_function<int(const char*, FILE*)> fputs{"fputs"};
    libc_function<int(const char*)> puts{"puts"};
    libc_function<int(FILE*)> fflush{"fflush"};
    libc_function<int(FILE*, const char*, std::va_list)> vfprintf{"vfprintf"};
    libc_function<int(FILE*, int, const char*, std::va_list)> vfprintf_chk{"__vfprintf_chk"};
    libc_function<int(int, const char*, std::va_list)> vdprintf{"vdprintf"};
    libc_function<int(int, int, const char*, std::va_list)> vdprintf_chk{"__vdprintf_chk"};
    libc_function<int(char*, size_t, int, size_t, const char*, std::va_list)> vsnprintf_chk{"__vsnprintf_chk"};

    // sockets
    libc_function<int(int, const sockaddr*, socklen_t)> connect{"connect"};
    libc_function<int(int, sockaddr*, socklen_t*)> accept{"accept"};
    libc_function<int(int, sockaddr*, socklen_t*, int)> accept4{"accept4"};
    libc_function<ssize_t(int, void*, size_t, int)> recv{"recv"};
    libc_function<ssize_t(int, void*, size_t, int, sockaddr*, socklen_t*)> recvfrom{"recvfrom"};
    libc_function<ssize_t(int, msghdr*, int)> recvmsg{"recvmsg"};
    libc_function<ssize_t(int, const void*, size_t, int)> send{"send"};
    libc_function<ssize_t(int, const void*, size_t, int, const sockaddr*, socklen_t)> sendto{"sendto"};
    libc_function<ssize_t(int, const msghdr*, int)> sendmsg{"sendmsg"};

    libc_function<int(int, mmsghdr*, unsigned, int, timespec*)> recvmmsg{"recvmmsg"};
    libc_function<int(int, mmsghdr*, unsigned, int)> sendmmsg{"sendmmsg"};
    libc_function<int(int, int, int, const void*, socklen_t)> setsockopt{"setsockopt"};

    // readiness
    libc_function<int(pollfd*, nfds_t, int)> poll{"poll"};
    libc_function<int(pollfd*, nfds_t, const timespec*, const sigset_t*)> ppoll{"ppoll"};
    libc_function<int(int, fd_set*, fd_set*, fd_set*, timeval*)> select{"select"};
    libc_function<int(int, fd_set*, fd_set*, fd_set*, const timespec*, const sigset_t*)> pselect{"pselect"};
    libc_function<int(int, epoll_event*, int, int)> epoll_wait{"epoll_wait"};
    libc_function<int(int, epoll_event*, int, int, const sigset_t*)> epoll_pwait{"epoll_pwait"};

    libc_function<int(int, epoll_event*, int, const timespec*, const sigset_t*)> epoll_pwait2{"epoll_pwait2"};

    // fortified twins (Linux Standard Base, libc): abort when the buffer is too small
    libc_function<ssize_t(int, void*, size_t, size_t)> read_chk{"__read_chk"};
    libc_function<ssize_t(int, void*, size_t, size_t, int)> recv_chk{"__recv_chk"};
    libc_function<ssize_t(int, void*, size_t, size_t, int, sockaddr*, socklen_t*)> recvfrom_chk{"__recvfrom_chk"};
    libc_function<int(pollfd*, nfds_t, int, size_t)> poll_chk{"__poll_chk"};
    libc_function<int(pollfd*, nfds_t, const timespec*, const sigset_t*, size_t)> ppoll_chk{"__ppoll_chk"};

    // time
    libc_function<int(const timespec*, timespec*)> nanosleep{"nanosleep"};
    libc_function<int(clockid_t, int, const timespec*, timespec*)> clock_nanosleep{"clock_nanosleep", "GLIBC_2.17"};
    libc_function<int(useconds_t)> usleep{"usleep"};
    libc_function<unsigned(unsigned)> sleep{"sleep"};
    libc_function<int()> sched_yield{"sched_yield"};

    // processes
    libc_function<pid_t(pid_t, int*, int)> waitpid{"waitpid"};
    libc_function<pid_t(pid_t, int*, int, rusage*)> wait4{"wait4"};
    libc_function<int(idtype_t, id_t, siginfo_t*, int)> waitid{"waitid"};
    libc_function<int(const char*)> system{"system"};

    // signals
    libc_function<int(const sigset_t*, siginfo_t*, const timespec*)> sigtimedwait{"sigtimedwait"};
    libc_function<int(const sigset_t*, siginfo_t*)> sigwaitinfo{"sigwaitinfo"};
    libc_function<int(const sigset_t*, int*)> sigwait{"sigwait"};
    libc_function<int(const sigset_t*)> sigsuspend{"sigsuspend"};
    libc_function<int()> pause{"pause"};
    libc_function<int(int, const sigset_t*, sigset_t*)> pthread_sigmask{"pthread_sigmask"};
    libc_function<int(int, const struct sigaction*, struct sigaction*)> sigaction{"sigaction"};
    libc_function<sighandler_t(int, sighandler_t)> signal{"signal"};
    libc_function<sighandler_t(int, sighandler_t)> sysv_signal{"sysv_signal"};
    libc_function<sighandler_t(int, sighandler_t)> sigset{"sigset"};
    libc_function<int(int, int)> siginterrupt{"siginterrupt"};
    libc_function<void(__jmp_buf_tag*, int)> longjmp{"longjmp"};
    libc_function<void(__jmp_buf_tag*, int)> siglongjmp{"siglongjmp"};
    libc_function<void(__jmp_buf_tag*, int)> longjmp_chk{"__longjmp_chk"};

    // names
    libc_function<int(const char*, const char*, const addrinfo*, addrinfo**)> getaddrinfo{"getaddrinfo"};
    libc_function<int(const sockaddr*, socklen_t, char*, socklen_t, char*, socklen_t, int)> getnameinfo{"getnameinfo"};
    libc_function<hostent*(const char*)> gethostbyname{"gethostbyname"};
    libc_function<int(const char*, hostent*, char*, size_t, hostent**, int*)> gethostbyname_r{"gethostbyname_r"};
    libc_function<passwd*(const char*)> getpwnam{"getpwnam"};
    libc_function<int(const char*, passwd*, char*, size_t, passwd**)> getpwnam_r{"getpwnam_r"};
    libc_function<passwd*(uid_t)> getpwuid{"getpwuid"};
    libc_function<int(uid_t, passwd*, char*, size_t, passwd**)> getpwuid_r{"getpwuid_r"};
    libc_function<group*(const char*)> getgrnam{"getgrnam"};
    libc_function<int(const char*, group*, char*, size_t, group**)> getgrnam_r{"getgrnam_r"};
    libc_function<group*(gid_t)> getgrgid{"getgrgid"};
    libc_function<int(gid_t, group*, char*, size_t, group**)> getgrgid_r{"getgrgid_r"};
    libc_function<spwd*(const char*)> getspnam{"getspnam"};
    libc_function<int(const char*, spwd*, char*, size_t, spwd**)> getspnam_r{"getspnam_r"};
    libc_function<protoent*(const char*)> getprotobyname{"getprotobyname"};
    libc_function<int(const char*, protoent*, char*, size_t, protoent**)> getprotobyname_r{"getprotobyname_r"};
    libc_function<protoent*(int)> getprotobynumber{"getprotobynumber"};
    libc_function<int(int, protoent*, char*, size_t, protoent**)> getprotobynumber_r{"getprotobynumber_r"};
    libc_function<servent*(const char*, const char*)> getservbyname{"getservbyname"};
    libc_function<int(const char*, const char*, servent*, char*, size_t, servent**)> getservbyname_r{"getservbyname_r"};
    libc_function<servent*(int, const char*)> getservbyport{"getservbyport"};
    libc_function<int(int, const char*, servent*, char*, size_t, servent**)> getservbyport_r{"getservbyport_r"};
    libc_function<int(const char*, gid_t, gid_t*, int*)> getgrouplist{"getgrouplist"};
    libc_function<int(const char*, const char*, const char*, const char*)> innetgr{"innetgr"};
    libc_function<hostent*(const char*, int)> gethostbyname2{"gethostbyname2"};
    libc_function<int(const char*, int, hostent*, char*, size_t, hostent**, int*)> gethostbyname2_r{"gethostbyname2_r"};
    libc_function<hostent*(const void*, socklen_t, int)> gethostbyaddr{"gethostbyaddr"};
    libc_function<int(const void*, socklen_t, int, hostent*, char*, size_t, hostent**, int*)> gethostbyaddr_r{
        "gethostbyaddr_r"};
    libc_function<int(int, gaicb*[], int, sigevent*)> getaddrinfo_a{"getaddrinfo_a"};
    libc_function<int(const gaicb* const[], int, const timespec*)> gai_suspend{"gai_suspend"};
    libc_function<int(const char*, int, int, unsigned char*, int)> res_query{"res_query"};
    libc_function<int(const char*, int, int, unsigned char*, int)> res_search{"res_search"};
    libc_function<int(const char*, const char*, int, int, unsigned char*, int)> res_querydomain{"res_querydomain"};
    libc_function<int(const unsigned char*, int, unsigned char*, int)> res_send{"res_send"};
    libc_function<int(res_state, const char*, int, int, unsigned char*, int)> res_nquery{"res_nquery"};
    libc_function<int(res_state, const char*, int, int, unsigned char*, int)> res_nsearch{"res_nsearch"};
    libc_function<int(res_state, const char*, const char*, int, int, unsigned char*, int)> res_nquerydomain{
        "res_nquerydomain"};
    libc_function<int(res_state, const unsigned char*, int, unsigned char*, int)> res_nsend{"res_nsend"};

    // locks; the condition variable of 2.2.5 has another layout. With a version, libc's own even under ThreadSanitizer,
    // whose barriers and pthread_once know nothing of ours
    libc_function<int(pthread_mutex_t*)> pthread_mutex_lock{"pthread_mutex_lock"};
    libc_function<int(pthread_mutex_t*)> pthread_mutex_trylock{"pthread_mutex_trylock"};
    libc_function<int(pthread_mutex_t*, const timespec*)> pthread_mutex_timedlock{"pthread_mutex_timedlock"};
    libc_function<int(pthread_mutex_t*, clockid_t, const timespec*)> pthread_mutex_clocklock{"pthread_mutex_clocklock"};
    libc_function<int(pthread_mutex_t*)> pthread_mutex_unlock{"pthread_mutex_unlock"};
    libc_function<int(pthread_cond_t*, pthread_mutex_t*)> pthread_cond_wait{"pthread_cond_wait", "GLIBC_2.3.2"};
    libc_function<int(pthread_cond_t*, pthread_mutex_t*, const timespec*)> pthread_cond_timedwait{
        "pthread_cond_timedwait", "GLIBC_2.3.2"};
    libc_function<int(pthread_cond_t*, pthread_mutex_t*, clockid_t, const timespec*)> pthread_cond_clockwait{
        "pthread_cond_clockwait"};
    libc_function<int(pthread_cond_t*)> pthread_cond_signal{"pthread_cond_signal", "GLIBC_2.3.2"};
    libc_function<int(pthread_cond_t*)> pthread_cond_broadcast{"pthread_cond_broadcast", "GLIBC_2.3.2"};
    libc_function<int(pthread_rwlock_t*)> pthread_rwlock_rdlock{"pthread_rwlock_rdlock"};
    libc_function<int(pthread_rwlock_t*)> pthread_rwlock_wrlock{"pthread_rwlock_wrlock"};
    libc_function<int(pthread_rwlock_t*)> pthread_rwlock_tryrdlock{"pthread_rwlock_tryrdlock"};
    libc_function<int(pthread_rwlock_t*)> pthread_rwlock_trywrlock{"pthread_rwlock_trywrlock"};
    libc_function<int(pthread_rwlock_t*, const timespec*)> pthread_rwlock_timedrdlock{"pthread_rwlock_timedrdlock"};
    libc_function<int(pthread_rwlock_t*, const timespec*)> pthread_rwlock_timedwrlock{"pthread_rwlock_timedwrlock"};
    libc_function<int(pthread_rwlock_t*, clockid_t, const timespec*)> pthread_rwlock_clockrdlock{
        "pthread_rwlock_clockrdlock"};
    libc_function<int(pthread_rwlock_t*, clockid_t, const timespec*)> pthread_rwlock_clockwrlock{
        "pthread_rwlock_clockwrlock"};
    libc_function<int(pthread_rwlock_t*)> pthread_rwlock_unlock{"pthread_rwlock_unlock"};
    libc_function<int(sem_t*)> sem_wait{"sem_wait"};
    libc_function<int(sem_t*)> sem_trywait{"sem_trywait"};
    libc_function<int(sem_t*, const timespec*)> sem_timedwait{"sem_timedwait"};
    libc_function<int(sem_t*, clockid_t, const timespec*)> sem_clockwait{"sem_clockwait"};
    libc_function<int(sem_t*)> sem_post{"sem_post"};
    libc_function<int(pthread_barrier_t*)> pthread_barrier_wait{"pthread_barrier_wait", "GLIBC_2.34"};
    libc_function<int(pthread_barrier_t*)> pthread_barrier_destroy{"pthread_barrier_destroy", "GLIBC_2.34"};
    libc_function<int(pthread_spinlock_t*)> pthread_spin_lock{"pthread_spin_lock"};
    libc_function<int(pthread_spinlock_t*)> pthread_spin_trylock{"pthread_spin_trylock"};
    libc_function<int(pthread_once_t*, void (*)())> pthread_once{"pthread_once", "GLIBC_2.34"};
    libc_function<long(long, long, long, long, long, long, long)> syscall{"syscall"};

    // the disk
    libc_function<int(int)> fsync{"fsync"};
    libc_function<int(int)> fdatasync{"fdatasync"};
    libc_function<int(int)> syncfs{"syncfs"};
    libc_function<void()> sync{"sync"};
    libc_function<int(void*, size_t, int)> msync{"msync"};

    // queues and semaphores between processes, asynchronous I/O
    libc_function<ssize_t(mqd_t, char*, size_t, unsigned*)> mq_receive{"mq_receive"};
    libc_function<ssize_t(mqd_t, char*, size_t, unsigned*, const timespec*)> mq_timedreceive{"mq_timedreceive"};
    libc_function<int(mqd_t, const char*, size_t, unsigned)> mq_send{"mq_send"};
    libc_function<int(mqd_t, const char*, size_t, unsigned, const timespec*)> mq_timedsend{"mq_timedsend"};
    libc_function<ssize_t(int, void*, size_t, long, int)> msgrcv{"msgrcv"};
    libc_function<int(int, const void*, size_t, int)> msgsnd{"msgsnd"};
    libc_function<int(int, sembuf*, size_t)> semop{"semop"};
    libc_function<int(int, sembuf*, size_t, const timespec*)> semtimedop{"semtimedop"};
    libc_function<int(const aiocb* const*, int, const timespec*)> aio_suspend{"aio_suspend"};

    // asking, and groups
    libc_function<char*(const char*)> getpass{"getpass"};
    libc_function<int(const char*, gid_t)> initgroups{"initgroups"};

    // threads and thread-specific data
    libc_function<int(pthread_t, void**)> pthread_join{"pthread_join"};
    libc_function<int(pthread_key_t*, void (*)(void*))> pthread_key_create{"pthread_key_create"};
    libc_function<int(pthread_key_t)> pthread_key_delete{"pthread_key_delete"};
    libc_function<void*(pthread_key_t)> pthread_getspecific{"pthread_getspecific"};
    libc_function<int(pthread_key_t, const void*)> pthread_setspecific{"pthread_setspecific"};
};

inline constinit libc_functions libc;

} // namespace coir
