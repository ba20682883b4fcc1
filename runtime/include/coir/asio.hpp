// SPDX-License-Identifier: BSL-1.0
#pragma once
// Boost.Asio and fibers: all that faces it. Each of these may be included alone.
#include <coir/async_spawn.hpp>    // start a fiber with an Asio completion token: coroutines await it
#include <coir/executor.hpp>       // a hub as an Asio executor: what is posted runs in a fiber
#include <coir/hub_io_context.hpp> // the io_context behind a hub
#include <coir/run_on.hpp>         // fibers on an io_context of yours
#include <coir/use_fiber.hpp>      // await any Asio operation in a fiber
