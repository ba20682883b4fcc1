// SPDX-License-Identifier: BSL-1.0
// A program without a dynamic linker.
int main()
{
    return 0;
}
