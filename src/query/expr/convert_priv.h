/* convert_priv.h - what a conversion is asked for, and the binary side of it. */
#ifndef QUERY_EXPR_CONVERT_PRIV_H
#define QUERY_EXPR_CONVERT_PRIV_H

#include "expr_priv.h"

enum convert_format {
    FORMAT_NONE,
    FORMAT_AUTO,
    FORMAT_BASE64,
    FORMAT_BASE64URL,
    FORMAT_HEX,
    FORMAT_UTF8,
    FORMAT_UUID
};

struct convert_opts {
    int to;          /* enum btype */
    uint8_t subtype; /* of binary data */
    enum convert_format format;
    bool big_endian;
};

RC convert_value(struct arena *a, struct bval v, const struct convert_opts *o, struct bval *out,
                 struct err *e);
RC convert_bin_to_string(struct arena *a, struct bval v, const struct convert_opts *o,
                         struct bval *out, struct err *e);
RC convert_bin_to_number(struct arena *a, struct bval v, const struct convert_opts *o,
                         struct bval *out, struct err *e);
RC convert_to_bin(struct arena *a, struct bval v, const struct convert_opts *o, struct bval *out,
                  struct err *e);
bool text_unhex(struct slice s, uint8_t *out);

#endif
