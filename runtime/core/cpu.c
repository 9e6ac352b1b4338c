/* What the machine allows this process: affinity mask, cgroup quota, caches, name. */
#define _GNU_SOURCE
#include "core/context.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool read_line(const char *path, char *line, size_t size) {
    FILE *f = fopen(path, "re");
    if (!f) return false;
    const bool ok = fgets(line, (int)size, f) != NULL;
    fclose(f);
    return ok;
}

static double tighter(double a, double b) { return a <= 0 ? b : b <= 0 ? a : a < b ? a : b; }

/* cgroup v2: "max 100000" or "150000 100000" in cpu.max; v1: two files. */
static double quota_of(const char *folder) {
    char path[1200], line[128];
    long long quota, period;
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    if (read_line(path, line, sizeof line))
        return sscanf(line, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0 ? (double)quota / (double)period : 0;
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
    if (!read_line(path, line, sizeof line) || (quota = atoll(line)) <= 0) return 0;
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    if (!read_line(path, line, sizeof line) || (period = atoll(line)) <= 0) return 0;
    return (double)quota / (double)period;
}

/* From a group up to the root: every ancestor's limit holds. */
static double quota_upwards(const char *root, const char *group) {
    char folder[1024];
    double quota = quota_of(root);
    snprintf(folder, sizeof folder, "%s%s", root, group);
    for (size_t length = strlen(folder); length > strlen(root); length = strlen(folder)) {
        quota = tighter(quota, quota_of(folder));
        char *slash = strrchr(folder, '/');
        if (!slash) break;
        *slash = '\0';
    }
    return quota;
}

double fv_cgroup_quota(const char *membership, const char *root) {
    double quota = 0;
    char copy[4096], sub[1024];
    snprintf(copy, sizeof copy, "%s", membership);
    for (char *save = NULL, *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) continue;
        *group++ = '\0';
        if (controllers[1] == '\0') { /* "0::/path": v2 */
            quota = tighter(quota, quota_upwards(root, group));
        } else if (strstr(controllers, "cpu") && !strstr(controllers, "cpuset")) {
            snprintf(sub, sizeof sub, "%s/%s", root, controllers + 1);
            quota = tighter(quota, quota_upwards(sub, group));
        }
    }
    return quota;
}

int fv_cpu_count(double *quota) {
    char membership[4096];
    cpu_set_t mask;
    FILE *f = fopen("/proc/self/cgroup", "re");
    const size_t length = f ? fread(membership, 1, sizeof membership - 1, f) : 0;
    if (f) fclose(f);
    membership[length] = '\0';
    *quota = fv_cgroup_quota(membership, "/sys/fs/cgroup");
    if (sched_getaffinity(0, sizeof mask, &mask) == 0 && CPU_COUNT(&mask) > 0) return CPU_COUNT(&mask);
    const long online = sysconf(_SC_NPROCESSORS_ONLN); /* more than 1024 CPUs: the mask does not fit */
    return online > 0 ? (int)online : 1;
}

static void cpu_name(char *name, size_t size) {
    char line[256];
    snprintf(name, size, "unknown");
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "model name", 10) != 0 && strncmp(line, "CPU part", 8) != 0) continue;
        const char *value = strchr(line, ':');
        line[strcspn(line, "\n")] = '\0';
        if (value) snprintf(name, size, "%.*s", (int)size - 1, value + 1 + strspn(value + 1, " \t"));
        break;
    }
    if (f) fclose(f);
}

static size_t cache_bytes(int index) {
    char path[128], line[64];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", index);
    if (!read_line(path, line, sizeof line)) return 0;
    char *unit;
    const unsigned long long value = strtoull(line, &unit, 10);
    return (size_t)(*unit == 'M' ? value << 20 : *unit == 'K' ? value << 10 : value);
}

fv_status fv_context_info(const fv_context *c, fv_cpu_info *out) {
    FV_RETURN_IF(!c || !out, FV_ERR_ARGUMENT, "fv_context_info needs a context and a place for the answer");
    *out = (fv_cpu_info){.isa = c->settings.isa, .backend = fv_backend_name(c->settings.backend), .threads = c->settings.threads,
                         .cpus = c->cpus, .quota = c->quota};
    cpu_name(out->name, sizeof out->name);
    size_t used = 0;
    for (const fv_isa *row = fv_isa_table; row->name; row++)
        if ((row->needs & fv_cpu_detect()) == row->needs && used < sizeof out->isas)
            used += (size_t)snprintf(out->isas + used, sizeof out->isas - used, "%s%s", used ? " " : "", row->name);
    out->l1 = cache_bytes(0);
    out->l2 = cache_bytes(2);
    out->l3 = cache_bytes(3);
    return FV_OK;
}
