/* sigv4_vectors.h - requests of AWS's own Signature Version 4 test suite, with what signing each must give: all of its cases that sign in a
 * header and do not have the path normalised.
 * Copyright Amazon.com, Inc. or its affiliates; Apache License 2.0; from aws-c-auth, tests/aws-signing-test-suite/v4.
 */
#ifndef KMSG_SIGV4_VECTORS_H
#define KMSG_SIGV4_VECTORS_H

#include "kmsg/kmsg_sigv4.h"

#define SUITE_ACCESS_KEY "AKIDEXAMPLE"
#define SUITE_SECRET_KEY "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define SUITE_REGION "us-east-1"
#define SUITE_SERVICE "service"
enum { SUITE_UNIX_S = 1440938160 };
#define SUITE_DATE "20150830T123600Z"

/* what most of the requests have */
#define HOST { "Host", SLICE_LIT("example.amazonaws.com") }
#define DATE { "X-Amz-Date", SLICE_LIT(SUITE_DATE) }
#define TOKEN "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"
#define NO_BODY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" /* its hash */
#define HOST_LINE "host:example.amazonaws.com\n"
#define DATE_LINE "x-amz-date:" SUITE_DATE "\n"

static const struct sigv4_vector {
    const char *name, *method;
    struct slice path;
    struct kmsg_sigv4_header headers[8]; /* as many as have names */
    struct slice query, body;
    const char *canonical;
    const char *hash; /* of that, in the string to sign */
    const char *signature;
} sigv4_vectors[] = {
    { "get-header-key-duplicate",
      "GET",
      SLICE_LIT("/"),
      { HOST,
        { "My-Header1", SLICE_LIT("value2") },
        { "My-Header1", SLICE_LIT("value2") },
        { "My-Header1", SLICE_LIT("value1") },
        DATE },
      .canonical = "GET\n/\n\n" HOST_LINE "my-header1:value2,value2,value1\n" DATE_LINE
                   "\nhost;my-header1;x-amz-date\n" NO_BODY,
      .hash = "dc7f04a3abfde8d472b0ab1a418b741b7c67174dad1551b4117b15527fbe966c",
      .signature = "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea" },
    { "get-header-value-multiline",
      "GET",
      SLICE_LIT("/"),
      { HOST, { "My-Header1", SLICE_LIT("value1\n  value2\n     value3") }, DATE },
      .canonical = "GET\n/\n\n" HOST_LINE "my-header1:value1 value2 value3\n" DATE_LINE
                   "\nhost;my-header1;x-amz-date\n" NO_BODY,
      .hash = "e99419459a677bc11de234014be3c4e72c1ea5b454ceb58b613061f5d7a162e8",
      .signature = "cfd34249e4b1c8d6b91ef74165d41a32e5fab3306300901bb65a51a73575eefd" },
    { "get-header-value-order",
      "GET",
      SLICE_LIT("/"),
      { HOST,
        { "My-Header1", SLICE_LIT("value4") },
        { "My-Header1", SLICE_LIT("value1") },
        { "My-Header1", SLICE_LIT("value3") },
        { "My-Header1", SLICE_LIT("value2") },
        DATE },
      .canonical = "GET\n/\n\n" HOST_LINE "my-header1:value4,value1,value3,value2\n" DATE_LINE
                   "\nhost;my-header1;x-amz-date\n" NO_BODY,
      .hash = "31ce73cd3f3d9f66977ad3dd957dc47af14df92fcd8509f59b349e9137c58b86",
      .signature = "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01" },
    { "get-header-value-trim",
      "GET",
      SLICE_LIT("/"),
      { HOST,
        { "My-Header1", SLICE_LIT(" value1") },
        { "My-Header2", SLICE_LIT(" \"a   b   c\"") },
        DATE },
      .canonical =
          "GET\n/\n\n" HOST_LINE "my-header1:value1\n"
          "my-header2:\"a b c\"\n" DATE_LINE "\nhost;my-header1;my-header2;x-amz-date\n" NO_BODY,
      .hash = "a726db9b0df21c14f559d0a978e563112acb1b9e05476f0a6a1c7d68f28605c7",
      .signature = "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736" },
    { "get-relative-relative-unnormalized",
      "GET",
      SLICE_LIT("/example1/example2/../.."),
      { HOST, DATE },
      .canonical =
          "GET\n/example1/example2/../..\n\n" HOST_LINE DATE_LINE "\nhost;x-amz-date\n" NO_BODY,
      .hash = "76115030c0f3ff06c20fdff5ceb6d5e0b835a1743e00b94fea7c7f381269437b",
      .signature = "dc33e0856fd4baca4d7aa2146c38958283844764f38c74252a333df5e613003b" },
    { "get-relative-unnormalized",
      "GET",
      SLICE_LIT("/example/.."),
      { HOST, DATE },
      .canonical = "GET\n/example/..\n\n" HOST_LINE DATE_LINE "\nhost;x-amz-date\n" NO_BODY,
      .hash = "0511f456aa502b456d135fcb9d749374a55228f9dbeedda1eacf659e05b0615b",
      .signature = "eca7ead57bb5aa5c8e28007acd4ff04e1ff9a0ff3b237ec1554a184887ff9282" },
    { "get-slash-dot-slash-unnormalized",
      "GET",
      SLICE_LIT("/./"),
      { HOST, DATE },
      .canonical = "GET\n/./\n\n" HOST_LINE DATE_LINE "\nhost;x-amz-date\n" NO_BODY,
      .hash = "d67825e2268bd77a97c7688b8d72c31a3c1855b309808505ba0a9747d2465aa7",
      .signature = "68714168e6557f8f2de0ef956fc24dc2593a4bd2961f8df51898d8a134695145" },
    { "get-slash-pointless-dot-unnormalized",
      "GET",
      SLICE_LIT("/./example"),
      { HOST, DATE },
      .canonical = "GET\n/./example\n\n" HOST_LINE DATE_LINE "\nhost;x-amz-date\n" NO_BODY,
      .hash = "73895e0e829507e28e39fd24669aedc2434a8e179e547e3c075b42921f952cdb",
      .signature = "beb03f223f7deae4146464f06e29eebbee9c8afbe15c290cf07aa8b119e14cff" },
    { "get-slash-unnormalized",
      "GET",
      SLICE_LIT("//"),
      { HOST, DATE },
      .canonical = "GET\n//\n\n" HOST_LINE DATE_LINE "\nhost;x-amz-date\n" NO_BODY,
      .hash = "80cb39203d058af815de2b79250ff56e1b73eb9b4718c86556cdc6f150c5d209",
      .signature = "c88bcd3d312d75078c0cd961d6deae3f4c754924b01669efcfcb439fd5e5b76e" },
    { "get-slashes-unnormalized",
      "GET",
      SLICE_LIT("//example//"),
      { HOST, DATE },
      .canonical = "GET\n//example//\n\n" HOST_LINE DATE_LINE "\nhost;x-amz-date\n" NO_BODY,
      .hash = "528ec3105ee1f34ab014bb0a1a45da0ed2742a4fea3555149e5b4d5d201eb240",
      .signature = "87cca117541a147f6df867677d98a7d80dff226d2bfca9e4ffa899665623c7e5" },
    { "get-space-unnormalized",
      "GET",
      SLICE_LIT("/example space/"),
      { HOST, DATE },
      .canonical = "GET\n/example%20space/\n\n" HOST_LINE DATE_LINE "\nhost;x-amz-date\n" NO_BODY,
      .hash = "63ee75631ed7234ae61b5f736dfc7754cdccfedbff4b5128a915706ee9390d86",
      .signature = "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741" },
    { "get-unreserved",
      "GET",
      SLICE_LIT("/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
      { HOST, DATE },
      .canonical =
          "GET\n/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\n\n" HOST_LINE DATE_LINE
          "\nhost;x-amz-date\n" NO_BODY,
      .hash = "6a968768eefaa713e2a6b16b589a8ea192661f098f37349f4e2c0082757446f9",
      .signature = "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f" },
    { "get-utf8",
      "GET",
      SLICE_LIT("/\341\210\264"),
      { HOST, DATE },
      .canonical = "GET\n/%E1%88%B4\n\n" HOST_LINE DATE_LINE "\nhost;x-amz-date\n" NO_BODY,
      .hash = "2a0a97d02205e45ce2e994789806b19270cfbbb0921b278ccf58f5249ac42102",
      .signature = "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85" },
    { "get-vanilla",
      "GET",
      SLICE_LIT("/"),
      { HOST, DATE },
      .canonical = "GET\n/\n\n" HOST_LINE DATE_LINE "\nhost;x-amz-date\n" NO_BODY,
      .hash = "bb579772317eb040ac9ed261061d46c1f17a8133879d6129b6e1c25292927e63",
      .signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
    { "get-vanilla-empty-query-key",
      "GET",
      SLICE_LIT("/"),
      { HOST, DATE },
      .query = SLICE_LIT("Param1=value1"),
      .canonical = "GET\n/\nParam1=value1\n" HOST_LINE DATE_LINE "\nhost;x-amz-date\n" NO_BODY,
      .hash = "1e24db194ed7d0eec2de28d7369675a243488e08526e8c1c73571282f7c517ab",
      .signature = "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb" },
    { "get-vanilla-query",
      "GET",
      SLICE_LIT("/"),
      { HOST, DATE },
      .canonical = "GET\n/\n\n" HOST_LINE DATE_LINE "\nhost;x-amz-date\n" NO_BODY,
      .hash = "bb579772317eb040ac9ed261061d46c1f17a8133879d6129b6e1c25292927e63",
      .signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
    { "get-vanilla-query-order-encoded",
      "GET",
      SLICE_LIT("/"),
      { HOST, DATE },
      .query = SLICE_LIT("Param-3=Value3&Param=Value2&%E1%88%B4=Value1"),
      .canonical = "GET\n/\n%E1%88%B4=Value1&Param=Value2&Param-3=Value3\n" HOST_LINE DATE_LINE
                   "\nhost;x-amz-date\n" NO_BODY,
      .hash = "868294f5c38bd141c4972a373a76654f1418a8e4fc18b2e7903ae45e8ae0ec71",
      .signature = "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac" },
    { "get-vanilla-query-order-key-case",
      "GET",
      SLICE_LIT("/"),
      { HOST, DATE },
      .query = SLICE_LIT("Param2=value2&Param1=value1"),
      .canonical =
          "GET\n/\nParam1=value1&Param2=value2\n" HOST_LINE DATE_LINE "\nhost;x-amz-date\n" NO_BODY,
      .hash = "816cd5b414d056048ba4f7c5386d6e0533120fb1fcfa93762cf0fc39e2cf19e0",
      .signature = "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500" },
    { "get-vanilla-query-unreserved",
      "GET",
      SLICE_LIT("/"),
      { HOST, DATE },
      .query = SLICE_LIT(
          "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
      .canonical =
          "GET\n/\n-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\n" HOST_LINE DATE_LINE
          "\nhost;x-amz-date\n" NO_BODY,
      .hash = "c30d4703d9f799439be92736156d47ccfb2d879ddf56f5befa6d1d6aab979177",
      .signature = "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197" },
    { "get-vanilla-utf8-query",
      "GET",
      SLICE_LIT("/"),
      { HOST, DATE },
      .query = SLICE_LIT("\341\210\264=bar"),
      .canonical = "GET\n/\n%E1%88%B4=bar\n" HOST_LINE DATE_LINE "\nhost;x-amz-date\n" NO_BODY,
      .hash = "eb30c5bed55734080471a834cc727ae56beb50e5f39d1bff6d0d38cb192a7073",
      .signature = "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04" },
    { "get-vanilla-with-session-token",
      "GET",
      SLICE_LIT("/"),
      { HOST, DATE, { "X-Amz-Security-Token", SLICE_LIT(TOKEN) } },
      .canonical = "GET\n/\n\n" HOST_LINE DATE_LINE "x-amz-security-token:" TOKEN "\n"
                   "\nhost;x-amz-date;x-amz-security-token\n" NO_BODY,
      .hash = "067b36aa60031588cea4a4cde1f21215227a047690c72247f1d70b32fbbfad2b",
      .signature = "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8" },
    { "post-header-key-case",
      "POST",
      SLICE_LIT("/"),
      { HOST, DATE },
      .canonical = "POST\n/\n\n" HOST_LINE DATE_LINE "\nhost;x-amz-date\n" NO_BODY,
      .hash = "553f88c9e4d10fc9e109e2aeb65f030801b70c2f6468faca261d401ae622fc87",
      .signature = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" },
    { "post-header-key-sort",
      "POST",
      SLICE_LIT("/"),
      { HOST, { "My-Header1", SLICE_LIT("value1") }, DATE },
      .canonical = "POST\n/\n\n" HOST_LINE "my-header1:value1\n" DATE_LINE
                   "\nhost;my-header1;x-amz-date\n" NO_BODY,
      .hash = "9368318c2967cf6de74404b30c65a91e8f6253e0a8659d6d5319f1a812f87d65",
      .signature = "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c" },
    { "post-header-value-case",
      "POST",
      SLICE_LIT("/"),
      { HOST, { "My-Header1", SLICE_LIT("VALUE1") }, DATE },
      .canonical = "POST\n/\n\n" HOST_LINE "my-header1:VALUE1\n" DATE_LINE
                   "\nhost;my-header1;x-amz-date\n" NO_BODY,
      .hash = "d51ced243e649e3de6ef63afbbdcbca03131a21a7103a1583706a64618606a93",
      .signature = "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d" },
    { "post-sts-header-after",
      "POST",
      SLICE_LIT("/"),
      { HOST, DATE },
      .canonical = "POST\n/\n\n" HOST_LINE DATE_LINE "\nhost;x-amz-date\n" NO_BODY,
      .hash = "553f88c9e4d10fc9e109e2aeb65f030801b70c2f6468faca261d401ae622fc87",
      .signature = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" },
    { "post-sts-header-before",
      "POST",
      SLICE_LIT("/"),
      { HOST,
        DATE,
        { "X-Amz-Security-Token",
          SLICE_LIT(
              "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==") } },
      .canonical =
          "POST\n/\n\n" HOST_LINE DATE_LINE
          "x-amz-security-token:AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==\n"
          "\nhost;x-amz-date;x-amz-security-token\n" NO_BODY,
      .hash = "c237e1b440d4c63c32ca95b5b99481081cb7b13c7e40434868e71567c1a882f6",
      .signature = "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead" },
    { "post-vanilla",
      "POST",
      SLICE_LIT("/"),
      { HOST, DATE },
      .canonical = "POST\n/\n\n" HOST_LINE DATE_LINE "\nhost;x-amz-date\n" NO_BODY,
      .hash = "553f88c9e4d10fc9e109e2aeb65f030801b70c2f6468faca261d401ae622fc87",
      .signature = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" },
    { "post-vanilla-empty-query-value",
      "POST",
      SLICE_LIT("/"),
      { HOST, DATE },
      .query = SLICE_LIT("Param1=value1"),
      .canonical = "POST\n/\nParam1=value1\n" HOST_LINE DATE_LINE "\nhost;x-amz-date\n" NO_BODY,
      .hash = "9d659678c1756bb3113e2ce898845a0a79dbbc57b740555917687f1b3340fbbd",
      .signature = "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11" },
    { "post-vanilla-query",
      "POST",
      SLICE_LIT("/"),
      { HOST, DATE },
      .query = SLICE_LIT("Param1=value1"),
      .canonical = "POST\n/\nParam1=value1\n" HOST_LINE DATE_LINE "\nhost;x-amz-date\n" NO_BODY,
      .hash = "9d659678c1756bb3113e2ce898845a0a79dbbc57b740555917687f1b3340fbbd",
      .signature = "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11" },
    { "post-x-www-form-urlencoded",
      "POST",
      SLICE_LIT("/"),
      { { "Content-Type", SLICE_LIT("application/x-www-form-urlencoded") },
        HOST,
        { "Content-Length", SLICE_LIT("13") },
        DATE,
        { "x-amz-content-sha256",
          SLICE_LIT("9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e") } },
      .body = SLICE_LIT("Param1=value1"),
      .canonical =
          "POST\n/\n\n"
          "content-length:13\n"
          "content-type:application/x-www-form-urlencoded\n" HOST_LINE
          "x-amz-content-sha256:9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e\n" DATE_LINE
          "\ncontent-length;content-type;host;x-amz-content-sha256;x-amz-date\n"
          "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e",
      .hash = "b1edd1d03544c25390e32085d55b57acc9a3961bb59415ff86c45c3d89d16cfb",
      .signature = "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b" },
    { "post-x-www-form-urlencoded-parameters",
      "POST",
      SLICE_LIT("/"),
      { { "Content-Type", SLICE_LIT("application/x-www-form-urlencoded; charset=utf-8") },
        HOST,
        { "Content-Length", SLICE_LIT("13") },
        DATE,
        { "x-amz-content-sha256",
          SLICE_LIT("9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e") } },
      .body = SLICE_LIT("Param1=value1"),
      .canonical =
          "POST\n/\n\n"
          "content-length:13\n"
          "content-type:application/x-www-form-urlencoded; charset=utf-8\n" HOST_LINE
          "x-amz-content-sha256:9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e\n" DATE_LINE
          "\ncontent-length;content-type;host;x-amz-content-sha256;x-amz-date\n"
          "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e",
      .hash = "a89f1a5b53e37702ee6363ce1da3ce8f54386f3c8f352ae652153c2982a0bc4d",
      .signature = "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422" },
};

#undef HOST
#undef DATE
#undef TOKEN
#undef NO_BODY
#undef HOST_LINE
#undef DATE_LINE

#endif
