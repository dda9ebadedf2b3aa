/* http_client_priv.h - what the files of the HTTP client share. */
#ifndef HTTP_CLIENT_PRIV_H
#define HTTP_CLIENT_PRIV_H

#include <curl/curl.h>

#include "base/thread.h"
#include "http/http_client.h"

struct http_client {
    struct mutex lock;
    CURL *easy;                                   /* guarded by lock */
    char *ca_file, *proxy, *cert_file, *key_file; /* NULL: none */
    bool allow_http;
    long connect_timeout_ms;
};

enum http_outcome http__client_outcome(CURLcode rc);
/* http__client_rules(): what holds for every connection: TLS, authorities, proxy. False: it could not be set, and nothing may be sent. */
bool http__client_rules(struct http_client *c, CURL *easy, bool fresh);
/* http__client_pin_localhost(): for CURLOPT_RESOLVE; NULL: nothing to pin. */
struct curl_slist *http__client_pin_localhost(const char *url);

#endif
