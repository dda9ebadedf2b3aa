/* cmd_error.c - an error as the document that drivers read (compatibility 5). */
#include "cmd_priv.h"

/* info is an encoded document: its fields are added to the error (keyPattern, keyValue, errInfo). */
static void put_info(const struct err *e, struct bw *w)
{
    if (e->info)
        bw_fields(w, (struct bdoc){ .p = e->info, .len = get_le32(e->info) });
}

static void put_labels(const struct err *e, struct bw *w)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } labels[] = {
        { ERR_LABEL_TRANSIENT_TXN, "TransientTransactionError" },
        { ERR_LABEL_UNKNOWN_COMMIT, "UnknownTransactionCommitResult" },
        { ERR_LABEL_RETRYABLE_WRITE, "RetryableWriteError" },
        { ERR_LABEL_NO_WRITES_PERFORMED, "NoWritesPerformed" },
    };

    if (!e->labels)
        return;
    bw_array_begin(w, "errorLabels");
    for (size_t i = 0; i < ARRAY_LEN(labels); i++)
        if (e->labels & labels[i].bit)
            bw_str(w, NULL, labels[i].name);
    bw_array_end(w);
}

void cmd_write_error(const struct err *e, struct bw *w)
{
    char name[32];

    bw_double(w, "ok", 0.0);
    bw_str(w, "errmsg", e->msg);
    bw_i32(w, "code", (int32_t)e->code);
    bw_str(w, "codeName", err_code_name(e->code, name, sizeof(name)));
    put_labels(e, w);
    put_info(e, w);
}

void cmd_write_error_fields(const struct err *e, struct bw *w)
{
    bw_i32(w, "code", (int32_t)e->code);
    put_info(e, w);
    bw_str(w, "errmsg", e->msg);
}
