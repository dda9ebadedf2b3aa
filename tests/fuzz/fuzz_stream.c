/* fuzz: links store keys crypto */
/* Journals and manifests on a disk that anyone may write to, written by somebody who even has the keys: the input describes frames (flags, index, sync mark,
 * predecessor, a bad tag, a bad mark) and rubbish between them, and they are sealed as told. What the reader makes of it is compared with a model of
 * docs/formats/store.md section 4 that is written down from the page: same text, same number of frames, torn or damaged. */
#include "fuzz_store.h"
#include "stream_priv.h"

enum { FRAMES_MAX = 24, HEADER = STORE__HEADER_LEN };

struct frame {
    size_t at, end; /* bytes in the file */
    size_t len;
    uint32_t flags, index, synced;
    bool opens;    /* parses and authenticates */
    bool follows;  /* carries the tag of the frame that stands before it in the file */
    bool is_frame; /* else rubbish */
};

struct script {
    struct frame f[FRAMES_MAX];
    int n;
    struct buf file, text; /* text: of all frames, joined */
    size_t text_at[FRAMES_MAX + 1];
};

static struct store__keys keys;
static uint8_t raw[HEADER];

static void setup(void)
{
    struct store__header h;
    struct err e = { 0 };

    INVARIANT(!store__header_make(fuzz_seal(), STORE__JOURNAL, FUZZ_NUMBER, raw, &h, &e).failed &&
              !store__keys_derive(fuzz_seal()->keys, &h, raw, &keys, &e).failed);
}

/* Seals one frame as described, by the page and not by the writer's code. */
static void seal(struct script *s, struct frame *f, const uint8_t *prev, bool bad_mark,
                 bool bad_zero)
{
    uint8_t head[STORE__FRAME_HEAD] = { 0 }, nonce[AEAD_NONCE_LEN], mac[SHA256_LEN],
            aad[STORE__MAC_LEN + STORE__FRAME_HEAD], plain[256];
    struct err e = { 0 };
    uint8_t *to;

    memset(plain, 'a' + (int)(f->at % 26), sizeof(plain));
    memcpy(head, keys.mark, 4);
    head[0] ^= bad_mark;
    put_be32(head + 4, (uint32_t)f->len);
    put_be32(head + 8, f->flags);
    put_be32(head + 12, f->index);
    put_be32(head + 16, f->synced);
    put_be32(head + 20, bad_zero);
    memcpy(head + 32, prev, STORE__TAG_LEN);
    struct slice parts[] = { SLICE(head, 24), SLICE(head + 32, 16), SLICE(plain, f->len) };
    INVARIANT(!hmac_sha256(keys.nonce, parts, 3, mac, &e).failed);
    memcpy(head + 24, mac, 8);
    memcpy(nonce, head + 12, 4);
    memcpy(nonce + 4, head + 24, 8);
    memcpy(aad, keys.mac, STORE__MAC_LEN);
    memcpy(aad + STORE__MAC_LEN, head, sizeof(head));
    buf_push(&s->file, head, sizeof(head));
    to = buf_extend(&s->file, f->len + STORE__TAG_LEN);
    INVARIANT(!aead_seal(keys.data,
                         &(struct aead_seal){ .nonce = nonce,
                                              .aad = SLICE(aad, sizeof(aad)),
                                              .plain = SLICE(plain, f->len),
                                              .out = to,
                                              .tag = to + f->len },
                         &e)
                   .failed);
    buf_push(&s->text, plain, f->len);
}

static void build(struct script *s, struct slice *in)
{
    uint8_t prev[STORE__TAG_LEN];
    uint32_t due = 0;

    buf_push(&s->file, raw, sizeof(raw));
    memcpy(prev, keys.mac, sizeof(prev));
    while (in->len && s->n < FRAMES_MAX) {
        struct frame *f = &s->f[s->n];
        uint8_t how = fuzz_u8(in);
        bool bad_tag = how & 1 << 4, bad_mark = how & 1 << 5, bad_zero = how & 1 << 6,
             bad_prev = how & 1 << 3;

        s->text_at[s->n++] = s->text.len;
        *f = (struct frame){ .at = s->file.len, .len = fuzz_u8(in), .is_frame = !(how & 1 << 7) };
        if (!f->is_frame) {
            f->len++;
            memset(buf_extend(&s->file, f->len), how, f->len);
            f->end = s->file.len;
            continue;
        }
        f->flags = how & 7; /* bit 2 is no flag */
        f->index = due + (bad_prev && f->len % 3 == 0 ? 1u : 0u);
        f->synced = fuzz_u8(in) % (due + 2);
        f->follows = !bad_prev || f->len % 3 == 0;
        prev[0] ^= !f->follows;
        seal(s, f, prev, bad_mark, bad_zero);
        f->end = s->file.len;
        if (bad_tag)
            s->file.p[f->end - 1] ^= 1;
        f->opens = !bad_tag && !bad_mark && !bad_zero && !(f->flags & 4);
        memcpy(prev, s->file.p + f->end - STORE__TAG_LEN, sizeof(prev));
        due++;
    }
    s->text_at[s->n] = s->text.len;
    /* the last write did not get through */
    if (in->len == 0 && s->n && s->f[s->n - 1].len % 5 == 4)
        s->file.len -= MIN((size_t)9, s->file.len - s->f[s->n - 1].at);
}

struct verdict {
    bool damaged, ended;
    size_t frames, text;
};

static bool stands(const struct script *s, const struct frame *f)
{
    return f->is_frame && f->opens && f->end <= s->file.len;
}

/* docs/formats/store.md, section 4, "Reading". */
static struct verdict judge(const struct script *s)
{
    struct verdict v = { 0 };
    int i = 0;

    for (; i < s->n && stands(s, &s->f[i]); i++) {
        const struct frame *f = &s->f[i];

        if (f->index != v.frames || !f->follows) {
            v.damaged = true; /* 1 */
            return v;
        }
        v.frames++;
        if (f->flags & STORE__FRAME_END) {
            v.ended = true;
            v.damaged = f->end != s->file.len; /* 3 */
            return v;
        }
        v.text = s->text_at[i + 1];
    }
    for (i++; i < s->n; i++)
        if (stands(s, &s->f[i]) &&
            (s->f[i].synced > v.frames || (s->f[i].flags & STORE__FRAME_END)))
            v.damaged = true; /* 2 */
    return v;
}

static void compare(const struct script *s)
{
    AUTO(buf_fini) struct buf text = BUF_INIT;
    struct verdict want = judge(s);
    struct store__stream_end end;
    struct store__stream *r;
    struct slice plain;
    struct err e = { 0 };
    bool more = true, failed = false;
    int fd = fuzz_file(buf_view(&s->file));

    INVARIANT(
        !store__stream_open_fd(fuzz_seal(), fd, "000007.log", STORE__JOURNAL, FUZZ_NUMBER, &r, &e)
             .failed);
    while (more && !failed) {
        failed = store__stream_next(r, &plain, &more, &e).failed;
        if (!failed && more)
            buf_push(&text, plain.p, plain.len);
    }
    store__stream_state(r, &end);
    INVARIANT(failed == want.damaged && (!failed || e.code == ERR_CORRUPT));
    INVARIANT(end.reach.frames == want.frames && end.reach.ended == want.ended);
    INVARIANT(slice_eq(buf_view(&text), SLICE(s->text.p, want.text)));
    INVARIANT(end.physical + end.torn == s->file.len);
    store__stream_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    struct script s = { 0 };
    struct slice in = SLICE(data, size);

    if (!ready)
        setup();
    ready = true;
    build(&s, &in);
    compare(&s);
    buf_fini(&s.file);
    buf_fini(&s.text);
    return 0;
}
