/* p11shim.c - a PKCS #11 module that is SoftHSM's, until the file that P11SHIM_MODE names says what goes wrong. Each login leaves a line in P11SHIM_LOGINS. */
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static CK_FUNCTION_LIST *real, shim;

static int mode_is(const char *name)
{
    char text[64] = "";
    FILE *f = fopen(getenv("P11SHIM_MODE"), "r");

    if (!f)
        return 0;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    return strcmp(text, name) == 0;
}

static CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *t)
{
    CK_RV rv = real->C_GetTokenInfo(slot, t);

    if (mode_is("final try"))
        t->flags |= CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY;
    if (mode_is("locked by flag"))
        t->flags |= CKF_USER_PIN_LOCKED;
    return rv;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *app, CK_NOTIFY notify,
                          CK_SESSION_HANDLE *h)
{
    if (mode_is("crash"))
        abort();
    if (mode_is("exit"))
        _exit(0);
    while (mode_is("hang"))
        usleep(20000);
    if (mode_is("removed"))
        return CKR_TOKEN_NOT_PRESENT;
    if (mode_is("no session left"))
        return CKR_SESSION_COUNT;
    return real->C_OpenSession(slot, flags, app, notify, h);
}

static CK_RV login(CK_SESSION_HANDLE h, CK_USER_TYPE user, unsigned char *pin, CK_ULONG len)
{
    FILE *f = fopen(getenv("P11SHIM_LOGINS"), "a");

    if (f) {
        fputs("login\n", f);
        fclose(f);
    }
    if (mode_is("locked"))
        return CKR_PIN_LOCKED;
    if (mode_is("wrong pin"))
        return CKR_PIN_INCORRECT;
    return real->C_Login(h, user, pin, len);
}

static CK_RV find_objects(CK_SESSION_HANDLE h, CK_OBJECT_HANDLE *out, CK_ULONG max, CK_ULONG *n)
{
    CK_RV rv = real->C_FindObjects(h, out, max, n);

    if (mode_is("too many"))
        *n = 1000000;
    return rv;
}

static CK_RV get_attribute(CK_SESSION_HANDLE h, CK_OBJECT_HANDLE o, CK_ATTRIBUTE *a, CK_ULONG n)
{
    CK_RV rv = real->C_GetAttributeValue(h, o, a, n);

    if (mode_is("long attribute") && a->type == CKA_ID)
        a->ulValueLen = 1000000;
    return rv;
}

static CK_RV decrypt_init(CK_SESSION_HANDLE h, CK_MECHANISM *m, CK_OBJECT_HANDLE k)
{
    if (mode_is("device fails"))
        return CKR_DEVICE_ERROR;
    if (mode_is("not permitted"))
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    if (mode_is("vendor's code"))
        return 0x80001234;
    return real->C_DecryptInit(h, m, k);
}

static CK_RV decrypt(CK_SESSION_HANDLE h, unsigned char *in, CK_ULONG in_len, unsigned char *out,
                     CK_ULONG *len)
{
    CK_RV rv = real->C_Decrypt(h, in, in_len, out, len);

    if (rv == CKR_OK && mode_is("lie"))
        out[0] ^= 1;
    if (rv == CKR_OK && mode_is("short"))
        --*len;
    if (rv == CKR_OK && mode_is("long"))
        *len = 1000000;
    return rv;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **out)
{
    void *module = dlopen(getenv("P11SHIM_MODULE"), RTLD_NOW | RTLD_LOCAL),
         *symbol = module ? dlsym(module, "C_GetFunctionList") : NULL;
    CK_C_GetFunctionList get;

    if (!symbol)
        return CKR_GENERAL_ERROR;
    memcpy(&get, &symbol, sizeof get);
    CK_RV rv = get(&real);
    if (rv != CKR_OK)
        return rv;
    shim = *real;
    shim.C_GetTokenInfo = get_token_info;
    shim.C_OpenSession = open_session;
    shim.C_Login = login;
    shim.C_FindObjects = find_objects;
    shim.C_GetAttributeValue = get_attribute;
    shim.C_DecryptInit = decrypt_init;
    shim.C_Decrypt = decrypt;
    *out = &shim;
    return CKR_OK;
}
