/* keyops.c - see keyops.h. */
#include "keyops.h"

#include "base/mem.h"

static void show_version(const char *version, int64_t since_s, void *arg)
{
    struct bw *w = arg;

    bw_doc_begin(w, NULL);
    bw_str(w, "version", version);
    bw_date(w, "since", since_s * 1000);
    bw_doc_end(w);
}

/* Every generation with the versions of the key that ever wrapped it, oldest first: an old copy of the envelope, and nothing else, still needs one of
 * those before the last. */
static void show_generations(struct custody *k, const struct custody_status *st, struct bw *w)
{
    bw_array_begin(w, "generations");
    for (size_t i = 0; i < st->n; i++) {
        const struct generation_status *g = &st->row[i];

        bw_doc_begin(w, NULL);
        bw_i32(w, "generation", (int32_t)g->gen);
        bw_bool(w, "current", g->gen == st->current);
        bw_str(w, "state", gen_state_name(g->state));
        bw_bool(w, "exposed", g->exposed);
        bw_str(w, "version", g->version);
        bw_array_begin(w, "wrappedBy");
        custody_versions(k, g->gen, show_version, w);
        bw_array_end(w);
        bw_doc_end(w);
    }
    bw_array_end(w);
}

static void show_key(struct process *p, const struct custody_status *st, struct bw *w)
{
    bw_doc_begin(w, "key");
    if (p->mode == KEY_MODE_CMK) {
        bw_str(w, "url", settings_str(p->set, SET_KEY_URL));
        bw_str(w, "clientId", settings_str(p->set, SET_CLIENT_ID));
    }
    if (st) {
        bw_str(w, "version", st->version);
        bw_str(w, "alg", st->alg);
        bw_date(w, "wrapped", st->wrapped_s * 1000);
    }
    bw_doc_end(w);
}

RC keyops_show(void *ctx, struct bdoc args, struct bw *w, struct err *e)
{
    struct status_source *s = &((struct ops_ctx *)ctx)->source;
    AUTO(mem_freep) struct custody_status *st = s->custody ? NEW(struct custody_status) : NULL;

    (void)args;
    (void)e;
    if (st)
        custody_status(s->custody, st);
    bw_str(w, "cluster", settings_str(s->process->set, SET_CLUSTER_NAME));
    bw_str(w, "mode", key_mode_name(s->process->mode));
    show_key(s->process, st, w);
    if (s->loop)
        keyloop_status(s->loop, w);
    else
        bw_str(w, "state", key_state_name(KEY_READY));
    if (st) {
        bw_str(w, "rotation", rotation_state_name(st->rotation));
        bw_bool(w, "degraded", st->degraded);
        show_generations(s->custody, st, w);
    }
    return RC_OK;
}
