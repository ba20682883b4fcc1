// SPDX-License-Identifier: BSL-1.0
//
// 03_two_pages URL...: fetches pages at the same time, with libcurl as Debian has it.
#include <coir/fiber_group.hpp>
#include <coir/patch.hpp>
#include <coir/runtime.hpp>

#include <curl/curl.h>

#include <iostream>
#include <string>
#include <vector>

std::size_t append(const char* data, std::size_t, std::size_t size, void* page)
{
    static_cast<std::string*>(page)->append(data, size);
    return size;
}

void fetch(const char* url)
{
    std::string page;
    CURL* curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &page);
    const CURLcode code = curl_easy_perform(curl); // blocks, as ever; here that suspends the fiber
    if (code == CURLE_OK)
        std::cout << url << ": " << page.size() << " bytes\n";
    else
        std::cout << url << ": " << curl_easy_strerror(code) << "\n";
    curl_easy_cleanup(curl);
}

int main(int argc, char** argv)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    coir::run([&] {
        coir::fiber_group pages;
        for (const char* url : std::vector(argv + 1, argv + argc))
            pages.spawn([url] { fetch(url); });
        pages.join();
    });
    curl_global_cleanup();
}
