/* cmd_plan_cache.c - planCacheClear. Every query is planned anew, from its bounds and the sizes of the indexes: there is no plan that could be stale. */
#include "cmd_priv.h"

RC cmd__planCacheClear(struct cmd_req *r, struct bw *w, struct err *e)
{
    AUTO(catalog_coll_unrefp) struct catalog_coll *x = NULL;
    struct cmd_ns ns;

    (void)w;
    TRY(cmd_ns(r, &ns, e));
    x = cmd_coll(r, &ns);
    return cmd_not_view(x, e);
}
