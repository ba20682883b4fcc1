// SPDX-License-Identifier: BSL-1.0
#pragma once
// The harness makes a certificate for each run, in a directory of its own.
#include <cstdlib>
#include <string>

namespace bench {

inline std::string file_of_run(const char* name)
{
    const char* const directory = std::getenv("BENCH_DIRECTORY");
    return (directory ? directory : std::string{"."}) + '/' + name;
}

inline std::string certificate_file()
{
    return file_of_run("certificate.pem");
}

inline std::string key_file()
{
    return file_of_run("key.pem");
}

} // namespace bench
