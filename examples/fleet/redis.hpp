// SPDX-License-Identifier: BSL-1.0
#pragma once
// hiredis as it is: blocking calls, each of which suspends its fiber.
#include "options.hpp"

#include <hiredis/hiredis.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

/// There is no connection, or it broke: worth another try.
class redis_lost : public std::runtime_error {
public:
    using runtime_error::runtime_error;
};

struct reply_cleanup {
    void operator()(redisReply* reply) const noexcept { freeReplyObject(reply); }
};
using redis_reply = std::unique_ptr<redisReply, reply_cleanup>;

std::string text_of(const redisReply& reply);

class redis_connection {
public:
    /// Throws redis_lost.
    redis_connection(const redis_address& address, std::chrono::milliseconds timeout);

    /// Throws redis_lost, and std::runtime_error with what Redis says is wrong.
    redis_reply command(const std::vector<std::string>& words);

private:
    struct cleanup {
        void operator()(redisContext* context) const noexcept { redisFree(context); }
    };
    std::unique_ptr<redisContext, cleanup> context_;
};
