// SPDX-License-Identifier: BSL-1.0
#include "transfer.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

transfer::transfer(const options& opts) : handle_{curl_easy_init()}
{
    if (!handle_)
        throw std::bad_alloc{};
    const auto set = [&](CURLoption option, auto value) { curl_easy_setopt(handle(), option, value); };
    set(CURLOPT_WRITEFUNCTION, &body::receive);
    set(CURLOPT_ERRORBUFFER, message_.data());
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(opts.timeout.count()));
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(opts.timeout.count())); // curl's own limit is five minutes
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    set(CURLOPT_FOLLOWLOCATION, 1L);
    set(CURLOPT_MAXREDIRS, 10L);
    set(CURLOPT_FAILONERROR, 1L); // a status of 400 or more is a failure
    set(CURLOPT_USERAGENT, "coir-fetch");
    set(CURLOPT_NOSIGNAL, 1L);   // time-outs without SIGALRM, which belongs to no thread in particular
    set(CURLOPT_QUICK_EXIT, 1L); // a transfer that timed out does not wait for its name's resolution to end
}

std::string transfer::error(CURLcode code) const
{
    if (code == CURLE_OK)
        return {};
    std::string text = message_.front() ? message_.data() : curl_easy_strerror(code);
    if (long cause = 0; code == CURLE_COULDNT_CONNECT &&
                        curl_easy_getinfo(handle(), CURLINFO_OS_ERRNO, &cause) == CURLE_OK && cause != 0)
        text += fmt::format(" ({})", std::strerror(static_cast<int>(cause)));
    return text;
}

namespace {

/// The URL without its scheme, reduced to what is harmless in a file name on any system.
std::string file_name(const job& from)
{
    constexpr std::size_t length_max = 120;
    const auto scheme = from.url.find("://");
    auto name = from.url.substr(scheme == std::string::npos ? 0 : scheme + 3, length_max);
    for (char& c : name)
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '.' && c != '-')
            c = '_';
    return fmt::format("{:04}-{}", from.number + 1, name);
}

} // namespace

body::body(const job& from, const std::filesystem::path& directory)
{
    if (directory.empty())
        return;
    path_ = directory / file_name(from);
    partial_ = path_;
    partial_ += ".part";
    file_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file_ < 0)
        fail("create");
}

body::~body()
{
    if (file_ >= 0)
        ::close(file_);
}

std::size_t body::receive(const char* data, std::size_t, std::size_t size, void* self) noexcept
{
    auto& to = *static_cast<body*>(self);
    to.size_ += size;
    return to.failed_call_ || !to.write(data, size) ? 0 : size;
}

bool body::write(const char* data, std::size_t size) noexcept
{
    while (file_ >= 0 && size > 0) {
        const auto written = ::write(file_, data, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) {
            fail("write");
            return false;
        }
        data += written;
        size -= static_cast<std::size_t>(written);
    }
    return true;
}

void body::fail(const char* what) noexcept
{
    if (failed_call_)
        return;
    failed_call_ = what;
    failed_errno_ = errno;
}

std::string body::finish(std::string transfer_error)
{
    if (path_.empty())
        return transfer_error;
    const bool opened = file_ >= 0;
    if (opened && ::close(std::exchange(file_, -1)) != 0) // some file systems tell only now that they are full
        fail("write");
    if (!failed_call_ && transfer_error.empty() && ::rename(partial_.c_str(), path_.c_str()) != 0)
        fail("create");
    if (opened && (failed_call_ || !transfer_error.empty()))
        ::unlink(partial_.c_str());
    if (failed_call_) // then curl's error, if any, is only that we took no more
        return fmt::format("cannot {} {}: {}", failed_call_, path_.string(), std::strerror(failed_errno_));
    return transfer_error;
}
