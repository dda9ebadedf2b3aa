/* unit.h - what every cmocka test includes. TEST_MAIN(tests) runs an array of struct CMUnitTest. CHECK_RC_OK prints the error. */
#ifndef TEST_UNIT_H
#define TEST_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/err.h"

#define CHECK_RC_OK(call, e)                                                                       \
    do {                                                                                           \
        if ((call).failed)                                                                         \
            fail_msg("%s: code %d: %s (%s:%d)", #call, (int)(e)->code, (e)->msg, (e)->file,        \
                     (e)->line);                                                                   \
    } while (0)
#define CHECK_RC_FAILS(call, e, want)                                                              \
    do {                                                                                           \
        assert_true((call).failed);                                                                \
        if ((int)(e)->code != (int)(want))                                                         \
            fail_msg("%s: code %d instead of %d: %s", #call, (int)(e)->code, (int)(want),          \
                     (e)->msg);                                                                    \
        err_reset(e);                                                                              \
    } while (0)
#define TEST_MAIN(tests)                                                                           \
    int main(void)                                                                                 \
    {                                                                                              \
        return cmocka_run_group_tests((tests), NULL, NULL);                                        \
    }

#endif
