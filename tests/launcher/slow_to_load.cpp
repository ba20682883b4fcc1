// SPDX-License-Identifier: BSL-1.0
// A library whose constructor waits.
#include <unistd.h>

[[gnu::constructor]] static void wait()
{
    sleep(3600);
}
