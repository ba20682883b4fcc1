// SPDX-License-Identifier: BSL-1.0
// An ordinary blocking program that knows nothing of coir: processes, pipes, redirection and stdio.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void count_words(int from)
{
    FILE* file = fdopen(from, "r");
    char word[64];
    int count = 0;
    while (fscanf(file, "%63s", word) == 1)
        ++count;
    printf("%d words\n", count);
    fclose(file);
}

static void upper_case(int from, int to)
{
    char bytes[512];
    ssize_t size;
    while ((size = read(from, bytes, sizeof bytes)) > 0) {
        for (ssize_t i = 0; i < size; ++i)
            if (bytes[i] >= 'a' && bytes[i] <= 'z')
                bytes[i] = static_cast<char>(bytes[i] - 'a' + 'A');
        if (write(to, bytes, static_cast<size_t>(size)) != size)
            _exit(1);
    }
    _exit(0);
}

int main()
{
    setvbuf(stdout, nullptr, _IOFBF, 4096);

    // A pipeline of three processes.
    int first[2];
    int second[2];
    if (pipe(first) != 0 || pipe(second) != 0)
        return 1;
    fflush(stdout);
    const pid_t source = fork();
    if (source == 0) {
        dup2(first[1], 1);
        close_range(3, ~0U, 0);
        execlp("sh", "sh", "-c", "for i in 1 2 3 4 5; do echo line $i of five; done", nullptr);
        _exit(127);
    }
    const pid_t filter = fork();
    if (filter == 0) {
        close(first[1]);
        close(second[0]);
        upper_case(first[0], second[1]);
    }
    close(first[0]);
    close(first[1]);
    close(second[1]);
    count_words(second[0]);
    int status = 0;
    waitpid(source, &status, 0);
    printf("source ended with %d\n", WEXITSTATUS(status));
    waitpid(filter, &status, 0);
    printf("filter ended with %d\n", WEXITSTATUS(status));

    // stdio's own processes.
    FILE* child = popen("echo from a child; exit 3", "r");
    char line[128];
    while (fgets(line, sizeof line, child))
        fputs(line, stdout);
    printf("child ended with %d\n", WEXITSTATUS(pclose(child)));
    fflush(stdout);
    printf("system: %d\n", WEXITSTATUS(system("exit 4")));

    // A conversation with a child over a socket, and its end seen by poll.
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        return 1;
    fflush(stdout);
    const pid_t partner = vfork();
    if (partner == 0) {
        dup2(ends[1], 0);
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
        execlp("sh", "sh", "-c", "read a; echo \"you said $a\"", nullptr);
        _exit(127);
    }
    close(ends[1]);
    if (write(ends[0], "hello\n", 6) != 6)
        return 1;
    ssize_t size = read(ends[0], line, sizeof line - 1);
    line[size > 0 ? size : 0] = '\0';
    fputs(line, stdout);
    pollfd item = {ends[0], POLLIN, 0};
    printf("poll %d, hang-up %d\n", poll(&item, 1, -1), (item.revents & POLLHUP) != 0);
    waitpid(partner, &status, 0);
    printf("partner ended with %d\n", WEXITSTATUS(status));
    printf("nobody is left: %d, %s\n", waitpid(-1, &status, 0), strerror(errno));

    // What is written to nobody.
    signal(SIGPIPE, SIG_IGN);
    const ssize_t to_nobody = write(ends[0], "x", 1);
    printf("write %zd, %s\n", to_nobody, strerror(errno));
    DIR* directory = opendir("/proc/self/fd");
    int descriptors = 0;
    while (const dirent* entry = readdir(directory))
        descriptors += entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(directory) && atoi(entry->d_name) > 2;
    closedir(directory);
    printf("%d descriptors of our own\n", descriptors);
    return 0;
}
