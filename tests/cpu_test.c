/* SPDX-License-Identifier: MIT */
/* Quotas are read from trees made here, in a directory of each test's own. */
#define _XOPEN_SOURCE 700 /* nftw() */
#include "support.h"

#include "mproc/process.h"
#include "os/os.h"

#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- a tree ---------------------------------------------------------------------------------- */

static char root[64];

static void make_root(void)
{
    strcpy(root, "/tmp/mproc-cpu-XXXXXX");
    assert_non_null(mkdtemp(root));
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static void remove_root(void)
{
    assert_int_equal(nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void put(const char *path, const char *text)
{
    char whole[1024];
    FILE *file;

    snprintf(whole, sizeof whole, "%s%s", root, path);
    for (char *slash = whole + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        assert_true(mkdir(whole, 0777) == 0 || errno == EEXIST);
        *slash = '/';
    }
    file = fopen(whole, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* The POSIX variant knows of no quotas: it says 0 of a tree that has one without doubt. */
static bool quotas_are_read(void)
{
    int32_t quota;

    make_root();
    put("/proc/self/cgroup", "0::/\n");
    put("/proc/self/mountinfo", "30 1 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
    put("/cg/cpu.max", "300000 100000\n");
    quota = mp_cpu_quota(root);
    remove_root();
    assert_true(quota == 3 || quota == 0);
    return quota == 3;
}

static void require_quotas(void)
{
    if (!quotas_are_read())
        skip();
}

/* ---- version 2 ------------------------------------------------------------------------------- */

#define MOUNTS_V2                                                                                  \
    "22 1 0:20 / /proc rw,nosuid shared:5 - proc proc rw\n"                                        \
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 master:2 - cgroup2 cgroup2 rw,nsdelegate\n"

static void the_smallest_quota_upward_counts(void **state)
{
    static const struct {
        const char *top, *middle, *bottom;
        int32_t quota;
    } cases[] = {
        {NULL, "max 100000\n", "400000 100000\n", 4},
        {NULL, "200000 100000\n", "400000 100000\n", 2},
        {NULL, "800000 100000\n", "400000 100000\n", 4},
        {"100000 100000\n", "max 100000\n", "max 100000\n", 1},
        {NULL, "max 100000\n", "max 100000\n", 0},
        {NULL, "max 100000\n", "100001 100000\n", 2},
        {NULL, "max 100000\n", "1000 100000\n", 1},
        {NULL, "max 100000\n", "150000 50000", 3},
    };

    (void)state;
    require_quotas();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        make_root();
        put("/proc/self/cgroup", "0::/a/b\n");
        put("/proc/self/mountinfo", MOUNTS_V2);
        if (cases[i].top)
            put("/sys/fs/cgroup/cpu.max", cases[i].top);
        put("/sys/fs/cgroup/a/cpu.max", cases[i].middle);
        put("/sys/fs/cgroup/a/b/cpu.max", cases[i].bottom);
        put("/cpu.max", "100 100000\n"); /* above the mount point */
        assert_int_equal(mp_cpu_quota(root), cases[i].quota);
        remove_root();
    }
}

static void what_is_mounted_may_be_a_part(void **state)
{
    (void)state;
    require_quotas();
    make_root();
    put("/proc/self/cgroup", "0::/pod/box/app\n");
    put("/proc/self/mountinfo", "30 23 0:26 /pod/box /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n"
                                "31 23 0:26 /po /other1 ro - cgroup2 cgroup2 rw\n"
                                "32 23 0:26 /else /other2 ro - cgroup2 cgroup2 rw\n");
    put("/sys/fs/cgroup/cpu.max", "500000 100000\n");
    put("/sys/fs/cgroup/app/cpu.max", "600000 100000\n");
    put("/other1/cpu.max", "100000 100000\n");
    put("/other1/d/box/app/cpu.max", "100000 100000\n");
    put("/other2/cpu.max", "100000 100000\n");
    assert_int_equal(mp_cpu_quota(root), 5);
    put("/proc/self/cgroup", "0::/pod/box\n");
    assert_int_equal(mp_cpu_quota(root), 5);
    put("/proc/self/cgroup", "0::/../outside\n");
    assert_int_equal(mp_cpu_quota(root), 0);
    remove_root();
}

static void names_are_unescaped(void **state)
{
    (void)state;
    require_quotas();
    make_root();
    put("/proc/self/cgroup", "0::/a b/c\n");
    put("/proc/self/mountinfo", "30 23 0:26 /a\\040b /my\\040cg\\134x rw - cgroup2 cgroup2 rw\n");
    put("/my cg\\x/c/cpu.max", "700000 100000\n");
    assert_int_equal(mp_cpu_quota(root), 7);
    remove_root();
}

static void put_long_mounts(void)
{
    enum { LONG = 100000 };
    char *text = malloc(LONG + 1000);
    size_t length;

    assert_non_null(text);
    length = (size_t)sprintf(text, "25 1 0:23 / / rw - overlay overlay rw,lowerdir=");
    memset(text + length, 'x', LONG);
    strcpy(text + length + LONG, "\n" MOUNTS_V2);
    put("/proc/self/mountinfo", text);
    free(text);
}

static void a_long_line_does_not_hide_the_next(void **state)
{
    (void)state;
    require_quotas();
    make_root();
    put("/proc/self/cgroup", "0::/\n");
    put_long_mounts();
    put("/sys/fs/cgroup/cpu.max", "300000 100000\n");
    assert_int_equal(mp_cpu_quota(root), 3);
    remove_root();
}

static void what_makes_no_sense_is_no_quota(void **state)
{
    static const char *const values[] = {
        "",
        "\n",
        "max\n",
        "100000\n",
        "100000 \n",
        " 100000 100000\n",
        "100000 0\n",
        "0 100000\n",
        "-1 100000\n",
        "100000 -1\n",
        "100000 100000 1\n",
        "100000x 100000\n",
        "99999999999999999999999 100000\n",
        "100000 99999999999999999999999\n",
    };
    static const char *const mounts[] = {
        "",
        "\n",
        " - \n",
        "30 23 0:26 / /cg rw\n",
        "30 23 0:26 / - cgroup2 cgroup2 rw\n",
        "30 23 0:26 / /cg rw - cgroup2\n",
        "30 23 0:26 / /cg rw - cgroup2 cgroup2\n",
        "30 23 0:26 / /cg rw cgroup2 cgroup2 rw\n",
    };
    static const char *const paths[] = {"", "\n", "0\n", "0:\n", "0::\n", "0::relative\n", "::\n"};

    (void)state;
    require_quotas();
    make_root();
    assert_int_equal(mp_cpu_quota(root), 0);
    put("/proc/self/cgroup", "0::/\n");
    assert_int_equal(mp_cpu_quota(root), 0);
    put("/proc/self/mountinfo", "30 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
    assert_int_equal(mp_cpu_quota(root), 0);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        put("/cg/cpu.max", values[i]);
        assert_int_equal(mp_cpu_quota(root), 0);
    }
    put("/cg/cpu.max", "300000 100000\n");
    assert_int_equal(mp_cpu_quota(root), 3);
    for (size_t i = 0; i < sizeof mounts / sizeof mounts[0]; i++) {
        put("/proc/self/mountinfo", mounts[i]);
        assert_int_equal(mp_cpu_quota(root), 0);
    }
    put("/proc/self/mountinfo", "30 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        put("/proc/self/cgroup", paths[i]);
        assert_int_equal(mp_cpu_quota(root), 0);
    }
    remove_root();
}

static void a_quota_beyond_all_cpus_is_a_number_still(void **state)
{
    (void)state;
    require_quotas();
    make_root();
    put("/proc/self/cgroup", "0::/\n");
    put("/proc/self/mountinfo", MOUNTS_V2);
    put("/sys/fs/cgroup/cpu.max", "90000000000000000 1\n");
    assert_int_equal(mp_cpu_quota(root), INT32_MAX);
    remove_root();
}

/* ---- version 1 ------------------------------------------------------------------------------- */

#define MOUNTS_V1                                                                                  \
    "31 23 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"                            \
    "32 23 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:3 - cgroup cgroup rw,cpu,cpuacct\n"

static void put_v1(const char *group, const char *quota, const char *period)
{
    char path[256];

    snprintf(path, sizeof path, "/sys/fs/cgroup/cpu,cpuacct%s/cpu.cfs_quota_us", group);
    put(path, quota);
    snprintf(path, sizeof path, "/sys/fs/cgroup/cpu,cpuacct%s/cpu.cfs_period_us", group);
    put(path, period);
}

static void version_1_is_read(void **state)
{
    (void)state;
    require_quotas();
    make_root();
    put("/proc/self/cgroup", "12:cpuset:/x\n11:cpuacct,cpu:/a/b\n10:name=systemd:/y\n");
    put("/proc/self/mountinfo", MOUNTS_V1);
    put_v1("", "-1\n", "100000\n");
    put_v1("/a", "-1\n", "100000\n");
    put_v1("/a/b", "-1\n", "100000\n");
    assert_int_equal(mp_cpu_quota(root), 0);
    put_v1("/a/b", "250000\n", "100000\n");
    assert_int_equal(mp_cpu_quota(root), 3);
    put_v1("/a", "20000\n", "10000\n");
    assert_int_equal(mp_cpu_quota(root), 2);
    put_v1("", "5000\n", "10000\n");
    assert_int_equal(mp_cpu_quota(root), 1);
    put_v1("", "5000 1\n", "10000\n");
    put_v1("/a", "20000\n", "0\n");
    assert_int_equal(mp_cpu_quota(root), 3);
    remove_root();
}

static void a_controller_is_told_by_its_whole_name(void **state)
{
    (void)state;
    require_quotas();
    make_root();
    put("/proc/self/cgroup", "12:cpuset,cpuacct:/a\n11:name=cpu:/a\n");
    put("/proc/self/mountinfo", MOUNTS_V1);
    put_v1("/a", "100000\n", "100000\n");
    assert_int_equal(mp_cpu_quota(root), 0);
    put("/proc/self/cgroup", "12:cpuset,cpu:/a\n");
    assert_int_equal(mp_cpu_quota(root), 1);
    put("/proc/self/mountinfo", "32 23 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup "
                                "rw,cpuset,cpuacct,name=cpu\n");
    assert_int_equal(mp_cpu_quota(root), 0);
    remove_root();
}

static void of_both_versions_the_smaller_quota_counts(void **state)
{
    (void)state;
    require_quotas();
    make_root();
    put("/proc/self/cgroup", "11:cpu,cpuacct:/a\n0::/u\n");
    put("/proc/self/mountinfo",
        MOUNTS_V1 "40 23 0:40 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    put_v1("/a", "400000\n", "100000\n");
    assert_int_equal(mp_cpu_quota(root), 4);
    put("/sys/fs/cgroup/unified/u/cpu.max", "200000 100000\n");
    assert_int_equal(mp_cpu_quota(root), 2);
    put_v1("/a", "100000\n", "100000\n");
    assert_int_equal(mp_cpu_quota(root), 1);
    remove_root();
}

/* ---- the count ------------------------------------------------------------------------------- */

static void the_allowed_are_some_of_the_cpus(void **state)
{
    (void)state;
    assert_in_range(mp_cpu_allowed(), 1, 1 << 20);
}

static void the_count_is_allowed_and_within_the_quota(void **state)
{
    int32_t allowed = mp_cpu_allowed();
    int32_t quota = mp_cpu_quota("");

    (void)state;
    unsetenv("MPROC_WORKERS");
    assert_int_equal(mproc_cpu_count(), quota && quota < allowed ? quota : allowed);
}

static void the_environment_has_the_first_word(void **state)
{
    static const struct {
        const char *text;
        int32_t count;
    } good[] = {{"1", 1}, {"3", 3}, {"4096", 4096}, {"0012", 12}};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        setenv("MPROC_WORKERS", good[i].text, 1);
        assert_int_equal(mproc_cpu_count(), good[i].count);
    }
    unsetenv("MPROC_WORKERS");
}

static void nonsense_in_the_environment_is_ignored(void **state)
{
    static const char *const bad[] = {"",      "0",   "-1",  "4097", "99999999999999999999",
                                      " 3",    "3 ",  "+3",  "0x3",  "3.0",
                                      "three", "3\n", "000", "1e1"};
    int32_t count;

    (void)state;
    unsetenv("MPROC_WORKERS");
    count = mproc_cpu_count();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        setenv("MPROC_WORKERS", bad[i], 1);
        assert_int_equal(mproc_cpu_count(), count);
    }
    unsetenv("MPROC_WORKERS");
}

/* Root with the group id of another stands in for a set-gid program. */
static int count_with_another_group(void *arg)
{
    if (setegid(getegid() + 1))
        return 77;
    setenv("MPROC_WORKERS", "4095", 1);
    return mproc_cpu_count() == *(int32_t *)arg ? 0 : 1;
}

static void a_set_id_program_ignores_the_environment(void **state)
{
    int32_t count;
    int status;

    (void)state;
    unsetenv("MPROC_WORKERS");
    count = mproc_cpu_count();
    status = test_run_child(count_with_another_group, &count);
    if (status == 77 << 8)
        skip();
    assert_int_equal(status, 0);
}

static const struct CMUnitTest tests[] = {
    TEST(the_smallest_quota_upward_counts),
    TEST(what_is_mounted_may_be_a_part),
    TEST(names_are_unescaped),
    TEST(a_long_line_does_not_hide_the_next),
    TEST(what_makes_no_sense_is_no_quota),
    TEST(a_quota_beyond_all_cpus_is_a_number_still),
    TEST(version_1_is_read),
    TEST(a_controller_is_told_by_its_whole_name),
    TEST(of_both_versions_the_smaller_quota_counts),
    TEST(the_allowed_are_some_of_the_cpus),
    TEST(the_count_is_allowed_and_within_the_quota),
    TEST(the_environment_has_the_first_word),
    TEST(nonsense_in_the_environment_is_ignored),
    TEST(a_set_id_program_ignores_the_environment),
};

int main(void)
{
    return TEST_MAIN(tests);
}
