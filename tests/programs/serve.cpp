// SPDX-License-Identifier: BSL-1.0
// serve: a thread for each connection, as in a textbook. Prints its port. Answers each line in capitals; to `threads`,
// with how many the kernel has; and ends at `end`.
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <string>
#include <thread>

namespace {

int kernel_threads()
{
    DIR* directory = opendir("/proc/self/task");
    int count = 0;
    while (const auto* entry = readdir(directory))
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

void converse(int connection)
{
    FILE* from = fdopen(connection, "r");
    FILE* to = fdopen(dup(connection), "w");
    char* line = nullptr;
    size_t room = 0;
    for (ssize_t size; (size = getline(&line, &room, from)) > 0;) {
        if (strcmp(line, "end\n") == 0)
            exit(0);
        if (strcmp(line, "threads\n") == 0)
            fprintf(to, "%d\n", kernel_threads());
        else
            std::transform(line, line + size, line, [](unsigned char c) { return static_cast<char>(toupper(c)); });
        if (strcmp(line, "threads\n") != 0)
            fputs(line, to);
        fflush(to);
    }
    free(line);
    fclose(from);
    fclose(to);
}

} // namespace

int main()
{
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener, 4096) != 0 ||
        getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0)
        return 1;
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;)
        if (const int connection = accept(listener, nullptr, nullptr); connection >= 0)
            std::thread{converse, connection}.detach();
}
