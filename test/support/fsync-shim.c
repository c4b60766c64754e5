/* Preloaded into a process: counts, delays and fails fsync and fdatasync, fails writes as a full disk does, and links as a file
   system without them does. AGENTBUS_SHIM_CONTROL names a file of int32s: delay of an fsync in ms, its errno (0: none), errno of
   writes (0: none), a count of writes that failed, errno of links to what does not exist yet (0: none). It is mapped, so that a change takes effect at once.
   AGENTBUS_SHIM_LOG names a file that gets a line per call:
   call, path, CLOCK_MONOTONIC ns before and after, CLOCK_REALTIME ms, errno; tabs between.
   Only files with AGENTBUS_SHIM_MATCH in their path are touched. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

struct control {
  volatile int32_t delay_ms;
  volatile int32_t sync_errno;
  volatile int32_t write_errno;
  volatile int32_t failed_writes;
  volatile int32_t link_errno;
};

static struct control none;
static struct control *control = &none;
static int log_fd = -1;
static const char *match = "";

__attribute__((constructor)) static void start(void) {
  const char *control_path = getenv("AGENTBUS_SHIM_CONTROL");
  const char *log_path = getenv("AGENTBUS_SHIM_LOG");
  const char *wanted = getenv("AGENTBUS_SHIM_MATCH");
  if (wanted != NULL) match = strdup(wanted);
  if (log_path != NULL) log_fd = syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (control_path == NULL) return;
  int fd = syscall(SYS_openat, AT_FDCWD, control_path, O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) return;
  void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped != MAP_FAILED) control = mapped;
  close(fd);
}

static int64_t clock_ns(clockid_t id) {
  struct timespec now;
  clock_gettime(id, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Whether the file is one to touch; its path goes into `path`. */
static int touches(int fd, char *path, size_t size) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, size - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return strstr(path, match) != NULL;
}

static int sync_file(int fd, long number, const char *name) {
  char path[4096];
  if (!touches(fd, path, sizeof path)) return syscall(number, fd);
  int64_t before = clock_ns(CLOCK_MONOTONIC);
  int64_t wall_ms = clock_ns(CLOCK_REALTIME) / 1000000;
  int delay_ms = control->delay_ms;
  if (delay_ms > 0) {
    struct timespec pause = {delay_ms / 1000, (long)(delay_ms % 1000) * 1000000};
    nanosleep(&pause, NULL);
  }
  int failed = control->sync_errno;
  if (failed == 0 && syscall(number, fd) != 0) failed = errno;
  if (log_fd >= 0) {
    char line[4500];
    int length = snprintf(line, sizeof line, "%s\t%s\t%lld\t%lld\t%lld\t%d\n", name, path, (long long)before,
                          (long long)clock_ns(CLOCK_MONOTONIC), (long long)wall_ms, failed);
    syscall(SYS_write, log_fd, line, (size_t)length);
  }
  errno = failed;
  return failed == 0 ? 0 : -1;
}

int fsync(int fd) { return sync_file(fd, SYS_fsync, "fsync"); }
int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync, "fdatasync"); }

/* Whether a write to the file is to fail now; sets errno. */
static int fails(int fd) {
  char path[4096];
  int failed = control->write_errno;
  if (failed == 0 || !touches(fd, path, sizeof path)) return 0;
  control->failed_writes++;
  errno = failed;
  return 1;
}

ssize_t write(int fd, const void *data, size_t size) { return fails(fd) ? -1 : syscall(SYS_write, fd, data, size); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
  return fails(fd) ? -1 : syscall(SYS_pwrite64, fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
  return fails(fd) ? -1 : syscall(SYS_pwrite64, fd, data, size, at);
}

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags) {
  int failed = strstr(to, match) == NULL ? 0 : control->link_errno;
  /* The kernel looks at the name first. */
  if (failed != 0 && faccessat(to_fd, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0) failed = EEXIST;
  if (failed == 0) return syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
  errno = failed;
  return -1;
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
