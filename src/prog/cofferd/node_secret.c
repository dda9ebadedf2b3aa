/* node_secret.c - see node_secret.h. */
#include "node_secret.h"

#include "crypto/secret.h"
#include "store/store.h"

enum { SECRET_IDENT = 900, SECRET_LEN = 32 };

RC node_secret_get(struct store *store, enum node_secret which, struct secret **out, struct err *e)
{
    *out = NULL;
    uint8_t key[STORE_IDENT_LEN + 1];
    put_be64(key, SECRET_IDENT);
    key[STORE_IDENT_LEN] = (uint8_t)which;
    AUTO(store_abort) struct store_txn *t = NULL;
    TRY(store_begin(store, &t, e));
    struct store_pin pin = { 0 };
    struct slice value;
    struct err why = { 0 };
    AUTO(secret_freep) struct secret *s = NULL;
    rc_t rc = store_get_for_update(t, STORE_META, SLICE(key, sizeof(key)), &pin, &value, &why);
    if (!rc.failed) {
        rc = value.len == SECRET_LEN ? secret_from(value.p, value.len, &s, e)
                                     : err_set(e, ERR_CORRUPT, __FILE__, __LINE__,
                                               "a stored secret has %zu bytes", value.len);
        store_pin_release(&pin);
        if (rc.failed)
            return rc;
    } else if (why.code == ERR_NOT_FOUND) {
        TRY(secret_random(SECRET_LEN, &s, e));
        TRY(store_put(t, STORE_META, SLICE(key, sizeof(key)), SLICE(secret_view(s), SECRET_LEN),
                      e));
        TRY(store_commit(&t, STORE_SYNC, e));
    } else {
        return err_take(e, &why);
    }
    *out = TAKE(s);
    return RC_OK;
}
