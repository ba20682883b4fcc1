// SPDX-License-Identifier: BSL-1.0
// TLS 1.3 with OpenSSL. Who the server is does not matter here.
#include "load.hpp"

#include <fcntl.h>
#include <memory>
#include <openssl/ssl.h>

namespace {

struct deleter {
    void operator()(SSL* ssl) const { ::SSL_free(ssl); }
};

class encrypted {
public:
    explicit encrypted(int socket)
    {
        static SSL_CTX* const context = ::SSL_CTX_new(::TLS_client_method());
        ::SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
        ssl_.reset(::SSL_new(context));
        ::SSL_set_fd(ssl_.get(), socket);
        bench::must(::SSL_connect(ssl_.get()) == 1, "SSL_connect");
        ::fcntl(socket, F_SETFL, O_NONBLOCK);
    }
    ssize_t send(const char* data, std::size_t size) { return ::SSL_write(ssl_.get(), data, static_cast<int>(size)); }
    ssize_t receive(char* data, std::size_t size)
    {
        const int result = ::SSL_read(ssl_.get(), data, static_cast<int>(size));
        if (result <= 0)
            errno = ::SSL_get_error(ssl_.get(), result) == SSL_ERROR_WANT_READ ? EAGAIN : EIO;
        return result > 0 ? result : -1;
    }

private:
    std::unique_ptr<SSL, deleter> ssl_;
};

} // namespace

int main(int argc, char** argv)
{
    return bench::run_load<encrypted>(argc, argv);
}
