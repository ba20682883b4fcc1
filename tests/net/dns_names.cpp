// SPDX-License-Identifier: BSL-1.0
//
// dns_names: what coir::net::resolver says of the names that the name server of dns_test knows, with twenty fibers that
// ask for each at the same time.
#include <coir/deadline.hpp>
#include <coir/fiber_group.hpp>
#include <coir/net/resolver.hpp>
#include <coir/runtime.hpp>

#include <cstdio>
#include <set>
#include <string>

namespace {

std::string answer_of(coir::net::resolver& names, const std::string& host)
{
    boost::system::error_code ec;
    const auto found =
        names.resolve({.host = host, .service = "80", .flags = boost::asio::ip::resolver_base::canonical_name}, ec);
    std::string text = ec.failed() ? ec.message() : found.canonical_name;
    for (const auto& each : found.endpoints)
        text += " " + each.address().to_string();
    return text;
}

} // namespace

int main()
{
    coir::run([] {
        coir::net::resolver names;
        for (const std::string host : {"both", "both.test.example", "alias.test.example", "nothing.test.example"}) {
            std::set<std::string> answers;
            coir::fiber_group asking;
            for (int i = 0; i < 20; ++i)
                asking.spawn([&] { answers.insert(answer_of(names, host)); });
            asking.join();
            for (const auto& each : answers)
                std::printf("%s: %s\n", host.c_str(), each.c_str());
        }
        std::printf("192.0.2.7: %s\n", names.names_of({boost::asio::ip::make_address("192.0.2.7"), 80}).host.c_str());
    });
}
