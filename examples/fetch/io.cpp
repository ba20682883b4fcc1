// SPDX-License-Identifier: BSL-1.0
#include "io.hpp"

#include <cerrno>
#include <system_error>

int checked(int result, const char* what)
{
    if (result < 0)
        throw std::system_error(errno, std::generic_category(), what);
    return result;
}

void write_all(int fd, std::string_view data)
{
    while (!data.empty()) {
        const auto written = ::write(fd, data.data(), data.size());
        if (written < 0 && errno != EINTR)
            throw std::system_error(errno, std::generic_category(), "write");
        if (written > 0)
            data.remove_prefix(static_cast<std::size_t>(written));
    }
}

std::string read_all(int fd)
{
    std::string data;
    char chunk[16384];
    for (;;) {
        const auto size = ::read(fd, chunk, sizeof chunk);
        if (size == 0)
            return data;
        if (size < 0 && errno != EINTR)
            throw std::system_error(errno, std::generic_category(), "read");
        if (size > 0)
            data.append(chunk, static_cast<std::size_t>(size));
    }
}

std::string printable(std::string_view text)
{
    std::string result{text};
    for (char& c : result)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            c = '?';
    return result;
}

std::string grouped(std::size_t number)
{
    auto digits = std::to_string(number);
    for (auto place = digits.size(); place > 3;)
        digits.insert(place -= 3, ",");
    return digits;
}
