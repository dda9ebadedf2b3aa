/* kms_aws.h - where the provider of keys in AWS has its credentials from. Private to kms. */
#ifndef KMS_AWS_H
#define KMS_AWS_H

#include "kms_priv.h"
#include "kmsg/kmsg_aws.h"

enum kms_aws_source {
    KMS_AWS_IMDS, /* the role of the machine, from its metadata service (v2 alone) */
    /* the role of a task or pod, from the endpoint that its environment names */
    KMS_AWS_CONTAINER,
    KMS_AWS_WEB_IDENTITY, /* a role that trusts the token in a file, from STS */
    KMS_AWS_FILE,         /* keys in a file */
};

struct kms_aws_identity {
    enum kms_aws_source source;
    char *endpoint, *file;
    char *name;               /* role, role ARN or profile */
    struct http_client *http; /* NULL: KMS_AWS_FILE */
    struct kms_cache cache;   /* kmsg_aws_credential_of() */
};

/* Of an object that was zeroed; fini also after a failure. */
RC kms__aws_identity_init(struct kms_aws_identity *i, const struct kms_config *c,
                          const struct kmsg_aws_target *t, struct err *e);
void kms__aws_identity_fini(struct kms_aws_identity *i);
/* kms__aws_identity_get(): valid until the next call. Errors as in keys/provider.h. */
RC kms__aws_identity_get(struct kms_aws_identity *i, uint64_t deadline_us,
                         struct kmsg_aws_credential *out, struct err *e);

#endif
