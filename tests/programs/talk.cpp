// SPDX-License-Identifier: BSL-1.0
// An ordinary blocking program that knows nothing of coir: a server with a thread for each connection, clients that ask
// it in every way there is, and a little of everything else that waits. What it prints does not depend on the order of
// events.
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { clients = 8, rounds = 20, piece = 70000 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t shared = PTHREAD_RWLOCK_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int finished;
static long echoed;
static in_port_t port;

static void fail(const char* what)
{
    perror(what);
    exit(1);
}

static void initialise()
{
    puts("initialised once");
}

static void* serve_connection(void* argument)
{
    const int connection = *static_cast<int*>(argument);
    free(argument);
    char bytes[4096];
    ssize_t size;
    while ((size = read(connection, bytes, sizeof bytes)) > 0) {
        if (write(connection, bytes, static_cast<size_t>(size)) != size)
            fail("write");
        pthread_rwlock_wrlock(&shared);
        echoed += size;
        pthread_rwlock_unlock(&shared);
    }
    close(connection);
    pthread_mutex_lock(&mutex);
    ++finished;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&mutex);
    return nullptr;
}

static void* serve(void* argument)
{
    const int listener = *static_cast<int*>(argument);
    for (int i = 0; i < clients; ++i) {
        int* connection = static_cast<int*>(malloc(sizeof(int)));
        *connection = accept(listener, nullptr, nullptr);
        if (*connection < 0)
            fail("accept");
        pthread_t thread;
        pthread_create(&thread, nullptr, serve_connection, connection);
        pthread_detach(thread);
    }
    return nullptr;
}

static int connect_by_name()
{
    addrinfo hints;
    addrinfo* found;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    char service[16];
    snprintf(service, sizeof service, "%d", ntohs(port));
    if (getaddrinfo("localhost", service, &hints, &found) != 0)
        fail("getaddrinfo");
    const int descriptor = socket(found->ai_family, found->ai_socktype, found->ai_protocol);
    if (connect(descriptor, found->ai_addr, found->ai_addrlen) != 0)
        fail("connect");
    const int at_once = 1;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    freeaddrinfo(found);
    return descriptor;
}

static void wait_readable(int descriptor, int number)
{
    pollfd item = {descriptor, POLLIN, 0};
    fd_set set;
    timeval time = {60, 0};
    switch (number % 4) {
    case 0: return; // read waits itself
    case 1:
        if (poll(&item, 1, 60000) != 1)
            fail("poll");
        return;
    case 2:
        FD_ZERO(&set);
        FD_SET(descriptor, &set);
        if (select(descriptor + 1, &set, nullptr, nullptr, &time) != 1)
            fail("select");
        return;
    default:
        const int epoll = epoll_create1(0);
        epoll_event event;
        memset(&event, 0, sizeof event);
        event.events = EPOLLIN;
        epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event);
        if (epoll_wait(epoll, &event, 1, 60000) != 1)
            fail("epoll_wait");
        close(epoll);
    }
}

static void* ask(void* argument)
{
    const int number = *static_cast<int*>(argument);
    pthread_once(&once, initialise);
    const int descriptor = connect_by_name();
    static char sent[piece];
    char* received = static_cast<char*>(malloc(piece));
    for (int round = 0; round < rounds; ++round) {
        for (size_t done = 0; done < piece;) {
            const size_t part = piece - done < 8192 ? piece - done : 8192;
            if (send(descriptor, sent + done, part, 0) != static_cast<ssize_t>(part))
                fail("send");
            wait_readable(descriptor, number);
            if (recv(descriptor, received + done, part, MSG_WAITALL) != static_cast<ssize_t>(part))
                fail("recv");
            done += part;
        }
        if (memcmp(sent, received, piece) != 0)
            puts("different");
    }
    free(received);
    close(descriptor);
    return nullptr;
}

static void try_to_accept(int listener)
{
    const int result = accept(listener, nullptr, nullptr);
    printf("accept %d, %s\n", result, strerror(errno));
}

int main()
{
    printf("errno is %d at the start\n", errno);
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener, clients) != 0)
        fail("listen");
    getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
    const int at_once = 1; // connections take it over
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    port = address.sin_port;

    pthread_t server;
    int argument = listener;
    pthread_create(&server, nullptr, serve, &argument);
    pthread_t threads[clients];
    int numbers[clients];
    for (int i = 0; i < clients; ++i) {
        numbers[i] = i;
        pthread_create(&threads[i], nullptr, ask, &numbers[i]);
    }
    for (int i = 0; i < clients; ++i)
        pthread_join(threads[i], nullptr);
    pthread_join(server, nullptr);

    pthread_mutex_lock(&mutex);
    while (finished < clients)
        pthread_cond_wait(&changed, &mutex);
    timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    const int result = pthread_cond_timedwait(&changed, &mutex, &time);
    pthread_mutex_unlock(&mutex);
    printf("%d connections, %ld bytes, %s\n", finished, echoed, result == ETIMEDOUT ? "timed out" : "?");

    const timespec little = {0, 1000000};
    printf("nanosleep %d, usleep %d, sleep %u\n", nanosleep(&little, nullptr), usleep(1000), sleep(0));
    const timeval limit = {0, 20000};
    setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    try_to_accept(listener);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    try_to_accept(listener);
    close(listener);
    try_to_accept(listener);
    return 0;
}
