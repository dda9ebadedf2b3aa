/* dateunit.h - units of time, for stages that step through dates ($setWindowFields, $densify). In UTC. */
#ifndef QUERY_DATEUNIT_H
#define QUERY_DATEUNIT_H

#include "base/err.h"
#include "base/slice.h"

enum date_unit {
    UNIT_MS,
    UNIT_SECOND,
    UNIT_MINUTE,
    UNIT_HOUR,
    UNIT_DAY,
    UNIT_WEEK,
    UNIT_MONTH,
    UNIT_QUARTER,
    UNIT_YEAR
};

/* "millisecond" ... "year" */
bool date_unit_of(struct slice s, enum date_unit *out);
/* date_unit_ms(): how long it is; 0 when that varies (a month or more). */
int64_t date_unit_ms(enum date_unit u);
/* date_unit_add(): ERR_LOC(5166406) beyond int64. */
RC date_unit_add(int64_t ms, enum date_unit u, int64_t amount, int64_t *out, struct err *e);

#endif
