// SPDX-License-Identifier: BSL-1.0
#pragma once
#include <system_error>

#include <boost/asio/error.hpp>
#include <boost/system/error_code.hpp>

namespace coir::net {

/// What operations report: Asio's type, so that Asio's algorithms work over coir's streams. It converts to
/// std::error_code. An operation has two forms: one takes an error_code, the other throws std::system_error.
/// Cancellation and deadlines throw `cancelled` and `timed_out` in both.
using error_code = boost::system::error_code;

/// Asio's names of errors: `error::eof`, `error::connection_refused`, `error::bad_descriptor`, ...
namespace error = boost::asio::error;

/// Whether it says that the stream has ended: the peer sends no more.
inline bool is_eof(const error_code& code) noexcept
{
    return code == error::make_error_code(error::eof);
}
inline bool is_eof(const std::error_code& code) noexcept
{
    return code == static_cast<std::error_code>(error::make_error_code(error::eof));
}

/// Throws std::system_error. The operation is named in its `what`.
[[noreturn]] void throw_error(const error_code& code, const char* operation);

inline void throw_if(const error_code& code, const char* operation)
{
    if (code.failed()) [[unlikely]]
        throw_error(code, operation);
}

} // namespace coir::net
