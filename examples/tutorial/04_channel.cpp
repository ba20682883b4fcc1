// SPDX-License-Identifier: BSL-1.0
#include <coir/channel.hpp>
#include <coir/fiber.hpp>
#include <coir/runtime.hpp>

#include <iostream>
#include <string>

int main()
{
    coir::run([] {
        coir::channel<std::string> words{2}; // holds two; a third send waits until there is room
        coir::fiber speaker{[&] {
            for (const char* word : {"fibers", "talk", "through", "channels"})
                words.send(word);
            words.close();
        }};
        for (const auto& word : words) // until it is closed and empty
            std::cout << word << "\n";
    });
}
