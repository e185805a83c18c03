/* What a hostile program in a pod tries first. Each attempt prints its name and `refused` or `ALLOWED`. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void told(const char *name, long result) {
  printf("%s: %s (%s)\n", name, result < 0 ? "refused" : "ALLOWED", result < 0 ? strerror(errno) : "");
  fflush(stdout);
}

static void opens(const char *path, int flags) {
  char name[256];
  snprintf(name, sizeof name, "open %s", path);
  int fd = open(path, flags);
  told(name, fd);
  if (fd >= 0) close(fd);
}

static void writes(const char *path, const char *text) {
  char name[256];
  snprintf(name, sizeof name, "write %s", path);
  int fd = open(path, O_WRONLY);
  told(name, fd < 0 ? -1 : write(fd, text, strlen(text)));
  if (fd >= 0) close(fd);
}

int main(void) {
  char memory[64] = {0};
  struct { void *base; size_t length; } iov = {memory, sizeof memory};
  told("mount", mount("none", "/tmp", "tmpfs", 0, ""));
  told("bind", mount("/", "/tmp", NULL, MS_BIND, ""));
  told("remount", mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, ""));
  told("umount", umount2("/tmp", MNT_DETACH));
  told("pivot_root", syscall(SYS_pivot_root, "/tmp", "/tmp"));
  told("chroot", chroot("/tmp"));
  told("unshare user", unshare(CLONE_NEWUSER));
  told("unshare mount", unshare(CLONE_NEWNS));
  told("unshare net", unshare(CLONE_NEWNET));
  told("clone user", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
  struct clone_args more = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
  told("clone3 user", syscall(SYS_clone3, &more, sizeof more));
  for (int pid = 1; pid < 3; pid++) {
    static const char *kinds[] = {"mnt", "user", "net", "pid", "cgroup"};
    for (int at = 0; at < 5; at++) {
      char path[64], name[80];
      snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, kinds[at]);
      snprintf(name, sizeof name, "setns %s", path);
      int fd = open(path, O_RDONLY);
      told(name, fd < 0 ? -1 : setns(fd, 0));
    }
  }
  told("ptrace attach", ptrace(PTRACE_ATTACH, 1, 0, 0));
  told("ptrace seize", ptrace(PTRACE_SEIZE, 1, 0, 0));
  told("process_vm_writev", syscall(SYS_process_vm_writev, 1, &iov, 1L, &iov, 1L, 0L));
  told("bpf", syscall(SYS_bpf, 0, memory, sizeof memory));
  told("perf_event_open", syscall(SYS_perf_event_open, memory, 0, -1, -1, 0));
  told("io_uring_setup", syscall(SYS_io_uring_setup, 1, memory));
  told("keyctl", syscall(SYS_keyctl, 0, -3, 1));
  told("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -3));
  told("userfaultfd", syscall(SYS_userfaultfd, 0));
  told("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, memory, O_RDONLY));
  told("init_module", syscall(SYS_init_module, memory, 1L, ""));
  told("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0));
  told("reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0x89abcdef, 0));
  told("swapon", syscall(SYS_swapon, "/tmp/x", 0));
  told("settimeofday", settimeofday(&(struct timeval){1, 0}, NULL));
  told("sethostname", sethostname("x", 1));
  told("syslog", syscall(SYS_syslog, 3, memory, sizeof memory));
  told("personality", syscall(SYS_personality, 0x0040000));
#ifdef SYS_iopl
  told("iopl", syscall(SYS_iopl, 3));
#endif
  told("mknod disk", mknod("/tmp/disk", S_IFBLK | 0600, makedev(8, 0)));
  told("mknod mem", mknod("/tmp/mem", S_IFCHR | 0600, makedev(1, 1)));
  told("packet socket", socket(AF_PACKET, SOCK_RAW, 0));
  told("raw socket", socket(AF_INET, SOCK_RAW, 1));
  told("alg socket", socket(38, SOCK_SEQPACKET, 0));
  told("vsock", socket(40, SOCK_STREAM, 0));
  told("tiocsti", ioctl(0, TIOCSTI, "x"));
  told("setgroups", syscall(SYS_setgroups, 1, (gid_t[]){0}));
  told("setuid another", setuid(1234567));
  static const char *paths[] = {"/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/loop0", "/dev/fuse", "/proc/kcore", "/proc/2/mem",
                                "/proc/1/root/etc/shadow", "/proc/1/cwd/etc/shadow", "/proc/1/root/usr/bin/mount", "/sys/kernel/debug", "/run/dbus/system_bus_socket",
                                "/var/run/docker.sock", "/run/containerd/containerd.sock", "/etc/shadow"};
  for (unsigned at = 0; at < sizeof paths / sizeof *paths; at++) opens(paths[at], O_RDONLY);
  writes("/proc/sys/kernel/core_pattern", "|/tmp/x");
  writes("/proc/sysrq-trigger", "h");
  writes("/proc/sys/vm/drop_caches", "1");
  writes("/proc/self/oom_score_adj", "-1000");
  writes("/proc/self/uid_map", "0 0 1");
  writes("/sys/fs/cgroup/cgroup.procs", "0");
  writes("/bin/busybox", "x");
  told("suid", chmod("/bin/busybox", 04755));
#if defined(__x86_64__)
  told("x32 mount", syscall(0x40000000 | SYS_mount, "none", "/tmp", "tmpfs", 0, ""));
#endif
  puts("all tried");
  return 0;
}
