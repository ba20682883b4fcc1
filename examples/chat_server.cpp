// SPDX-License-Identifier: BSL-1.0
//
// chat_server [PORT]: what one says, all the others hear. Try it with several `nc 127.0.0.1 PORT`.
#include <coir/channel.hpp>
#include <coir/fiber.hpp>
#include <coir/net/buffered_reader.hpp>
#include <coir/net/serve.hpp>
#include <coir/net/signal.hpp>
#include <coir/runtime.hpp>

#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>

namespace {

using inbox = coir::channel<std::string>;

class room {
public:
    void talk(coir::net::tcp_stream client)
    {
        coir::net::buffered_reader lines{client};
        client.write("your name? ");
        const auto name = lines.read_line(64);
        if (!name)
            return;
        inbox heard{100};
        const member here{*this, heard, *name};
        // One fiber for each direction. This one reads; the other is gone before the stream is.
        coir::fiber writer{[&] {
            while (const auto line = heard.receive())
                client.write(*line + "\n");
        }};
        while (const auto line = lines.read_line())
            say(*name + ": " + *line, &heard);
        writer.cancel();
    }

private:
    struct member {
        room& in;
        inbox& heard;
        std::string name;
        member(room& entered, inbox& hears, std::string called) : in{entered}, heard{hears}, name{std::move(called)}
        {
            in.members_.insert(&heard);
            in.say("* " + name + " is here", &heard);
        }
        member(const member&) = delete;
        member& operator=(const member&) = delete;
        ~member()
        {
            in.members_.erase(&heard);
            in.say("* " + name + " is gone", &heard);
        }
    };

    /// Who does not keep up misses something, rather than keep the others waiting.
    void say(const std::string& line, const inbox* except)
    {
        for (auto* each : members_)
            if (each != except)
                each->try_send(line);
    }

    std::set<inbox*> members_;
};

} // namespace

int main(int count, char** arguments)
{
    const auto port = static_cast<unsigned short>(count > 1 ? std::atoi(arguments[1]) : 0);
    coir::run([&] {
        coir::net::tcp_listener listener{{coir::net::make_address("127.0.0.1"), port}};
        coir::net::stop_on_signal ending;
        std::printf("listening on port %u\n", listener.local_endpoint().port());
        std::fflush(stdout);
        room all;
        coir::net::serve(listener, [&](coir::net::tcp_stream client) { all.talk(std::move(client)); },
                         {.stop = ending.get_token(), .drain = std::chrono::seconds{1}});
    });
}
