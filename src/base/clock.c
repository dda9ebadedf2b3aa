/* clock.c - time. */
#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/err.h"

static uint64_t read_us(clockid_t id)
{
    struct timespec t;
    INVARIANT(clock_gettime(id, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

uint64_t clock_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

uint64_t clock_boot_us(void)
{
    return read_us(CLOCK_BOOTTIME);
}

int64_t clock_real_ms(void)
{
    return (int64_t)(read_us(CLOCK_REALTIME) / 1000u);
}

int64_t clock_real_s(void)
{
    return clock_real_ms() / 1000;
}

uint64_t clock_thread_cpu_us(void)
{
    return read_us(CLOCK_THREAD_CPUTIME_ID);
}

char *clock_iso8601(int64_t real_ms, char *buf, size_t len)
{
    int64_t ms = real_ms % 1000, s = real_ms / 1000;
    if (ms < 0) {
        ms += 1000;
        s -= 1;
    }
    struct tm tm;
    time_t t = (time_t)s;
    if (!gmtime_r(&t, &tm)) {
        snprintf(buf, len, "%lldms", (long long)real_ms);
        return buf;
    }
    snprintf(buf, len, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
             tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)ms);
    return buf;
}

void clock_sleep_us(uint64_t us)
{
    struct timespec t = { .tv_sec = (time_t)(us / 1000000u),
                          .tv_nsec = (long)(us % 1000000u) * 1000 };
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &t) == EINTR) {
    }
}
