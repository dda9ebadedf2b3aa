/* process.c - places and the lock. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

/* The setting's path, or dir/name when it is unset. */
static char *path_or(struct settings *s, int id, const char *dir, const char *name)
{
    const char *set = settings_str(s, id);
    return *set ? mem_strdup(set) : mem_printf("%s/%s", dir, name);
}

static RC absolute(const char *path, char **out, struct err *e)
{
    char full[PATH_MAX];
    if (!realpath(path, full))
        return file_err(e, errno, "find", path);
    *out = mem_strdup(full);
    return RC_OK;
}

RC process_places(struct process *p, struct err *e)
{
    mutex_init(&p->conf_lock);
    p->start_grace_ms = -2;
    TRY(keyconf_of_settings(p->set, &p->conf, e));
    const char *data = settings_str(p->set, SET_DATA_DIR),
               *state = settings_str(p->set, SET_STATE_DIR);
    AUTO(mem_freep) char *beside = mem_printf("%s.state", data);
    if (!*state)
        state = beside;
    TRY(dir_make(data, 0700, e));
    TRY(dir_make(state, 0700, e));
    TRY(absolute(data, &p->data_dir, e));
    TRY(absolute(state, &p->state_dir, e));
    size_t n = strlen(p->data_dir);
    if (strncmp(p->state_dir, p->data_dir, n) == 0 &&
        (p->state_dir[n] == '/' || p->state_dir[n] == '\0'))
        FAIL(
            e, ERR_CONFIG,
            "the state directory \"%s\" must not lie inside the data directory: it keeps what a copy of the data must not carry",
            p->state_dir);
    p->store_dir = mem_printf("%s/store", p->data_dir);
    p->pin_path = mem_printf("%s/pin", p->state_dir);
    p->machine_path = mem_printf("%s/key-state", p->state_dir);
    p->making_path = mem_printf("%s/making", p->state_dir);
    p->conf_path = mem_printf("%s/key-config", p->state_dir);
    p->conf_next_path = mem_printf("%s/key-config.next", p->state_dir);
    p->ticket_path = mem_printf("%s/restore-ticket", p->state_dir);
    p->backups_path = mem_printf("%s/backups", p->state_dir);
    p->root_key_path = path_or(p->set, SET_SERVICE_ROOT_KEY, p->state_dir, "service-root.key");
    p->admin_path = path_or(p->set, SET_ADMIN_SOCKET, p->state_dir, "admin.sock");
    return RC_OK;
}

static bool same_file(int a, int b)
{
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

RC process_lock(struct process *p, struct err *e)
{
    AUTO(fd_closep) int handed = p->handoff.lock_fd;
    p->handoff.lock_fd = -1;
    p->lock_fd = open(p->data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->lock_fd < 0)
        return file_err(e, errno, "open", p->data_dir);
    /* The lock belongs to the open file that the image before left. */
    if (handed >= 0 && same_file(handed, p->lock_fd)) {
        fd_close(p->lock_fd);
        p->lock_fd = handed;
        handed = -1;
    }
    if (flock(p->lock_fd, LOCK_EX | LOCK_NB) < 0)
        FAIL(e, ERR_DIRECTORY_BUSY, "another process holds the data directory \"%s\"", p->data_dir);
    return RC_OK;
}

/* ---- the key configuration --------------------------------------------------------------------------------------- */

/* Settings that say something else than the file: whoever wrote them should know that they do not count. */
static void warn_overridden(struct process *p, const struct keyconf *file)
{
    if (strcmp(settings_str(p->set, SET_KEY_MODE), key_mode_name(file->mode)) != 0)
        log_event(EV_KEY_CONFIG_OVERRIDES, KV_STR("setting", "key-mode"),
                  KV_STR("file", p->conf_path));
    for (int f = 0; f < KEYCONF_NR; f++) {
        int row = keyconf_setting((enum keyconf_field)f);
        if (!settings_is_default(p->set, row) &&
            strcmp(settings_str(p->set, row), file->value[f]) != 0)
            log_event(EV_KEY_CONFIG_OVERRIDES, KV_STR("setting", settings_def(p->set, row)->name),
                      KV_STR("file", p->conf_path));
    }
}

static RC load_file(struct process *p, struct err *e)
{
    struct keyconf file;
    if (!path_exists(p->conf_path))
        return RC_OK;
    TRY(keyconf_read(p->conf_path, &file, e));
    warn_overridden(p, &file);
    process_set_conf(p, &file);
    keyconf_fini(&file);
    return RC_OK;
}

RC process_load_conf(struct process *p, struct err *e)
{
    struct custody_root root;
    struct keyconf next;
    TRY(load_file(p, e));
    if (!path_exists(p->conf_next_path) || !custody_exists(p->data_dir))
        return RC_OK;
    TRY(keyconf_read(p->conf_next_path, &next, e));
    rc_t rc = custody_root(p->data_dir, &root, e);
    if (!rc.failed && keyconf_is_in_force(&next, &root))
        process_set_conf(p, &next);
    keyconf_fini(&next);
    p->conf_pending = !rc.failed;
    return rc;
}

RC process_settle_conf(struct process *p, struct err *e)
{
    struct keyconf conf, next;
    if (!p->conf_pending)
        return RC_OK;
    TRY(keyconf_read(p->conf_next_path, &next, e));
    process_conf(p, &conf);
    bool done = strcmp(conf.next_version, next.next_version) == 0;
    keyconf_fini(&next);
    rc_t rc = RC_OK;
    if (done) {
        conf.next_version[0] = '\0';
        rc = keyconf_write(p->conf_path, &conf, e);
        process_set_conf(p, &conf);
    }
    log_event(EV_KEY_CHANGE_SETTLED, KV_BOOL("done", done),
              KV_STR("mode", key_mode_name(conf.mode)));
    keyconf_fini(&conf);
    if (!rc.failed)
        rc = file_remove(p->conf_next_path, e);
    p->conf_pending = rc.failed;
    return rc;
}

void process_conf(struct process *p, struct keyconf *out)
{
    mutex_lock(&p->conf_lock);
    keyconf_copy(&p->conf, out);
    mutex_unlock(&p->conf_lock);
}

enum key_mode process_mode(struct process *p)
{
    mutex_lock(&p->conf_lock);
    enum key_mode mode = p->conf.mode;
    mutex_unlock(&p->conf_lock);
    return mode;
}

void process_set_conf(struct process *p, const struct keyconf *c)
{
    struct keyconf fresh, old;
    keyconf_copy(c, &fresh);
    mutex_lock(&p->conf_lock);
    old = p->conf;
    p->conf = fresh;
    mutex_unlock(&p->conf_lock);
    keyconf_fini(&old);
}

void process_fini(struct process *p)
{
    fd_close(p->lock_fd);
    fd_close(p->self_fd);
    char **const places[] = { &p->data_dir,       &p->store_dir,     &p->state_dir,
                              &p->pin_path,       &p->root_key_path, &p->machine_path,
                              &p->making_path,    &p->admin_path,    &p->conf_path,
                              &p->conf_next_path, &p->backups_path,  &p->ticket_path };
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        mem_freep(places[i]);
    keyconf_fini(&p->conf);
    settings_free(p->set);
    p->set = NULL;
}
