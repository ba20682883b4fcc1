// SPDX-License-Identifier: BSL-1.0
#include "bench.hpp"

#include <array>
#include <memory>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

class session : public std::enable_shared_from_this<session> {
public:
    explicit session(tcp::socket socket) : socket_{std::move(socket)} {}
    void read()
    {
        socket_.async_read_some(asio::buffer(data_),
                                [self = shared_from_this()](boost::system::error_code error, std::size_t size) {
                                    if (!error)
                                        self->write(size);
                                });
    }

private:
    void write(std::size_t size)
    {
        asio::async_write(socket_, asio::buffer(data_, size),
                          [self = shared_from_this()](boost::system::error_code error, std::size_t) {
                              if (!error)
                                  self->read();
                          });
    }

    tcp::socket socket_;
    std::array<char, 4096> data_;
};

void accept(tcp::acceptor& acceptor)
{
    acceptor.async_accept([&](boost::system::error_code error, tcp::socket socket) {
        if (!error) {
            socket.set_option(tcp::no_delay{true});
            std::make_shared<session>(std::move(socket))->read();
        }
        accept(acceptor);
    });
}

} // namespace

int main()
{
    bench::raise_descriptor_limit();
    asio::io_context context{1};
    tcp::acceptor acceptor{context, {asio::ip::address_v4::loopback(), 0}};
    acceptor.listen(4096);
    bench::print({{"port", acceptor.local_endpoint().port()}});
    accept(acceptor);
    context.run();
}
