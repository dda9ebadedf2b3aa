/* cmd_host.c - hostInfo: the machine, as its kernel tells; what cannot be read is left out (compatibility 20). */
#include "cmd_priv.h"

#include <gnu/libc-version.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { LINE = 4096 };

/* value_of(): what follows "name<blanks><sep><blanks>" in line, without its end and quotes; NULL when it is another line. */
static char *value_of(char *line, const char *name, char sep)
{
    size_t len = strlen(name);

    if (strncmp(line, name, len) != 0)
        return NULL;
    char *p = line + len;
    p += strspn(p, " \t");
    if (*p++ != sep)
        return NULL;
    p += strspn(p, " \t\"");
    p[strcspn(p, "\"\n")] = 0;
    return p;
}

struct cpus {
    char mhz[32], features[LINE];
    uint64_t sockets_seen; /* a bit each, of the first 64 */
    int cores_of_socket;
};

static void read_cpus(struct cpus *out)
{
    char line[LINE];
    char *v;
    FILE *f = fopen("/proc/cpuinfo", "r");

    *out = (struct cpus){ 0 };
    while (f && fgets(line, sizeof(line), f)) {
        if ((v = value_of(line, "cpu MHz", ':')) && !out->mhz[0])
            snprintf(out->mhz, sizeof(out->mhz), "%s", v);
        else if ((v = value_of(line, "flags", ':')) && !out->features[0])
            snprintf(out->features, sizeof(out->features), "%s", v);
        else if ((v = value_of(line, "physical id", ':')))
            out->sockets_seen |= 1ull << (strtoul(v, NULL, 10) & 63);
        else if ((v = value_of(line, "cpu cores", ':')))
            out->cores_of_socket = (int)strtol(v, NULL, 10);
    }
    if (f)
        fclose(f);
}

static void put_system(const struct utsname *u, const struct cpus *c, struct bw *w)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE),
         cores = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t mem_mb = pages > 0 && page > 0 ? (int64_t)pages * page >> 20 : 0;
    int sockets = MAX(__builtin_popcountll(c->sockets_seen), 1), nodes = 0;
    char path[64];
    cpu_set_t set;

    do {
        snprintf(path, sizeof(path), "/sys/devices/system/node/node%d", nodes);
    } while (access(path, F_OK) == 0 && ++nodes < 1024);
    bw_doc_begin(w, "system");
    bw_date(w, "currentTime", clock_real_ms());
    bw_str(w, "hostname", u->nodename);
    bw_i32(w, "cpuAddrSize", 64);
    bw_i64(w, "memSizeMB", mem_mb);
    bw_i64(w, "memLimitMB", mem_mb);
    bw_i32(w, "numCores", (int32_t)cores);
    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        bw_i32(w, "numCoresAvailableToProcess", CPU_COUNT(&set));
    bw_i32(w, "numPhysicalCores",
           c->cores_of_socket > 0 ? c->cores_of_socket * sockets : (int32_t)cores);
    bw_i32(w, "numCpuSockets", sockets);
    bw_str(w, "cpuArch", u->machine);
    bw_bool(w, "numaEnabled", nodes > 1);
    bw_i32(w, "numNumaNodes", MAX(nodes, 1));
    bw_doc_end(w);
}

static void put_os(const struct utsname *u, struct bw *w)
{
    char line[LINE], name[128] = "", version[64] = "";
    char *v;
    FILE *f = fopen("/etc/os-release", "r");

    while (f && fgets(line, sizeof(line), f)) {
        if ((v = value_of(line, "PRETTY_NAME", '=')))
            snprintf(name, sizeof(name), "%s", v);
        else if ((v = value_of(line, "VERSION_ID", '=')))
            snprintf(version, sizeof(version), "%s", v);
    }
    if (f)
        fclose(f);
    bw_doc_begin(w, "os");
    bw_str(w, "type", u->sysname);
    bw_str(w, "name", name[0] ? name : u->sysname);
    bw_str(w, "version", version[0] ? version : u->release);
    bw_doc_end(w);
}

static void put_more(const struct utsname *u, const struct cpus *c, struct bw *w)
{
    struct rlimit files;

    bw_doc_begin(w, "extra");
    bw_str(w, "versionString", u->version);
    bw_str(w, "libcVersion", gnu_get_libc_version());
    bw_str(w, "kernelVersion", u->release);
    if (c->mhz[0])
        bw_str(w, "cpuFrequencyMHz", c->mhz);
    if (c->features[0])
        bw_str(w, "cpuFeatures", c->features);
    bw_i64(w, "pageSize", sysconf(_SC_PAGESIZE));
    bw_i64(w, "numPages", sysconf(_SC_PHYS_PAGES));
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        bw_i64(w, "maxOpenFiles", (int64_t)MIN(files.rlim_cur, (rlim_t)INT64_MAX));
    bw_doc_end(w);
}

RC cmd__hostInfo(struct cmd_req *r, struct bw *w, struct err *e)
{
    struct cpus *c = ARENA_NEW(r->arena, struct cpus);
    struct utsname u;

    TRY(cmd_no_args(r, e));
    if (uname(&u) != 0)
        FAIL(e, ERR_INTERNAL, "could not ask for the system's name");
    read_cpus(c);
    put_system(&u, c, w);
    put_os(&u, w);
    put_more(&u, c, w);
    return RC_OK;
}
