/* clock.h - time. Deadlines are monotonic microseconds; intervals that must survive suspend use boot time.
 *
 * Tests of machines pass time as an argument; nothing below keeps state, so there is nothing to fake. [any thread]
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

uint64_t clock_mono_us(void); /* CLOCK_MONOTONIC */
uint64_t clock_boot_us(void); /* CLOCK_BOOTTIME: counts suspended time */
int64_t clock_real_ms(void);  /* Unix time in milliseconds */
int64_t clock_real_s(void);
uint64_t clock_thread_cpu_us(void);
/* clock_iso8601(): "2026-11-24T03:37:34.123Z" to buf of at least 32 bytes; returns buf. */
char *clock_iso8601(int64_t real_ms, char *buf, size_t len);
/* clock_sleep_us(): sleeps through signals. */
void clock_sleep_us(uint64_t us);

#endif
