/* fuzz: links kmsg crypto */
/* fuzz_p11 - PKCS #11 URIs, and the dates that a token gives. What is taken must be whole, and no PIN may show in what is said about the rest. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kmsg/kmsg_p11.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct kmsg_p11_uri u;
    struct err e = { 0 };
    int64_t unix_s;
    char *text = mem_strndup((const char *)data, len);

    if (!kmsg_p11_uri(text, &u, &e).failed) {
        check((*u.token || *u.serial) && (*u.object || u.id_len) && u.module[0] == '/');
        check(u.id_len <= KMSG_P11_ID_MAX && u.n_env <= KMSG_P11_ENV_MAX);
        for (uint32_t i = 0; i < u.n_env; i++)
            check(*u.env[i].name && !strchr(u.env[i].name, '=') && *u.env[i].value);
        check(!strstr(text, "pin-value"));
    } else {
        check(e.code == ERR_CONFIG && u.module[0] == 0 && !strchr(e.msg, '%'));
    }
    if (len >= 8 && kmsg_p11_date((const char *)data, &unix_s))
        check(unix_s >= 0);
    (void)kmsg_p11_is_later(SLICE(data, len / 2), SLICE(data + len / 2, len - len / 2));
    mem_free(text);
    return 0;
}
