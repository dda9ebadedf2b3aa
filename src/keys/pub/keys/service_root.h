/* service_root.h - the root of SMK mode: 32 random bytes in a file, made at first start, outside the data directory.
 *
 * The provider "service-root" wraps with AES-256-KWP (RFC 5649) under a key derived from the root with a random salt, which stands before
 * the wrapped bytes: two clusters of one machine share no wrapping key. Its version names the root: the first 16 hex digits of
 * a hash of it. What another root wrapped says ERR_WRONG_KEY.
 */
#ifndef KEYS_SERVICE_ROOT_H
#define KEYS_SERVICE_ROOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "keys/provider.h"

enum { SERVICE_ROOT_LEN = 32 };

/* service_root_ensure(): make the file if it is not there (mode 0600, directory made 0700). *made tells. */
RC service_root_ensure(const char *path, bool *made, struct err *e);

struct service_root_info {
    bool same_device; /* it lies on the device of data_dir: a stolen disk carries both. Warn. */
};
/* service_root_open(): refuses (ERR_CONFIG) a file that is not regular, not owned by this user or root, readable or writable by
 * group or others, reached through a symbolic link, inside data_dir, or of another length. */
RC service_root_open(const char *path, const char *data_dir, struct key_provider **out,
                     struct service_root_info *info, struct err *e);

#endif
