// Included before every file of an addon for older systems (HEBB_PORTABLE): glibc 2.29 gave these functions a second
// version. They compute the same; the first one also asks whether a program has set a handler of mathematical errors.
#pragma once

#if defined(__CUDA_ARCH__)
#define HEBB_OLD(name) static_assert(true)
#elif defined(__x86_64__)
#define HEBB_OLD(name) __asm__(".symver " #name "," #name "@GLIBC_2.2.5")
#elif defined(__aarch64__)
#define HEBB_OLD(name) __asm__(".symver " #name "," #name "@GLIBC_2.17")
#endif
HEBB_OLD(exp);
HEBB_OLD(exp2);
HEBB_OLD(log);
HEBB_OLD(log2);
HEBB_OLD(pow);
#undef HEBB_OLD
