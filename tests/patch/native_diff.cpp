// SPDX-License-Identifier: BSL-1.0
#include "native_diff.hpp"

#include <coir/inspect.hpp>
#include <coir/runtime.hpp>

#include <doctest/doctest.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <system_error>

namespace {

/// R, S, ...: as in /proc/PID/stat.
char state_of_thread(pid_t thread)
{
    std::ifstream file{"/proc/self/task/" + std::to_string(thread) + "/stat"};
    std::string text;
    std::getline(file, text);
    const auto name_end = text.rfind(')');
    return name_end == std::string::npos || name_end + 2 >= text.size() ? '?' : text[name_end + 2];
}

std::string name_of_thread(const char* thread)
{
    std::string name;
    std::getline(std::ifstream{"/proc/self/task/" + std::string{thread} + "/comm"}, name);
    return name;
}

bool waits(coir::fiber_id fiber)
{
    return std::ranges::any_of(coir::fibers(), [&](const coir::fiber_info& info) {
        return info.id == fiber && info.doing == coir::fiber_info::state::waiting;
    });
}

struct result {
    std::string transcript;
    std::string flags;
};

/// The lines that differ, by number.
std::string differences(const std::string& native, const std::string& fiber)
{
    std::istringstream all_native{native};
    std::istringstream all_fiber{fiber};
    std::ostringstream text;
    for (int number = 1;; ++number) {
        std::string one = "(nothing)";
        std::string other = one;
        const bool more = static_cast<bool>(std::getline(all_native, one));
        if (!std::getline(all_fiber, other) && !more)
            return text.str();
        if (one != other)
            text << "line " << number << ": " << one << "\n    in a fiber: " << other << '\n';
    }
}

result run_native(const std::function<void(stage&)>& body)
{
    result found;
    std::exception_ptr failure;
    std::thread{[&] {
        try {
            stage on{false};
            body(on);
            found = {on.transcript(), on.flags()};
        } catch (...) {
            failure = std::current_exception();
        }
    }}.join();
    if (failure)
        std::rethrow_exception(failure);
    return found;
}

result run_in_fiber(const std::function<void(stage&)>& body)
{
    result found;
    std::exception_ptr failure;
    std::thread{[&] {
        try {
            coir::run([&] {
                stage on{true};
                body(on);
                found = {on.transcript(), on.flags()};
            });
        } catch (...) {
            failure = std::current_exception();
        }
    }}.join();
    if (failure)
        std::rethrow_exception(failure);
    return found;
}

} // namespace

void preparation_failed()
{
    throw std::system_error{errno, std::generic_category(), "preparing the test"};
}

// ---- companion ------------------------------------------------------------------------------------------------------

companion::companion(bool as_fiber, std::function<void()> work) : state_{std::make_unique<state>()}
{
    auto guarded = [mine = state_.get(), todo = std::move(work)] {
        mine->self.thread = static_cast<pid_t>(::syscall(SYS_gettid));
        try {
            todo();
        } catch (...) {
            mine->failure = std::current_exception();
        }
    };
    if (as_fiber) {
        auto& fiber = runs_.emplace<coir::fiber>(coir::fiber_options{.name = "companion"}, std::move(guarded));
        state_->self.fiber = fiber.get_id();
    } else {
        runs_.emplace<std::thread>(std::move(guarded));
    }
}

companion::~companion()
{
    if (state_)
        wait_for_end();
}

void companion::wait_for_end() noexcept
{
    if (auto* thread = std::get_if<std::thread>(&runs_))
        thread->join();
    else if (auto* fiber = std::get_if<coir::fiber>(&runs_))
        fiber->join();
    runs_.emplace<std::monostate>();
}

void companion::join()
{
    wait_for_end();
    if (state_->failure)
        std::rethrow_exception(std::exchange(state_->failure, nullptr));
}

void companion::cancel() noexcept
{
    std::get<coir::fiber>(runs_).cancel();
}

// ---- stage ----------------------------------------------------------------------------------------------------------

stage::stage(bool in_fiber) : in_fiber_{in_fiber}
{
    self_.thread = static_cast<pid_t>(::syscall(SYS_gettid));
    self_.fiber = coir::this_fiber::get_id();
}

stage::~stage()
{
    for (const auto& each : descriptors_)
        ::close(each.descriptor);
}

void stage::add_line(std::string line)
{
    const std::lock_guard held{mutex_};
    lines_.push_back(std::move(line));
}

int stage::own(int descriptor)
{
    must(descriptor);
    const std::lock_guard held{mutex_};
    descriptors_.push_back({descriptor, ::fcntl(descriptor, F_GETFL)});
    return descriptor;
}

void stage::disown(int descriptor)
{
    const std::lock_guard held{mutex_};
    std::erase_if(descriptors_, [&](const owned& each) { return each.descriptor == descriptor; });
}

void stage::close(int descriptor)
{
    disown(descriptor);
    must(::close(descriptor));
}

void stage::until_waiting(const actor& who) const
{
    // Once is not enough. A thread that is on its way may sleep for a moment for other reasons, and either is still
    // asleep while what it waits for has been sent and not been delivered yet.
    constexpr int looks = 5;
    for (int asleep = 0; asleep < looks;) {
        bool waiting = false;
        if (in_fiber_) {
            coir::this_fiber::sleep_for(std::chrono::milliseconds{1});
            waiting = waits(who.fiber);
        } else {
            std::this_thread::sleep_for(std::chrono::milliseconds{1});
            waiting = who.thread != 0 && state_of_thread(who.thread) == 'S';
        }
        asleep = waiting ? asleep + 1 : 0;
    }
}

void stage::until(const std::atomic<bool>& said) const
{
    while (!said)
        in_fiber_ ? coir::this_fiber::sleep_for(std::chrono::milliseconds{1})
                  : std::this_thread::sleep_for(std::chrono::milliseconds{1});
}

std::string stage::transcript() const
{
    const std::lock_guard held{mutex_};
    std::string text;
    for (const auto& line : lines_)
        text += line + '\n';
    return text;
}

std::string stage::flags() const
{
    const std::lock_guard held{mutex_};
    std::ostringstream text;
    for (std::size_t i = 0; i < descriptors_.size(); ++i)
        text << "descriptor " << i << ": flags " << std::oct << descriptors_[i].flags << ", at the end "
             << ::fcntl(descriptors_[i].descriptor, F_GETFL) << '\n';
    return text.str();
}

std::string stage::error_name(int error)
{
    if (error == 0)
        return "0";
    const char* name = ::strerrorname_np(error);
    return name ? name : std::to_string(error);
}

std::string stage::outcome(long result, int error)
{
    if (result == -1)
        return "-1 " + error_name(error);
    return std::to_string(result) + (error == untouched ? "" : ", and errno is " + error_name(error));
}

// ---- both -----------------------------------------------------------------------------------------------------------

std::string native_diff(const std::function<void(stage&)>& body)
{
    const auto native = run_native(body);
    const auto fiber = run_in_fiber(body);
    INFO(differences(native.transcript + native.flags, fiber.transcript + fiber.flags));
    const bool equal = fiber.transcript == native.transcript && fiber.flags == native.flags;
    CHECK(equal);
    return native.transcript;
}

std::string in_fiber(const std::function<void(stage&)>& body)
{
    return run_in_fiber(body).transcript;
}

std::size_t threads_of_process()
{
    std::size_t count = 0;
    DIR* directory = ::opendir("/proc/self/task");
    while (const dirent* entry = ::readdir(directory)) {
        const auto name = name_of_thread(entry->d_name);
        if (entry->d_name[0] != '.' && name != "coir-offload" && name != "coir-audit")
            ++count;
    }
    ::closedir(directory);
    return count;
}
