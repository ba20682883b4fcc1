// SPDX-License-Identifier: BSL-1.0
#include "redis.hpp"

#include <coir/fiber.hpp>

#include <fmt/format.h>

#include <cstring>
#include <new>
#include <string_view>

namespace {

timeval timeval_of(std::chrono::milliseconds time)
{
    const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
    return {.tv_sec = seconds.count(), .tv_usec = std::chrono::microseconds{time - seconds}.count()};
}

[[noreturn]] void lost(const redisContext& context)
{
    coir::this_fiber::check_cancelled(); // hiredis has no words for that
    throw redis_lost{context.errstr};
}

} // namespace

std::string text_of(const redisReply& reply)
{
    return {reply.str, static_cast<std::size_t>(reply.len)};
}

redis_connection::redis_connection(const redis_address& address, std::chrono::milliseconds timeout)
    : context_{redisConnectWithTimeout(address.host.c_str(), address.port, timeval_of(timeout))}
{
    if (!context_)
        throw std::bad_alloc{};
    if (context_->err || redisSetTimeout(context_.get(), timeval_of(timeout)) != REDIS_OK)
        lost(*context_);
    if (address.database != 0)
        command({"SELECT", std::to_string(address.database)});
}

redis_reply redis_connection::command(const std::vector<std::string>& words)
{
    std::vector<const char*> texts;
    std::vector<std::size_t> sizes;
    for (const auto& word : words) {
        texts.push_back(word.data());
        sizes.push_back(word.size());
    }
    redis_reply reply{static_cast<redisReply*>(
        redisCommandArgv(context_.get(), static_cast<int>(words.size()), texts.data(), sizes.data()))};
    if (!reply)
        lost(*context_);
    if (reply->type == REDIS_REPLY_ERROR) {
        const auto text = text_of(*reply);
        if (text.starts_with("LOADING") || text.starts_with("MASTERDOWN") || text.starts_with("READONLY"))
            throw redis_lost{text};
        throw std::runtime_error{fmt::format("Redis: {}: {}", words.front(), text)};
    }
    return reply;
}
