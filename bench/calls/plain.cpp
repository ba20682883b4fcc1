// SPDX-License-Identifier: BSL-1.0
// calls-plain CALL [COUNT]
//
// The same calls from a program that knows nothing of coir and never makes a fiber: natively, and with libcoir-patch
// preloaded.
#include "rows.hpp"

int main(int argc, char** argv)
{
    const auto* row = calls::row_of(argc, argv, 1);
    if (!row)
        return 2;
    (*row)(calls::linked(), bench::argument(argc, argv, 2, 1'000'000));
}
