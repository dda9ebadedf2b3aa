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

static RC parse_mode(struct process *p, struct err *e)
{
    const char *mode = settings_str(p->set, SET_KEY_MODE);
    if (strcmp(mode, "smk") == 0)
        p->mode = KEY_MODE_SMK;
    else if (strcmp(mode, "cmk") == 0)
        p->mode = KEY_MODE_CMK;
    else
        FAIL(e, ERR_CONFIG, "setting \"key-mode\" takes smk or cmk, not \"%.100s\"", mode);
    if (p->mode == KEY_MODE_CMK && !*settings_str(p->set, SET_KEY_URL))
        FAIL(e, ERR_CONFIG,
             "setting \"key-url\" is needed in cmk mode: the versionless URL of the key");
    return RC_OK;
}

RC process_places(struct process *p, struct err *e)
{
    TRY(parse_mode(p, e));
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

void process_fini(struct process *p)
{
    fd_close(p->lock_fd);
    fd_close(p->self_fd);
    char **const places[] = {
        &p->data_dir,      &p->store_dir,    &p->state_dir,   &p->pin_path,
        &p->root_key_path, &p->machine_path, &p->making_path, &p->admin_path
    };
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        mem_freep(places[i]);
    settings_free(p->set);
    p->set = NULL;
}
