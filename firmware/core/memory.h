/** The four functions a C compiler may call by itself; there is no libc underneath. Semantics of the C standard. */
#ifndef SL_MEMORY_H
#define SL_MEMORY_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *one, const void *other, size_t size);

#endif
