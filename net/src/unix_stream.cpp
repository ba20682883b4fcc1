// SPDX-License-Identifier: BSL-1.0
#include "attempt.hpp"
#include "open_socket.hpp"
#include "socket_transfer.hpp"

#include <coir/net/unix_stream.hpp>

#include <poll.h>

#include <array>
#include <cstring>

#include <boost/system/errc.hpp>

namespace coir::net {

namespace {

/// Room for one descriptor in a message's ancillary data (cmsg(3)).
struct one_descriptor {
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> room{};

    void attach_to(msghdr& message) noexcept
    {
        message.msg_control = room.data();
        message.msg_controllen = room.size();
    }
};

} // namespace

unix_stream unix_stream::connect(const unix_endpoint& to, error_code& ec)
{
    auto socket = open_socket(AF_UNIX, SOCK_STREAM, 0, ec);
    if (!ec.failed())
        connect_socket(socket.get(), to.data(), static_cast<socklen_t>(to.size()), ec);
    if (!ec.failed())
        set_nonblocking(socket.get(), false, ec);
    return ec.failed() ? unix_stream{} : unix_stream{std::move(socket)};
}

unix_stream unix_stream::connect(const unix_endpoint& to)
{
    error_code ec;
    auto result = connect(to, ec);
    throw_if(ec, "coir::net: connect");
    return result;
}

void unix_stream::send_fd(int descriptor, error_code& ec)
{
    char byte = 0;
    iovec part{&byte, 1};
    one_descriptor passed;
    auto message = message_of({&part, 1});
    passed.attach_to(message);
    auto* header = CMSG_FIRSTHDR(&message);
    header->cmsg_len = CMSG_LEN(sizeof(int));
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    const int socket = native_handle();
    attempt(socket, POLLOUT, ec, [&] { return ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL); });
}

void unix_stream::send_fd(int descriptor)
{
    error_code ec;
    send_fd(descriptor, ec);
    throw_if(ec, "coir::net: send_fd");
}

unique_fd unix_stream::receive_fd(error_code& ec)
{
    char byte = 0;
    iovec part{&byte, 1};
    one_descriptor passed;
    msghdr message{};
    const int socket = native_handle();
    const auto size = attempt(socket, POLLIN, ec, [&] {
        message = message_of({&part, 1});
        passed.attach_to(message);
        return ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    });
    if (size == 0)
        ec = error::eof;
    if (ec.failed())
        return {};
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
        header->cmsg_len != CMSG_LEN(sizeof(int))) {
        ec = make_error_code(boost::system::errc::bad_message);
        return {};
    }
    int descriptor = -1;
    std::memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
    return unique_fd{descriptor};
}

unique_fd unix_stream::receive_fd()
{
    error_code ec;
    auto result = receive_fd(ec);
    throw_if(ec, "coir::net: receive_fd");
    return result;
}

ucred unix_stream::peer_credentials(error_code& ec) const noexcept
{
    ucred result{};
    socklen_t size = sizeof result;
    const bool done = ::getsockopt(native_handle(), SOL_SOCKET, SO_PEERCRED, &result, &size) == 0;
    ec = done ? error_code{} : system_error(errno);
    return result;
}

ucred unix_stream::peer_credentials() const
{
    error_code ec;
    const auto result = peer_credentials(ec);
    throw_if(ec, "coir::net: peer_credentials");
    return result;
}

unix_stream_pair make_unix_stream_pair()
{
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        throw_error(system_error(errno), "coir::net: make_unix_stream_pair");
    return {unix_stream{unique_fd{ends[0]}}, unix_stream{unique_fd{ends[1]}}};
}

} // namespace coir::net
