/* alias.h - a provider that knows one version of the key under another name.
 *
 * A key may be brought into another vault as the same RSA material under another version. The envelope cannot be written anew while the
 * cluster is sealed, so until it is back the version that it names is translated.
 */
#ifndef COFFERD_ALIAS_H
#define COFFERD_ALIAS_H

#include "keys/provider.h"

/* alias_provider_new(): takes inner, and frees it. from, to: at most 64 characters. */
struct key_provider *alias_provider_new(struct key_provider *inner, const char *from,
                                        const char *to);

#endif
