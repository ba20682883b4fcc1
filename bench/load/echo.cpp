// SPDX-License-Identifier: BSL-1.0
#include "load.hpp"

namespace {

struct plain {
    int socket;
    ssize_t send(const char* data, std::size_t size) const { return ::send(socket, data, size, 0); }
    ssize_t receive(char* data, std::size_t size) const { return ::recv(socket, data, size, MSG_DONTWAIT); }
};

} // namespace

int main(int argc, char** argv)
{
    return bench::run_load<plain>(argc, argv);
}
