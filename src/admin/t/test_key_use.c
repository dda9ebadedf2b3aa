/* Who used a key: summed up from lines of an audit log, bounded, and the same however much was added since. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "admin/key_use.h"
#include "base/mem.h"
#include "bsonx/bval.h"

#define UNTIL "2026-11-24T18:00:00.000Z"

static void line(struct buf *out, int seq, const char *time, const char *who, const char *operation,
                 const char *result, const char *key, const char *version)
{
    buf_printf(
        out,
        "{\"seq\":%d,\"chain\":\"c%d\",\"time\":\"2026-11-24T%s.000Z\",\"operationName\":\"%s\",\"resultType\":\"%s\","
        "\"identity\":{\"claim\":{\"oid\":\"id-%s\",\"name\":\"%s\"}},\"properties\":{\"vault\":\"main\",\"key\":\"%s\",\"version\":\"%s\"}}\n",
        seq, seq, time, operation, result, who, who, key, version);
}

static void log_of(struct buf *out)
{
    line(out, 1, "17:00:00", "node", "KeyWrap", "Success", "k", "v1");
    line(out, 2, "17:00:01", "node", "KeyUnwrap", "Success", "k", "v1");
    line(out, 3, "17:00:03", "node", "KeyUnwrap", "Failed", "k", "v1");
    line(out, 4, "17:00:02", "node", "KeyUnwrap", "Success", "k", "v2"); /* a clock that was set */
    line(out, 5, "17:00:05", "thief", "KeyUnwrap", "Failed", "k", "");
    line(out, 6, "17:00:06", "node", "KeyUnwrap", "Success", "other", "v1");
    line(out, 7, "17:59:59", "", "KeyGet", "Failed", "", "");
}

static char *sums(struct slice log)
{
    AUTO(key_use_freep) struct key_use *u = key_use_new("main", "k", UNTIL);
    AUTO(buf_fini) struct buf space = BUF_INIT, text = BUF_INIT;
    struct bw w;

    key_use_add(u, log);
    bw_init(&w, &space);
    key_use_write(u, &w);
    bval_to_json(bval_of_doc(bw_finish(&w), BT_DOCUMENT), &text);
    return mem_strdup(buf_cstr(&text));
}

static const char wanted[] =
    "{\"through\":{\"record\":7,\"chain\":\"c7\"},\"records\":5,\"users\":["
    "{\"name\":\"node\",\"objectId\":\"id-node\",\"operation\":\"KeyWrap\",\"done\":1,\"failed\":0,\"first\":\"2026-11-24T17:00:00.000Z\",\"last\":\"2026-11-24T17:00:00.000Z\"},"
    "{\"name\":\"node\",\"objectId\":\"id-node\",\"operation\":\"KeyUnwrap\",\"done\":2,\"failed\":1,\"first\":\"2026-11-24T17:00:01.000Z\",\"last\":\"2026-11-24T17:00:03.000Z\"},"
    "{\"name\":\"thief\",\"objectId\":\"id-thief\",\"operation\":\"KeyUnwrap\",\"done\":0,\"failed\":1,\"first\":\"2026-11-24T17:00:05.000Z\",\"last\":\"2026-11-24T17:00:05.000Z\"}],\"versions\":["
    "{\"version\":\"v1\",\"done\":2,\"failed\":1,\"first\":\"2026-11-24T17:00:00.000Z\",\"last\":\"2026-11-24T17:00:03.000Z\"},"
    "{\"version\":\"v2\",\"done\":1,\"failed\":0,\"first\":\"2026-11-24T17:00:02.000Z\",\"last\":\"2026-11-24T17:00:02.000Z\"}]}";

static void one_key_is_summed_up(void **state)
{
    AUTO(buf_fini) struct buf log = BUF_INIT;
    (void)state;

    log_of(&log);
    AUTO(mem_freep) char *got = sums(buf_view(&log));
    assert_string_equal(got, wanted);
}

static void what_came_later_changes_nothing(void **state)
{
    AUTO(buf_fini) struct buf log = BUF_INIT;
    (void)state;

    log_of(&log);
    line(&log, 8, "18:00:00", "node", "KeyUnwrap", "Success", "k", "v3");
    line(&log, 9, "23:00:00", "other", "KeyUnwrap", "Success", "k", "v4");
    AUTO(mem_freep) char *got = sums(buf_view(&log));
    assert_string_equal(got, wanted);
}

static void pieces_are_as_good_as_the_whole(void **state)
{
    AUTO(buf_fini) struct buf log = BUF_INIT;
    (void)state;

    log_of(&log);
    log.len--; /* the last line may have lost its end */
    AUTO(mem_freep) char *got = sums(buf_view(&log));
    assert_string_equal(got, wanted);
}

static void what_is_no_record_is_counted(void **state)
{
    static const char *const lines[] = {
        "no JSON\n",
        "{}\n",
        "[]\n",
        "{\"seq\":0,\"chain\":\"c\",\"time\":\"2026-11-24T17:00:00.000Z\"}\n",
        "{\"seq\":1,\"time\":\"2026-11-24T17:00:00.000Z\"}\n",
        "{\"seq\":1,\"chain\":\"c\",\"time\":\"2026-11-24 17:00:00.000Z\"}\n",
        "{\"seq\":1,\"chain\":\"c\",\"time\":\"yesterday\"}\n",
        "{\"seq\":\"1\",\"chain\":\"c\",\"time\":\"2026-11-24T17:00:00.000Z\"}\n",
    };
    AUTO(buf_fini) struct buf log = BUF_INIT;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        buf_printf(&log, "%s", lines[i]);
    buf_push(&log, "{\"a\0\n\n", 6);
    AUTO(mem_freep) char *got = sums(buf_view(&log));
    assert_string_equal(
        got,
        "{\"through\":{\"record\":0,\"chain\":\"\"},\"records\":0,\"users\":[],\"versions\":[],\"unreadableLines\":9}");
}

static void more_callers_than_there_is_room_for_are_counted(void **state)
{
    AUTO(buf_fini) struct buf log = BUF_INIT;
    char who[32];
    (void)state;

    for (int i = 0; i < KEY_USE_ROWS + 7; i++) {
        (void)snprintf(who, sizeof(who), "n%d", i);
        line(&log, i + 1, "17:00:00", who, "KeyGet", "Success", "k", "");
    }
    AUTO(mem_freep) char *got = sums(buf_view(&log));
    assert_non_null(strstr(got, "\"records\":507,"));
    assert_non_null(strstr(got, "\"furtherRecords\":7}"));
    assert_non_null(strstr(got, "\"n499\""));
    assert_null(strstr(got, "\"n500\""));
}

static void long_texts_are_cut_between_characters(void **state)
{
    AUTO(buf_fini) struct buf log = BUF_INIT;
    char who[400] = "x";
    (void)state;

    while (strlen(who) < 300)
        memcpy(who + strlen(who), "\xc3\xa9", 3);
    line(&log, 1, "17:00:00", who, "KeyGet", "Success", "k", "");
    AUTO(mem_freep) char *got = sums(buf_view(&log));
    const char *name = strstr(got, "\"name\":\"x");
    assert_non_null(name);
    assert_int_equal(strcspn(name + 8, "\""), KEY_USE_TEXT - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_key_is_summed_up),
        cmocka_unit_test(what_came_later_changes_nothing),
        cmocka_unit_test(pieces_are_as_good_as_the_whole),
        cmocka_unit_test(what_is_no_record_is_counted),
        cmocka_unit_test(more_callers_than_there_is_room_for_are_counted),
        cmocka_unit_test(long_texts_are_cut_between_characters),
    };

    return cmocka_run_group_tests_name("key_use", tests, NULL, NULL);
}
