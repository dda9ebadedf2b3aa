/* cmd_create.h - the arguments of create, and what of them concerns collections of other kinds. */
#ifndef CMD_CMD_CREATE_H
#define CMD_CMD_CREATE_H

#include "cmd_priv.h"

struct create_args {
    struct bval size, max, validator, view_on, pipeline, collation, timeseries, clustered, expire,
        id_index, storage, index_defaults, images, encrypted;
    struct slice level, action;
    bool capped, auto_index_id;
};

/* cmd_create_check_kind(): timeseries, clusteredIndex and expireAfterSeconds are what they may be, alone and with the others. ERR_COMMAND_NOT_SUPPORTED when
 * nothing is wrong with them. */
RC cmd_create_check_kind(const struct create_args *a, struct err *e);
/* cmd_check_validator(): a filter that collections of the namespace can have as theirs; 72 where none can. cmd_check_new_name(): 73 for what no new collection is called. */
RC cmd_check_validator(struct cmd_req *r, const struct cmd_ns *ns, struct bdoc v, struct err *e);
RC cmd_check_new_name(const struct cmd_ns *ns, struct err *e);
/* cmd_images_enabled(): of changeStreamPreAndPostImages; only then it is shown. */
bool cmd_images_enabled(struct bval v);
/* whether it is {_id: 1} */
bool cmd_is_id_pattern(struct bdoc key);

#endif
