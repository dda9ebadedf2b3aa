/* cmd_top.c - top: how often each collection was used since the node opened it, for what, and how long that took (compatibility 20). */
#include "cmd_priv.h"

struct sum {
    int64_t n, us;
};

static void put_event(struct bw *w, const char *name, struct sum s)
{
    bw_doc_begin(w, name);
    bw_i64(w, "time", s.us);
    bw_i64(w, "count", s.n);
    bw_doc_end(w);
}

static void add(struct sum *to, struct sum s)
{
    to->n += s.n;
    to->us += s.us;
}

static void put_collection(const struct catalog_named *c, struct bw *w)
{
    static const char *const names[CATALOG_TOP_NR] = { "queries", "getmore", "insert",
                                                       "update",  "remove",  "commands" };
    struct sum v[CATALOG_TOP_NR], total = { 0 }, read = { 0 }, write = { 0 };

    for (int i = 0; i < CATALOG_TOP_NR; i++) {
        v[i] = (struct sum){ .n = atomic_load(&c->x->usage.top[i].n),
                             .us = atomic_load(&c->x->usage.top[i].us) };
        add(&total, v[i]);
        if (i == TOP_INSERT || i == TOP_UPDATE || i == TOP_REMOVE)
            add(&write, v[i]);
        else
            add(&read, v[i]);
    }
    bw_doc_begin(w, c->ns);
    put_event(w, "total", total);
    put_event(w, "readLock", read);
    put_event(w, "writeLock", write);
    for (int i = 0; i < CATALOG_TOP_NR; i++)
        put_event(w, names[i], v[i]);
    bw_doc_end(w);
}

RC cmd__top(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct catalog_list l;

    (void)e;
    catalog_list(r->node->catalog, SLICE_EMPTY, &l);
    bw_doc_begin(w, "totals");
    bw_str(w, "note", "all times in microseconds");
    for (int i = 0; i < l.n; i++)
        put_collection(&l.v[i], w);
    bw_doc_end(w);
    catalog_list_free(&l);
    return RC_OK;
}
