// SPDX-License-Identifier: BSL-1.0
#pragma once
// Which tools watch this build, as 0 or 1.

#if defined(__SANITIZE_ADDRESS__)
#define COIR_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COIR_ASAN 1
#endif
#endif
#ifndef COIR_ASAN
#define COIR_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__)
#define COIR_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define COIR_TSAN 1
#endif
#endif
#ifndef COIR_TSAN
#define COIR_TSAN 0
#endif

#if COIR_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if COIR_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define COIR_VALGRIND 1
#else
#define COIR_VALGRIND 0
#endif
