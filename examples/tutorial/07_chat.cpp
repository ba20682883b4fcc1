// SPDX-License-Identifier: BSL-1.0
#include <coir/channel.hpp>
#include <coir/fiber.hpp>
#include <coir/fiber_group.hpp>
#include <coir/net/tcp_listener.hpp>
#include <coir/runtime.hpp>

#include <cstdlib>
#include <iostream>
#include <set>
#include <string>
#include <utility>

using namespace coir::net;

/// Somebody who is there, and what he has yet to be told.
struct guest {
    tcp_stream peer;
    coir::channel<std::string> lines{100};
};

class room {
public:
    /// Somebody is in the room while this lives, however that ends.
    class stay {
    public:
        stay(room& where, guest& who) : room_{where}, guest_{who} { room_.guests_.insert(&guest_); }
        ~stay() { room_.guests_.erase(&guest_); }

    private:
        room& room_;
        guest& guest_;
    };

    void say(const std::string& line, const guest* speaker)
    {
        error_code ignored;
        for (auto* each : guests_)
            if (each != speaker && !each->lines.is_closed() && !each->lines.try_send(line)) {
                each->lines.close(); // does not listen, and will not keep the others waiting
                each->peer.shutdown(tcp_stream::shutdown_both, ignored);
            }
    }

private:
    std::set<guest*> guests_;
};

/// Without its end; false when the client has gone.
bool read_line(tcp_stream& peer, std::string& buffer, std::string& line)
{
    error_code ec;
    const auto size = peer.read_until(buffer, "\n", 4096, ec);
    if (ec)
        return false;
    line = buffer.substr(0, buffer.find_first_of("\r\n"));
    buffer.erase(0, size);
    return true;
}

void talk(tcp_stream peer, room& others)
{
    guest self{std::move(peer)};
    std::string buffer, name, line;
    error_code ec;
    self.peer.write("your name? ", ec);
    if (!read_line(self.peer, buffer, name))
        return;

    coir::fiber writer{[&] {
        error_code failed;
        for (const auto& each : self.lines) {
            self.peer.write(each, failed);
            if (failed)
                break;
        }
        self.peer.shutdown(tcp_stream::shutdown_both, failed); // whoever reads from it finds its end
    }};

    {
        const room::stay here{others, self};
        others.say("* " + name + " is here\n", &self);
        while (read_line(self.peer, buffer, line))
            others.say(name + ": " + line + "\n", &self);
    }
    others.say("* " + name + " has left\n", &self);
    self.lines.close();
    writer.join();
}

int main(int argc, char** argv)
{
    const auto port = static_cast<unsigned short>(argc > 1 ? std::atoi(argv[1]) : 7000);
    coir::run([&] {
        tcp_listener listener{{make_address("127.0.0.1"), port}};
        std::cout << "listening on " << listener.local_endpoint() << std::endl;
        room everybody;
        coir::fiber_group clients;
        for (;;)
            clients.spawn(talk, listener.accept(), std::ref(everybody));
    });
}
