/* kms_gcp.h - where the provider of keys in Google Cloud has its tokens from. Private to kms. */
#ifndef KMS_GCP_H
#define KMS_GCP_H

#include "kms_priv.h"
#include "kmsg/kmsg_gcp.h"

enum kms_gcp_source {
    KMS_GCP_METADATA,   /* the machine's or pod's service account, from its metadata service */
    KMS_GCP_ACCOUNT,    /* the key file of a service account */
    KMS_GCP_FEDERATION, /* another issuer's token, exchanged */
};

struct kms_gcp_identity {
    enum kms_gcp_source source;
    char *endpoint, *file, *account;
    struct http_client *http;
    struct kms_cache cache; /* "Authorization: Bearer ..." */
};

/* Of an object that was zeroed; fini also after a failure. */
RC kms__gcp_identity_init(struct kms_gcp_identity *i, const struct kms_config *c, struct err *e);
void kms__gcp_identity_fini(struct kms_gcp_identity *i);
/* kms__gcp_identity_get(): *header is valid until the next call. Errors as in keys/provider.h. */
RC kms__gcp_identity_get(struct kms_gcp_identity *i, uint64_t deadline_us, const char **header,
                         struct err *e);

#endif
