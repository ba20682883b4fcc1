// SPDX-License-Identifier: BSL-1.0
#pragma once
// OpenSSL between two buffers in memory, and a stream below:
//
//      plain  -->  SSL_write  -->  out --flush--> |  stream below  |
//      plain  <--  SSL_read   <--  in  <-receive- |                |
//
// An SSL object is for one caller at a time, and so is each direction of the stream below:
//
//     engine      one call of OpenSSL's; nobody waits for a peer while he holds it
//     receiving   who reads from below. Others who want more input wait for it, and look again
//     sending     who writes to below. Who only reads does not wait for it: see `flush_if_free`
//     shaking     who is at the handshake
//
// So a fiber that waits for input stops nobody from writing, and the other way round.
//
// OpenSSL's queue of errors is the thread's. Nothing suspends between a call and the look at its errors, unless the
// patch is there, which makes OpenSSL's own locks suspend; but then each fiber has a queue of its own.
#include "tls_context_state.hpp"

#include <coir/deadline.hpp>
#include <coir/mutex.hpp>
#include <coir/net/tls_stream.hpp>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace coir::net {

struct tls_stream::state {
    state(std::unique_ptr<tls_transport> stream, std::shared_ptr<tls_context::state> common,
          const tls_options& options);

    state(const state&) = delete;
    state& operator=(const state&) = delete;
    ~state()
    {
        // Otherwise a session whose connection has ended without a goodbye could not be resumed. That was a rule of
        // TLS 1.0 (RFC 5246, 7.2.1).
        if (established)
            SSL_set_shutdown(ssl.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    }

    /// What a call of OpenSSL's has come to.
    struct step {
        int error;              ///< SSL_get_error's
        error_code failure;     ///< for SSL_ERROR_SSL and SSL_ERROR_SYSCALL
        std::uint64_t arrivals; ///< before it
    };
    template <class Call> step call(Call&& work);
    std::unique_lock<mutex> lock_engine()
    {
        const shield uninterrupted; // nobody waits for long, and something may have been received that must not be lost
        return std::unique_lock{engine};
    }

    void handshake(error_code& ec);
    std::size_t read(std::span<const iovec> into, error_code& ec);
    std::size_t write(std::span<const iovec> from, error_code& ec);
    void shutdown_send(error_code& ec);
    void shutdown(error_code& ec);

    void flush(error_code& ec);
    void flush_if_free(error_code& ec);
    void receive(std::uint64_t seen, error_code& ec);

    const std::unique_ptr<tls_transport> below;
    const std::shared_ptr<tls_context::state> context;
    std::string session_key;
    openssl_ptr<SSL> ssl;
    BIO* in = nullptr;  ///< the SSL's
    BIO* out = nullptr; ///< the SSL's

    mutable mutex engine;
    mutex receiving;
    mutex sending;
    mutex shaking;

    bool established = false;
    error_code final_failure; ///< of the handshake
    std::optional<failed_certificate> bad_certificate;

    std::uint64_t arrivals = 0;      ///< counts what has been put into `in`; for who holds `engine`
    std::vector<std::byte> received; ///< for who holds `receiving`
    std::vector<std::byte> leaving;  ///< for who holds `sending`: has been taken out of `out`
    std::size_t left = 0;            ///< so much of it has left

private:
    void drain(error_code& ec);
    bool has_output() const { return BIO_ctrl_pending(out) > 0; }
    void resume_session();
    error_code failure_of(const step& failed) const;
};

} // namespace coir::net
