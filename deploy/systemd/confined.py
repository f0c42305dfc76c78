#!/usr/bin/python3
"""Runs the command line of a unit under the unit's limits, where systemd is not the first process.

    confined.py --root FOLDER [--notify SOCKET] UNIT

It does with the kernel what systemd does: user, folders, a file system that is read-only but for what the unit allows,
a user namespace, no capabilities, and a filter for system calls made from systemd's own lists. A line of the unit that
it does not know is an error, so that none is passed over. Needs root, the Debian package python3-seccomp, and
systemd-analyze; give it mount, network and process namespaces of its own (`unshare -mnpf --mount-proc`).
"""

import argparse
import ctypes
import os
import pwd
import resource
import subprocess
import sys

import seccomp

# What says when and how a service is started, which is systemd's alone.
LIFECYCLE = {
    "Description", "Documentation", "Wants", "After", "StartLimitIntervalSec", "Type", "ExecReload", "Restart",
    "RestartSec", "RestartPreventExitStatus", "TimeoutStartSec", "TimeoutStopSec", "WantedBy",
}  # fmt: skip
# What is below in another form, or cannot be reached without what the filter of system calls takes away.
IMPLIED = {
    "Group", "StateDirectoryMode", "ConfigurationDirectory", "ConfigurationDirectoryMode", "AmbientCapabilities",
    "SystemCallErrorNumber", "PrivateMounts", "ProcSubset", "ProtectClock", "ProtectHostname", "ProtectKernelLogs",
    "ProtectKernelModules", "ProtectControlGroups", "ProtectKernelTunables", "LockPersonality", "RestrictRealtime",
    "SystemCallArchitectures", "KeyringMode", "RemoveIPC",
}  # fmt: skip
APPLIED = {
    "ExecStart", "User", "StateDirectory", "RuntimeDirectory", "ReadWritePaths", "UMask", "LimitCORE", "WatchdogSec",
    "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "PrivateUsers", "PrivateIPC", "ProtectProc",
    "CapabilityBoundingSet", "NoNewPrivileges", "SystemCallFilter", "RestrictAddressFamilies", "RestrictNamespaces",
    "RestrictSUIDSGID", "MemoryDenyWriteExecute",
}  # fmt: skip
# Each of these has one value here; another one would need another program.
EXPECTED = {
    "ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes", "PrivateDevices": "yes", "PrivateUsers": "yes",
    "PrivateIPC": "yes", "ProtectProc": "invisible", "CapabilityBoundingSet": "", "NoNewPrivileges": "yes",
    "RestrictNamespaces": "yes", "RestrictSUIDSGID": "yes", "MemoryDenyWriteExecute": "yes", "LimitCORE": "0",
    "WatchdogSec": "3min",
}  # fmt: skip

FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
CLONE_NEWIPC, CLONE_NEWUSER = 0x08000000, 0x10000000
# mnt, cgroup, uts, ipc, user, pid, net, time
NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000 | 0x00000080
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
SUID_OR_SGID = 0o6000
WRITE_AND_EXECUTE, EXECUTE = 0x6, 0x4

libc = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    if result != 0:
        number = ctypes.get_errno()
        sys.exit(f"{what}: {os.strerror(number)}")


def read_unit(path):
    """The lines of a unit, by key; a key may stand several times."""
    unit = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            line = line.strip()
            if line and line[0] not in "#[":
                key, _, value = line.partition("=")
                unit.setdefault(key, []).append(value)
    unknown = set(unit) - LIFECYCLE - IMPLIED - APPLIED
    if unknown:
        sys.exit(f"{path}: it is not known how to apply {', '.join(sorted(unknown))}")
    for key, value in EXPECTED.items():
        if unit.get(key) != [value]:
            sys.exit(f"{path}: {key} is expected to be {value!r}")
    return unit


def mount(*args):
    subprocess.run(["mount", *args], check=True)


def system_calls(names):
    """The system calls of a list that may name sets, by systemd's own tables."""
    calls = set()
    for name in names:
        if name.startswith("@"):
            listed = subprocess.run(
                ["systemd-analyze", "--no-pager", "syscall-filter", name], check=True, capture_output=True, text=True
            ).stdout.splitlines()[1:]
            calls |= system_calls(line.strip() for line in listed if line.strip() and "#" not in line)
        else:
            calls.add(name)
    return calls


def filter_of(unit):
    """The filter for system calls, as systemd makes it from the unit."""
    allowed = set()
    for line in unit["SystemCallFilter"]:
        if line.startswith("~"):
            allowed -= system_calls(line[1:].split())
        else:
            allowed |= system_calls(line.split())
    # ProtectClock, ProtectKernelModules, ProtectKernelLogs, ProtectHostname, LockPersonality, RestrictNamespaces.
    allowed -= system_calls(["@clock", "@module"])
    allowed -= {"syslog", "sethostname", "setdomainname", "personality", "unshare", "setns"}

    made = seccomp.SyscallFilter(seccomp.ERRNO(1))
    masked = lambda index, mask, value: seccomp.Arg(index, seccomp.MASKED_EQ, mask, value)
    conditions = {
        "socket": [[seccomp.Arg(0, seccomp.EQ, FAMILIES[name])] for name in unit["RestrictAddressFamilies"][0].split()],
        "clone": [[masked(0, NAMESPACES, 0)]],
        "mprotect": [[masked(2, EXECUTE, 0)]],
        "pkey_mprotect": [[masked(2, EXECUTE, 0)]],
        "mmap": [[masked(2, WRITE_AND_EXECUTE, value)] for value in (0, 0x2, 0x4)],
        "chmod": [[masked(1, SUID_OR_SGID, 0)]],
        "fchmod": [[masked(1, SUID_OR_SGID, 0)]],
        "fchmodat": [[masked(2, SUID_OR_SGID, 0)]],
        "mkdir": [[masked(1, SUID_OR_SGID, 0)]],
        "mkdirat": [[masked(2, SUID_OR_SGID, 0)]],
        "openat": [[masked(3, SUID_OR_SGID, 0)]],
    }
    # Its flags are in memory, where a filter cannot look; libraries then take clone.
    made.add_rule(seccomp.ERRNO(38), "clone3")
    for name in sorted(allowed - {"clone3"}):
        try:
            for arguments in conditions.get(name, [[]]):
                made.add_rule(seccomp.ALLOW, name, *arguments)
        except (OSError, RuntimeError, ValueError):
            # Of another architecture, or newer than the library.
            if name in conditions:
                raise
    return made


def close_file_system(unit, root, user):
    """Everything read-only but what the unit allows."""
    mount("--make-rprivate", "/")
    mount("--rbind", root, root)
    below = [line.split()[4] for line in open("/proc/self/mountinfo", encoding="utf-8")]
    for place in sorted({place for place in below if (place + "/").startswith(root.rstrip("/") + "/")}, key=len):
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=False, stderr=subprocess.DEVNULL)

    def inside(path):
        return root.rstrip("/") + path

    # Some of what follows has to be made first, where the root is read-only now.
    mount("-o", "remount,bind,rw", root)
    folders = [f"/var/lib/{name}" for name in unit["StateDirectory"]]
    folders += [f"/run/{name}" for name in unit["RuntimeDirectory"]]
    modes = [int(unit["StateDirectoryMode"][0], 8), 0o755]
    for folder, mode in zip(folders, modes):
        os.makedirs(inside(folder), exist_ok=True)
        os.chown(inside(folder), user.pw_uid, user.pw_gid)
        os.chmod(inside(folder), mode)
    writable = folders + [path.lstrip("-") for path in unit["ReadWritePaths"]]
    for folder in writable:
        mount("--bind", inside(folder), inside(folder))
    for folder in ("/tmp", "/var/tmp"):
        mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", inside(folder))
    for folder in ("/home", "/root"):
        mount("-t", "tmpfs", "-o", "mode=000,ro", "tmpfs", inside(folder))
    os.makedirs(inside("/dev"), exist_ok=True)
    devices = ["null", "zero", "full", "random", "urandom", "tty"]
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", inside("/dev"))
    for device in devices:
        open(inside(f"/dev/{device}"), "w").close()
        mount("--bind", f"/dev/{device}", inside(f"/dev/{device}"))
    mount("-o", "remount,bind,ro", inside("/dev"))
    mount("-t", "proc", "-o", "nosuid,nodev,noexec,hidepid=invisible,subset=pid", "proc", inside("/proc"))
    mount("-o", "remount,bind,ro", root)
    for folder in writable:
        mount("-o", "remount,bind,rw", inside(folder))


def enter_user_namespace(user):
    """Only root and the user exist in it."""
    ready, go = os.pipe(), os.pipe()
    outside = os.getpid()
    child = os.fork()
    if child == 0:
        os.read(ready[0], 1)
        for kind, number in (("uid", user.pw_uid), ("gid", user.pw_gid)):
            # Bytes: for text Python would load a library that is out of reach by now.
            with open(f"/proc/{outside}/{kind}_map", "wb", buffering=0) as file:
                file.write(b"0 0 1\n%d %d 1\n" % (number, number))
        os.write(go[1], b".")
        os._exit(0)
    check(libc.unshare(CLONE_NEWUSER), "a user namespace")
    os.write(ready[1], b".")
    os.read(go[0], 1)
    os.waitpid(child, 0)
    for end in ready + go:
        os.close(end)


def main():
    arguments = argparse.ArgumentParser(description="Run the command line of a unit under the unit's limits.")
    arguments.add_argument("--root", required=True, help="the file system that the unit is installed in")
    arguments.add_argument("--notify", help="the socket that systemd would listen at, within the root")
    arguments.add_argument("unit")
    args = arguments.parse_args()
    unit = read_unit(args.unit)
    root = os.path.realpath(args.root)
    passwd = os.path.join(root, "etc/passwd")
    fields = next((line.split(":") for line in open(passwd, encoding="utf-8") if line.startswith(unit["User"][0] + ":")), None)
    if fields is None:
        sys.exit(f"{passwd} has no user {unit['User'][0]}")
    user = pwd.struct_passwd((*fields[:2], int(fields[2]), int(fields[3]), *fields[4:6], fields[6].strip()))
    calls = filter_of(unit)
    environment = {
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
        "HOME": user.pw_dir,
        "LOGNAME": user.pw_name,
        "USER": user.pw_name,
        "SHELL": user.pw_shell,
        "STATE_DIRECTORY": f"/var/lib/{unit['StateDirectory'][0]}",
        "RUNTIME_DIRECTORY": f"/run/{unit['RuntimeDirectory'][0]}",
        "CONFIGURATION_DIRECTORY": f"/etc/{unit['ConfigurationDirectory'][0]}",
    }
    if args.notify:
        environment |= {"NOTIFY_SOCKET": args.notify, "WATCHDOG_USEC": "180000000", "WATCHDOG_PID": str(os.getpid())}
    command = unit["ExecStart"][0].split()

    close_file_system(unit, root, user)
    check(libc.unshare(CLONE_NEWIPC), "an IPC namespace")
    # Whoever is in a mere chroot may make no user namespace.
    os.chdir(root)
    mount("--move", root, "/")
    os.chroot(".")
    os.chdir("/")
    enter_user_namespace(user)
    for capability in range(64):
        # Fails from the last one on that this kernel knows.
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups([])
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    os.umask(int(unit["UMask"][0], 8))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    calls.load()
    os.execve(command[0], command, environment)


main()
