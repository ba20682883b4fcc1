// SPDX-License-Identifier: BSL-1.0
// Boost.Asio and fibers: awaiting operations, a hub as an executor, coroutines, a loop of one's own.
#include <coir/asio.hpp>
#include <coir/deadline.hpp>
#include <coir/fiber.hpp>
#include <coir/runtime.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <string>
#include <system_error>

#include <boost/asio.hpp>

namespace asio = boost::asio;
using asio::ip::tcp;
using namespace std::chrono_literals;

namespace {

void serve(tcp::socket socket)
{
    std::array<char, 1000> data;
    boost::system::error_code error;
    for (;;) {
        const auto size = socket.async_read_some(asio::buffer(data), coir::use_fiber[error]);
        if (error)
            return;
        asio::async_write(socket, asio::buffer(data, size), coir::use_fiber);
    }
}

void awaiting()
{
    auto& context = coir::this_hub_io_context();
    tcp::acceptor acceptor{context, {asio::ip::address_v4::loopback(), 0}};
    coir::fiber server{[&] { serve(acceptor.async_accept(coir::use_fiber)); }};

    tcp::socket socket{context};
    socket.async_connect(acceptor.local_endpoint(), coir::use_fiber);
    asio::async_write(socket, asio::buffer("hello\n", 6), coir::use_fiber);
    std::string line;
    asio::async_read_until(socket, asio::dynamic_buffer(line), '\n', coir::use_fiber);
    std::printf("echo: %s", line.c_str());

    try {
        coir::timeout limit{10ms};
        socket.async_wait(tcp::socket::wait_read, coir::use_fiber);
    } catch (const coir::timed_out&) {
        std::puts("nothing more within 10 ms");
    }
}

void failing()
{
    tcp::socket socket{coir::this_hub_io_context()};
    const tcp::endpoint nobody{asio::ip::address_v4::loopback(), 1};
    try {
        socket.async_connect(nobody, coir::use_fiber);
    } catch (const std::system_error& failure) {
        std::printf("refused: %d\n", failure.code() == std::errc::connection_refused);
    }
    socket = tcp::socket{coir::this_hub_io_context()};
    boost::system::error_code error;
    socket.async_connect(nobody, coir::use_fiber[error]);
    std::printf("refused: %d\n", error == asio::error::connection_refused);
}

void executors()
{
    const coir::executor here = coir::this_hub_executor();
    asio::steady_timer timer{coir::this_hub_io_context(), 1ms};
    timer.async_wait(asio::bind_executor(here, [](boost::system::error_code) {
        coir::this_fiber::sleep_for(1ms); // a handler that waits: it has a fiber
        std::puts("the timer has rung");
    }));

    asio::thread_pool pool{2};
    asio::post(pool, coir::use_fiber); // there and back again
    asio::steady_timer on_the_pool{pool, 5ms};
    on_the_pool.async_wait(coir::use_fiber);
    pool.join();
}

asio::awaitable<std::string> coroutine()
{
    const int value = co_await coir::async_spawn(
        coir::this_hub_executor(),
        [] {
            coir::this_fiber::sleep_for(1ms); // any function that waits, however deep
            return 42;
        },
        asio::use_awaitable);
    co_return "the fiber says " + std::to_string(value);
}

void coroutines()
{
    const std::string text = asio::co_spawn(coir::this_hub_io_context(), coroutine(), coir::use_fiber);
    std::puts(text.c_str());
}

void own_loop()
{
    asio::io_context context; // of a program that has one already
    asio::steady_timer timer{context, 1ms};
    timer.async_wait([](boost::system::error_code) { std::puts("a handler as ever"); });
    coir::run_on(context, [&] {
        asio::steady_timer longer{context, 10ms};
        longer.async_wait(coir::use_fiber);
        std::puts("a fiber beside it");
    });
}

} // namespace

int main()
{
    coir::run([] {
        awaiting();
        failing();
        executors();
        coroutines();
    });
    own_loop();
}
