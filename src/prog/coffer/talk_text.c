/* talk_text.c - an answer as text for people. The same content as JSON has, without its signs.
 *
 *   name: value                      a date as ISO 8601, bytes in hexadecimal
 *   name: none                       an empty list or document
 *   name:                            a nested one, two columns in
 *     member: value
 *   name:                            a list of documents that are alike: a table
 *     generation  files  bytes
 *     1               7  43178
 *   name:                            any other list
 *     - value
 *     - member: value
 *       member: value
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "talk.h"

enum { COLUMNS_MAX = 8, CELL_MAX = 60, WIDTH_MAX = 150, GAP = 2 };

static bool is_nested(struct bval v)
{
    return v.type == BT_DOCUMENT || v.type == BT_ARRAY;
}

static bool is_empty(struct bdoc d)
{
    struct biter it;

    biter_init(&it, d);
    return !biter_next(&it);
}

/* Control characters of ASCII, and those of Latin-1 (c2 80 to c2 9f in UTF-8), which terminals obey as well: U+009B begins what ESC [ begins. */
static bool is_control(struct slice s, size_t i)
{
    if (s.p[i] < ' ' || s.p[i] == 0x7f)
        return true;
    return s.p[i] == 0xc2 && i + 1 < s.len && s.p[i + 1] >= 0x80 && s.p[i + 1] < 0xa0;
}

/* Text that somebody else may have written: nothing in it moves a terminal's cursor or looks like another line. */
static void put_string(struct slice s, struct buf *out)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!is_control(s, i)) {
            buf_push_u8(out, s.p[i]);
            continue;
        }
        i += s.p[i] == 0xc2;
        buf_printf(out, "\\x%02x", s.p[i]);
    }
}

/* The vault's answers are JSON, which has no dates: members of these names are Unix seconds. */
static bool is_seconds(struct slice name, struct bval v)
{
    static const char *const names[] = { "created", "from", "until" };

    for (size_t i = 0; (v.type == BT_INT32 || v.type == BT_INT64) && i < ARRAY_LEN(names); i++)
        if (slice_eq_str(name, names[i]))
            return true;
    return false;
}

static void put_scalar(struct slice name, struct bval v, struct buf *out)
{
    char date[32];
    uint8_t subtype;
    int64_t n;

    if (is_seconds(name, v) && bval_to_i64(v, &n) && n > 0 && n < INT64_MAX / 1000) {
        buf_printf(out, "%s", clock_iso8601(n * 1000, date, sizeof(date)));
        return;
    }
    switch (v.type) {
    case BT_STRING: put_string(bval_str(v), out); break;
    case BT_DATE: buf_printf(out, "%s", clock_iso8601(bval_i64(v), date, sizeof(date))); break;
    case BT_BINARY: hex_encode(bval_bin(v, &subtype), out); break;
    default: bval_to_json(v, out); break;
    }
}

/* ---- tables ---- */

struct table {
    struct slice name[COLUMNS_MAX];
    size_t width[COLUMNS_MAX];
    bool number[COLUMNS_MAX];
    int n;
};

/* Characters, not bytes. */
static size_t width_of(struct slice s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++)
        n += (s.p[i] & 0xc0) != 0x80;
    return n;
}

static void put_cell(struct bdoc row, struct slice name, struct buf *out)
{
    struct biter it;

    biter_init(&it, row);
    while (biter_next(&it))
        if (slice_eq(it.name, name)) {
            put_scalar(name, it.val, out);
            return;
        }
}

static bool add_column(struct table *t, struct slice name, struct bval v)
{
    AUTO(buf_fini) struct buf cell = BUF_INIT;
    int i = 0;

    put_scalar(name, v, &cell);
    while (i < t->n && !slice_eq(t->name[i], name))
        i++;
    if (i == COLUMNS_MAX || width_of(buf_view(&cell)) > CELL_MAX)
        return false;
    if (i == t->n) {
        t->name[t->n] = name;
        t->number[t->n] = true;
        t->width[t->n++] = width_of(name);
    }
    t->number[i] &= bval_is_number(v) && !is_seconds(name, v);
    t->width[i] = MAX(t->width[i], width_of(buf_view(&cell)));
    return true;
}

/* Documents without anything nested, narrow enough to stand side by side. */
static bool is_table(struct bdoc rows, int indent, struct table *t)
{
    struct biter row, cell;
    size_t width = (size_t)indent;

    *t = (struct table){ 0 };
    biter_init(&row, rows);
    while (biter_next(&row)) {
        if (row.val.type != BT_DOCUMENT)
            return false;
        biter_init(&cell, bval_doc(row.val));
        while (biter_next(&cell))
            if (is_nested(cell.val) || !add_column(t, cell.name, cell.val))
                return false;
    }
    for (int i = 0; i < t->n; i++)
        width += t->width[i] + GAP;
    return t->n > 1 && width <= WIDTH_MAX;
}

static void put_column(const struct table *t, int i, struct slice text, struct buf *out)
{
    size_t pad = t->width[i] - MIN(t->width[i], width_of(text));

    if (t->number[i])
        buf_printf(out, "%*s", (int)pad, "");
    buf_push(out, text.p, text.len);
    if (!t->number[i] && i + 1 < t->n)
        buf_printf(out, "%*s", (int)pad, "");
    buf_printf(out, "%s", i + 1 < t->n ? "  " : "\n");
}

static void format_table(struct bdoc rows, const struct table *t, int indent, struct buf *out)
{
    struct biter row;

    buf_printf(out, "%*s", indent, "");
    for (int i = 0; i < t->n; i++)
        put_column(t, i, t->name[i], out);
    biter_init(&row, rows);
    while (biter_next(&row)) {
        buf_printf(out, "%*s", indent, "");
        for (int i = 0; i < t->n; i++) {
            AUTO(buf_fini) struct buf cell = BUF_INIT;
            put_cell(bval_doc(row.val), t->name[i], &cell);
            put_column(t, i, cell.len ? buf_view(&cell) : SLICE_LIT("-"), out);
        }
    }
}

/* ---- the rest ---- */

static void format_array(struct bdoc d, int indent, struct buf *out);

/* dash: the first member stands behind the dash of a list. */
static void format_doc(struct bdoc d, int indent, bool dash, struct buf *out)
{
    struct biter it;

    biter_init(&it, d);
    while (biter_next(&it)) {
        if (dash)
            buf_printf(out, "%*s- ", indent - GAP, "");
        else
            buf_printf(out, "%*s", indent, "");
        dash = false;
        put_string(it.name, out);
        buf_push_u8(out, ':');
        if (!is_nested(it.val)) {
            buf_push_u8(out, ' ');
            put_scalar(it.name, it.val, out);
            buf_push_u8(out, '\n');
        } else if (is_empty(bval_doc(it.val))) {
            buf_printf(out, " none\n");
        } else if (it.val.type == BT_ARRAY) {
            buf_push_u8(out, '\n');
            format_array(bval_doc(it.val), indent + GAP, out);
        } else {
            buf_push_u8(out, '\n');
            format_doc(bval_doc(it.val), indent + GAP, false, out);
        }
    }
}

static void format_array(struct bdoc d, int indent, struct buf *out)
{
    struct table t;
    struct biter it;

    if (is_table(d, indent, &t)) {
        format_table(d, &t, indent, out);
        return;
    }
    biter_init(&it, d);
    while (biter_next(&it)) {
        if (is_nested(it.val) && is_empty(bval_doc(it.val))) {
            buf_printf(out, "%*s- none\n", indent, "");
        } else if (it.val.type == BT_DOCUMENT) {
            format_doc(bval_doc(it.val), indent + GAP, true, out);
        } else if (it.val.type == BT_ARRAY) {
            buf_printf(out, "%*s-\n", indent, "");
            format_array(bval_doc(it.val), indent + GAP, out);
        } else {
            buf_printf(out, "%*s- ", indent, "");
            put_scalar(SLICE_EMPTY, it.val, out);
            buf_push_u8(out, '\n');
        }
    }
}

void talk_text(struct bval v, struct buf *out)
{
    if (is_empty(bval_doc(v)))
        buf_printf(out, v.type == BT_ARRAY ? "none\n" : "done\n");
    else if (v.type == BT_ARRAY)
        format_array(bval_doc(v), 0, out);
    else
        format_doc(bval_doc(v), 0, false, out);
}
