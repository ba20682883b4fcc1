// SPDX-License-Identifier: BSL-1.0
#pragma once
#include "options.hpp"
#include "redis.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

/// Waits between tries: twice as long each time, but never twice the same, lest all workers come back at once.
class back_off {
public:
    explicit back_off(std::chrono::milliseconds patience) : until_{std::chrono::steady_clock::now() + patience} {}

    /// False when it is enough.
    bool wait()
    {
        if (std::chrono::steady_clock::now() >= until_)
            return false;
        thread_local std::minstd_rand random{std::random_device{}()};
        std::this_thread::sleep_for(pause_ / 2 + pause_ * std::uniform_real_distribution{0.0, 0.5}(random));
        pause_ = std::min(pause_ * 2, most);
        return true;
    }

private:
    static constexpr std::chrono::duration<double> most = std::chrono::seconds{1};
    std::chrono::steady_clock::time_point until_;
    std::chrono::duration<double> pause_ = std::chrono::milliseconds{20};
};

/// Connections to Redis, as many as there are questions at a time.
class redis_pool {
public:
    /// Opens the first. At the beginning there is no patience: it may be a wrong address. Throws redis_lost.
    redis_pool(redis_address address, std::chrono::milliseconds patience)
        : address_{std::move(address)}, patience_{patience}
    {
        idle_.emplace_back(address_, answer_time);
    }

    /// Calls `question` with a connection of its own; again, with another one, while Redis is gone.
    template <class Question> auto ask(Question&& question)
    {
        std::optional<back_off> pause; // from the first failure on
        for (;;) {
            try {
                auto connection = take_connection();
                auto answer = question(connection);
                idle_.push_back(std::move(connection));
                return answer;
            } catch (const redis_lost& error) {
                idle_.clear(); // they are of the same age
                if (!pause)
                    pause.emplace(patience_);
                if (!pause->wait())
                    throw std::runtime_error{fmt::format("Redis: {}", error.what())};
            }
        }
    }

    /// Calls `question` with a connection, once.
    template <class Question> void ask_once(Question&& question)
    {
        auto connection = take_connection();
        question(connection);
        idle_.push_back(std::move(connection));
    }

private:
    static constexpr std::chrono::milliseconds answer_time{5000};

    redis_connection take_connection()
    {
        if (idle_.empty())
            return redis_connection{address_, answer_time};
        auto connection = std::move(idle_.back());
        idle_.pop_back();
        return connection;
    }

    const redis_address address_;
    const std::chrono::milliseconds patience_;
    std::vector<redis_connection> idle_;
};
