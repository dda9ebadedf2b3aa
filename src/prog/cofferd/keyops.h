/* keyops.h - the administrative operations on this cluster's keys, for the table in ops.c. */
#ifndef COFFERD_KEYOPS_H
#define COFFERD_KEYOPS_H

#include "ops.h"

/* The fields of a key's configuration are called as the settings are ("key-url"); what is not given stays as it is. */
/* keyShow: {cluster, mode, configuration, key {version, alg, wrapped}, state, nextProbe, gracePeriod, generations, and what needs.h lists}. Also while sealed, with
 * what the files and the prober know. */
RC keyops_show(void *ctx, struct bdoc args, struct bw *w, struct err *e);
/* keyCheck: {usable, rules: [{rule, verdict, found}]}. */
RC keyops_check(void *ctx, struct bdoc args, struct bw *w, struct err *e);
/* keySet, keySwitch, keyFollow: {mode, version, generation, envelope} of what is in force now. */
RC keyops_set(void *ctx, struct bdoc args, struct bw *w, struct err *e);
RC keyops_switch(void *ctx, struct bdoc args, struct bw *w, struct err *e);
RC keyops_follow(void *ctx, struct bdoc args, struct bw *w, struct err *e);

#endif
