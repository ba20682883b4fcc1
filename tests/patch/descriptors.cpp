// SPDX-License-Identifier: BSL-1.0
#include "descriptors.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <filesystem>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace {

sockaddr_in loopback()
{
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

sockaddr_in name_of(int socket)
{
    sockaddr_in address{};
    socklen_t size = sizeof address;
    must(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size));
    return address;
}

} // namespace

tcp_listener listen_tcp(stage& on, int backlog)
{
    const int descriptor = on.own(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto any_port = loopback();
    must(::bind(descriptor, generic(any_port), sizeof any_port));
    must(::listen(descriptor, backlog));
    return {descriptor, name_of(descriptor)};
}

int connect_to(stage& on, const tcp_listener& where)
{
    const int descriptor = on.own(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    must(::connect(descriptor, generic(where.address), sizeof where.address));
    return descriptor;
}

sockaddr_in refused_port()
{
    const int descriptor = must(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto any_port = loopback();
    must(::bind(descriptor, generic(any_port), sizeof any_port));
    const auto address = name_of(descriptor);
    ::close(descriptor);
    return address;
}

two tcp_pair(stage& on)
{
    const auto listener = listen_tcp(on);
    const int a = connect_to(on, listener);
    const int b = on.own(::accept4(listener.descriptor, nullptr, nullptr, SOCK_CLOEXEC));
    on.close(listener.descriptor);
    return {a, b};
}

two udp_pair(stage& on)
{
    const int a = on.own(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const int b = on.own(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    for (const int each : {a, b}) {
        const auto any_port = loopback();
        must(::bind(each, generic(any_port), sizeof any_port));
    }
    const auto name_a = name_of(a);
    const auto name_b = name_of(b);
    must(::connect(a, generic(name_b), sizeof name_b));
    must(::connect(b, generic(name_a), sizeof name_a));
    return {a, b};
}

two unix_pair(stage& on, int type)
{
    int ends[2];
    must(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends));
    return {on.own(ends[0]), on.own(ends[1])};
}

two make_pipe(stage& on)
{
    int ends[2];
    must(::pipe2(ends, O_CLOEXEC));
    return {on.own(ends[0]), on.own(ends[1])};
}

two make_fifo(stage& on)
{
    const temporary_directory directory;
    const auto path = directory / "fifo";
    must(::mkfifo(path.c_str(), 0600));
    // Opening one end waits for the other; both at once does not.
    const int both = must(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    const int a = on.own(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    const int b = on.own(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    ::close(both);
    return {a, b};
}

two make_terminal(stage& on)
{
    const int controller = on.own(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    must(::grantpt(controller));
    must(::unlockpt(controller));
    char name[64];
    if (::ptsname_r(controller, name, sizeof name) != 0)
        preparation_failed();
    const int terminal = on.own(::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
    termios settings;
    must(::tcgetattr(terminal, &settings));
    ::cfmakeraw(&settings);
    must(::tcsetattr(terminal, TCSANOW, &settings));
    return {terminal, controller};
}

int make_file(stage& on, const std::string& content)
{
    const int descriptor = on.own(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (must(::pwrite(descriptor, content.data(), content.size(), 0)) != static_cast<ssize_t>(content.size()))
        preparation_failed();
    return descriptor;
}

temporary_directory::temporary_directory()
{
    char path[] = "/tmp/coir-test-XXXXXX";
    if (!::mkdtemp(path))
        preparation_failed();
    path_ = path;
}

temporary_directory::~temporary_directory()
{
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

std::size_t fill(int descriptor)
{
    static const std::array<char, 4096> bytes{};
    std::size_t total = 0;
    set_nonblocking(descriptor, true);
    // Terminals hand on what they have been given, and so find room again, a little later. So does TCP, at times much
    // later, until its buffer has become too small for that: then nearly all must have been read before there is room.
    for (int idle = 0; idle < 4; ++idle) {
        for (ssize_t size = sizeof bytes; size > 0; size /= 2)
            for (ssize_t done; (done = ::write(descriptor, bytes.data(), static_cast<std::size_t>(size))) > 0;) {
                total += static_cast<std::size_t>(done);
                idle = 0;
            }
        ::usleep(2000);
    }
    int protocol = 0;
    socklen_t size = sizeof protocol;
    if (::getsockopt(descriptor, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 && protocol == IPPROTO_TCP) {
        const int least = 1;
        must(::setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &least, sizeof least));
    }
    set_nonblocking(descriptor, false);
    return total;
}

void shrink_buffers(int socket)
{
    const int size = 16 * 1024;
    must(::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
    must(::setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &size, sizeof size));
}

void set_timeout(int socket, int option, int milliseconds)
{
    const timeval time{.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000};
    must(::setsockopt(socket, SOL_SOCKET, option, &time, sizeof time));
}

void set_nonblocking(int descriptor, bool on)
{
    const int flags = must(::fcntl(descriptor, F_GETFL));
    must(::fcntl(descriptor, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

bool is_nonblocking(int descriptor)
{
    return must(::fcntl(descriptor, F_GETFL)) & O_NONBLOCK;
}

std::string read_exactly(int descriptor, std::size_t size)
{
    std::string text(size, '\0');
    std::size_t done = 0;
    while (done < size) {
        const auto more = must(::read(descriptor, text.data() + done, size - done));
        if (more == 0)
            break;
        done += static_cast<std::size_t>(more);
    }
    text.resize(done);
    return text;
}

namespace {

/// Fed by writing to the other end.
source fed_by_peer(two ends)
{
    return {ends.a, 16, [peer = ends.b] { must(::write(peer, "food", 4)); }};
}

source timer_source(stage& on)
{
    const int timer = on.own(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    return {timer, 8, [timer] {
                const itimerspec soon{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 1}};
                must(::timerfd_settime(timer, 0, &soon, nullptr));
            }};
}

source event_source(stage& on)
{
    const int event = on.own(::eventfd(0, EFD_CLOEXEC));
    return {event, 8, [event] { must(::eventfd_write(event, 1)); }};
}

source watch_source(stage& on)
{
    const int watch = on.own(::inotify_init1(IN_CLOEXEC));
    auto directory = std::make_shared<temporary_directory>();
    must(::inotify_add_watch(watch, (*directory / "").c_str(), IN_CREATE));
    return {watch, 4096,
            [directory] { ::close(must(::open((*directory / "new").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600))); }};
}

source signal_source(stage& on)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    must(::pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0 ? 0 : -1);
    const int signals = on.own(::signalfd(-1, &set, SFD_CLOEXEC));
    return {signals, sizeof(signalfd_siginfo),
            [thread = on.thread()] { must(::syscall(SYS_tgkill, ::getpid(), thread, SIGUSR2)); }};
}

} // namespace

const std::vector<source_kind>& sources()
{
    static const std::vector<source_kind> all{
        {"tcp", [](stage& on) { return fed_by_peer(tcp_pair(on)); }},
        {"udp", [](stage& on) { return fed_by_peer(udp_pair(on)); }},
        {"unix stream", [](stage& on) { return fed_by_peer(unix_pair(on, SOCK_STREAM)); }},
        {"unix datagram", [](stage& on) { return fed_by_peer(unix_pair(on, SOCK_DGRAM)); }},
        {"unix seqpacket", [](stage& on) { return fed_by_peer(unix_pair(on, SOCK_SEQPACKET)); }},
        {"pipe", [](stage& on) { return fed_by_peer(make_pipe(on)); }},
        {"FIFO", [](stage& on) { return fed_by_peer(make_fifo(on)); }},
        {"terminal", [](stage& on) { return fed_by_peer(make_terminal(on)); }},
        {"terminal's controller",
         [](stage& on) {
             const auto [terminal, controller] = make_terminal(on);
             return fed_by_peer({controller, terminal});
         }},
        {"eventfd", event_source},
        {"timerfd", timer_source},
        {"inotify", watch_source},
        {"signalfd", signal_source},
    };
    return all;
}
