// SPDX-License-Identifier: BSL-1.0
#include "server.hpp"

#include <arpa/inet.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <vector>

namespace clients {

namespace fs = std::filesystem;

namespace {

sockaddr_in loopback(int port)
{
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

std::vector<fs::path> search_path()
{
    std::vector<fs::path> result;
    std::error_code none;
    for (const auto& version : fs::directory_iterator{"/usr/lib/postgresql", none})
        result.push_back(version.path() / "bin");
    result.emplace_back("/usr/lib/rabbitmq/bin"); // what is in /usr/sbin insists on being root or rabbitmq
    const char* path = std::getenv("PATH");
    std::istringstream parts{path ? path : "/usr/bin:/bin"};
    for (std::string part; std::getline(parts, part, ':');)
        result.emplace_back(part);
    result.emplace_back("/usr/sbin");
    return result;
}

std::string read_file(const fs::path& path)
{
    std::ostringstream text;
    text << std::ifstream{path}.rdbuf();
    return text.str();
}

/// Ours, without what would load into every server what is loaded into us.
std::vector<char*> environment()
{
    std::vector<char*> result;
    for (char** variable = environ; *variable; ++variable)
        if (std::strncmp(*variable, "LD_PRELOAD=", 11) != 0)
            result.push_back(*variable);
    result.push_back(nullptr);
    return result;
}

} // namespace

std::string program(const std::string& name, const std::string& debian_package)
{
    for (const auto& directory : search_path())
        if (::access((directory / name).c_str(), X_OK) == 0)
            return (directory / name).string();
    FAIL(name << " is not installed; it is in Debian's package " << debian_package);
    return {};
}

int free_port()
{
    // A port is not given twice: who asks for several has not bound the first yet.
    static std::set<int> given;
    for (;;) {
        const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        auto address = loopback(0);
        socklen_t size = sizeof address;
        auto* generic = reinterpret_cast<sockaddr*>(&address);
        const bool bound = ::bind(listener, generic, size) == 0 && ::getsockname(listener, generic, &size) == 0;
        ::close(listener);
        REQUIRE_MESSAGE(bound, "no free port on 127.0.0.1");
        if (const int port = ntohs(address.sin_port); given.insert(port).second)
            return port;
    }
}

int connect_to(int port)
{
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto address = loopback(port);
    if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
        return socket;
    ::close(socket);
    return -1;
}

bool accepts_connections(int port)
{
    const int socket = connect_to(port);
    if (socket >= 0)
        ::close(socket);
    return socket >= 0;
}

namespace {

int listen_anywhere(int backlog)
{
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto address = loopback(0);
    REQUIRE(::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listener, backlog) == 0);
    return listener;
}

int port_of(int socket)
{
    sockaddr_in address{};
    socklen_t size = sizeof address;
    REQUIRE(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    return ntohs(address.sin_port);
}

} // namespace

silent_port::silent_port() : silent_port{100} {}

silent_port::silent_port(int backlog) : listener_{listen_anywhere(backlog)}, port_{port_of(listener_)} {}

silent_port::~silent_port()
{
    ::close(listener_);
}

full_port::full_port() : silent_port{0}, filler_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)}
{
    REQUIRE(accepts_connections(port()));
    const auto address = loopback(port());
    ::connect(filler_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

full_port::~full_port()
{
    ::close(filler_);
}

// ---- a process ------------------------------------------------------------------------------------------------------

server_process::server_process(const std::string& name)
{
    auto pattern = (fs::temp_directory_path() / ("coir-test-" + name + "-XXXXXX")).string();
    REQUIRE_MESSAGE(::mkdtemp(pattern.data()), "no temporary directory: " << pattern);
    directory_ = pattern;
    fs::permissions(directory_, fs::perms{0755});
}

server_process::~server_process()
{
    if (keeper_ > 0) {
        ::kill(keeper_, SIGTERM);
        ::waitpid(keeper_, nullptr, 0);
    }
    std::error_code ignored;
    fs::remove_all(directory_, ignored);
}

void server_process::start(const std::string& command, const char* user, int stop_signal)
{
    std::vector<std::string> arguments{
        COIR_TEST_KEEPER, std::to_string(::getpid()), directory_.string(), user, std::to_string(stop_signal), command};
    std::vector<char*> pointers;
    for (auto& argument : arguments)
        pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    const int error =
        ::posix_spawn(&keeper_, COIR_TEST_KEEPER, nullptr, nullptr, pointers.data(), environment().data());
    REQUIRE_MESSAGE(error == 0, std::string{std::strerror(error)});
}

bool server_process::has_ended() const
{
    return fs::exists(directory_ / "ended");
}

std::string server_process::log() const
{
    return read_file(directory_ / "log");
}

pid_t server_process::pid() const
{
    return std::atoi(read_file(directory_ / "pid").c_str());
}

namespace {

/// The fields of /proc/PID/stat after the name, which may have blanks in it: the state, the parent, and so on.
std::string state_and_parent(const fs::path& process_or_thread)
{
    const auto stat = read_file(process_or_thread / "stat");
    const auto name_end = stat.rfind(')');
    return name_end == std::string::npos ? "" : stat.substr(name_end + 1);
}

/// A process and all that come from it and have not lost their parents, whatever groups and sessions they have made.
std::set<pid_t> family_of(pid_t ancestor)
{
    std::map<pid_t, std::vector<pid_t>> children;
    for (const auto& process : fs::directory_iterator{"/proc"})
        if (const pid_t id = std::atoi(process.path().filename().c_str()); id > 0) {
            std::istringstream fields{state_and_parent(process.path())};
            char state;
            if (pid_t parent; fields >> state >> parent)
                children[parent].push_back(id);
        }
    std::set<pid_t> result;
    for (std::vector<pid_t> next{ancestor}; !next.empty();) {
        const pid_t id = next.back();
        next.pop_back();
        result.insert(id);
        const auto& of_this = children[id];
        next.insert(next.end(), of_this.begin(), of_this.end());
    }
    return result;
}

/// Whether all its threads are stopped, or have ended and wait for a parent that is.
bool is_stopped(pid_t process)
{
    std::error_code gone;
    for (const auto& thread : fs::directory_iterator{fs::path{"/proc"} / std::to_string(process) / "task", gone})
        if (const auto rest = state_and_parent(thread.path()); !rest.empty() && !std::strchr("TZX", rest[1]))
            return false;
    return true;
}

} // namespace

void server_process::kill()
{
    REQUIRE(pid() > 0);
    for (const pid_t each : family_of(pid()))
        ::kill(each, SIGKILL);
    for (int tries = 0; tries < 3000 && !has_ended(); ++tries)
        std::this_thread::sleep_for(std::chrono::milliseconds{10});
    REQUIRE(has_ended());
}

/// A server of several processes may start another until its last one has stopped: then they are looked at again.
paused::paused(const server_process& server) : server_{server.pid()}
{
    REQUIRE(server_ > 0);
    std::set<pid_t> stopped;
    for (int tries = 0; tries < 3000; ++tries) {
        const auto all = family_of(server_);
        if (all == stopped)
            return;
        for (const pid_t each : all)
            if (!is_stopped(each))
                ::kill(each, SIGSTOP);
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
        stopped = std::ranges::all_of(all, is_stopped) ? all : std::set<pid_t>{};
    }
    FAIL("the server's processes do not stop");
}

void paused::resume()
{
    for (const pid_t each : family_of(server_))
        ::kill(each, SIGCONT);
}

// ---- the servers ----------------------------------------------------------------------------------------------------

peer_server::peer_server()
{
    const auto openssl = program("openssl", "openssl");
    const auto make = [&](const std::string& key, const std::string& certificate) {
        return openssl +
               " req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
               " -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout " +
               key + " -out " + certificate + " && ";
    };
    process.start(make("key.pem", "certificate.pem") + make("other-key.pem", "other.pem") + "exec " COIR_TEST_PEER " " +
                      std::to_string(port) + " " + std::to_string(tls_port) + " certificate.pem key.pem",
                  "", SIGKILL); // as us, who may be the only one that can read the build directory
}

bool peer_server::is_ready() const
{
    return accepts_connections(port) && accepts_connections(tls_port);
}

web_server::web_server()
{
    const auto nginx = program("nginx", "nginx");
    fs::create_directory(process.directory() / "files");
    std::ofstream{process.directory() / "files/small"} << "small\n";
    {
        std::ofstream big{process.directory() / "files/big"};
        for (int line = 0; line < 1'000'000; ++line) {
            char text[16];
            std::snprintf(text, sizeof text, "%09d\n", line);
            big.write(text, 10);
        }
    }
    std::ofstream{process.directory() / "nginx.conf"} << R"(
        daemon off;
        master_process off;
        pid nginx.pid;
        error_log stderr;
        events { worker_connections 8192; }
        http {
            access_log off;
            client_body_temp_path body;
            proxy_temp_path proxy;
            fastcgi_temp_path fastcgi;
            uwsgi_temp_path uwsgi;
            scgi_temp_path scgi;
            client_max_body_size 64m;
            keepalive_requests 100000;
            server {
                listen 127.0.0.1:)" << port << R"( backlog=4096;
                listen 127.0.0.1:)" << tls_port << R"( ssl backlog=4096;
                ssl_certificate )" << peer.certificate()
                                                      << R"(;
                ssl_certificate_key key.pem;
                root files;
                absolute_redirect off;
                location = /redirect { return 302 /small; }
                location /peer/ { proxy_pass http://127.0.0.1:)"
                                                      << peer.port << R"(/; }
            }
        })";
    // nginx may run as another user than the peer, so the key is copied before its process starts.
    fs::copy_file(peer.file("key.pem"), process.directory() / "key.pem");
    fs::permissions(process.directory() / "key.pem", fs::perms{0644});
    process.start("exec " + nginx + " -p . -e stderr -c nginx.conf", "nobody", SIGTERM);
}

bool web_server::is_ready() const
{
    return accepts_connections(port) && accepts_connections(tls_port);
}

std::string web_server::http(const std::string& path) const
{
    return "http://127.0.0.1:" + std::to_string(port) + path;
}

std::string web_server::https(const std::string& path) const
{
    return "https://127.0.0.1:" + std::to_string(tls_port) + path;
}

redis_server::redis_server()
{
    process.start("exec " + program("redis-server", "redis-server") + " --bind 127.0.0.1 --port " +
                      std::to_string(port) + " --save '' --appendonly no --daemonize no --maxclients 4000",
                  "nobody", SIGTERM);
}

} // namespace clients
