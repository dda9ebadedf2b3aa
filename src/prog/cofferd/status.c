/* status.c - see status.h. */
#include "status.h"

#include "base/mem.h"
#include "crypto/aead.h"
#include "outside.h"
#include "rotator.h"
#include "store/store.h"

enum { CENSUS_MAX = CUSTODY_GEN_MAX };

static void write_custody(const struct status_source *s, struct bw *w)
{
    struct custody_status *st = NEW(struct custody_status);
    custody_status(s->custody, st);
    bw_doc_begin(w, "key");
    if (st->mode == KEY_MODE_CMK) {
        struct keyconf conf;
        process_conf(s->process, &conf);
        bw_str(w, "url", conf.value[KEYCONF_KEY_URL]);
        keyconf_fini(&conf);
    }
    bw_str(w, "version", st->version);
    bw_str(w, "alg", st->alg);
    bw_date(w, "wrapped", st->wrapped_s * 1000);
    bw_doc_end(w);
    bw_doc_begin(w, "envelope");
    bw_i64(w, "sequence", (int64_t)st->sequence);
    bw_bin(w, "lineage", 0, SLICE(st->lineage, LINEAGE_LEN));
    bw_str(w, "rotation", rotation_state_name(st->rotation));
    bw_bool(w, "degraded", st->degraded);
    bw_doc_end(w);
    bw_i32(w, "currentGeneration", (int32_t)st->current);
    bw_array_begin(w, "generations");
    for (size_t i = 0; i < st->n; i++) {
        const struct generation_status *g = &st->row[i];
        bw_doc_begin(w, NULL);
        bw_i32(w, "generation", (int32_t)g->gen);
        bw_str(w, "state", gen_state_name(g->state));
        bw_bool(w, "exposed", g->exposed);
        bw_date(w, "created", g->created_s * 1000);
        bw_str(w, "keyVersion", g->version);
        bw_i32(w, "keyVersions", (int32_t)g->n_versions);
        bw_doc_end(w);
    }
    bw_array_end(w);
    mem_free(st);
}

static void write_census(struct store *store, struct bw *w)
{
    struct store_census_row rows[CENSUS_MAX];
    struct err e = { 0 };
    int n = 0;
    if (store_census(store, rows, CENSUS_MAX, &n, &e).failed) {
        bw_str(w, "censusError", e.msg);
        return;
    }
    bw_array_begin(w, "census");
    for (int i = 0; i < n; i++) {
        bw_doc_begin(w, NULL);
        bw_i32(w, "generation", (int32_t)rows[i].gen);
        bw_i64(w, "files", (int64_t)rows[i].n_files);
        bw_i64(w, "bytes", (int64_t)rows[i].bytes);
        bw_doc_end(w);
    }
    bw_array_end(w);
}

void status_write(const struct status_source *s, struct bw *w)
{
    bw_str(w, "version", COFFER_VERSION);
    bw_str(w, "cluster", settings_str(s->process->set, SET_CLUSTER_NAME));
    bw_str(w, "mode", key_mode_name(process_mode(s->process)));
    bw_str(w, "algorithm", "AES-256-GCM");
    bw_str(w, "engine", crypto_engine());
    if (keyloop_is_active(s->loop) || !s->custody) {
        keyloop_status(s->loop, w);
        /* Decided, but the image with the keys is still there; the next one does not say so any more. */
        if (s->custody && !keyloop_is_ready(s->loop))
            bw_bool(w, "sealing", true);
    } else {
        bw_str(w, "state", key_state_name(KEY_READY));
    }
    if (s->custody)
        write_custody(s, w);
    if (s->store)
        write_census(s->store, w);
    outside_status(s->outside, w);
    if (s->rotator) {
        bw_doc_begin(w, "smkRotation");
        rotator_status(s->rotator, w);
        bw_doc_end(w);
    }
}
