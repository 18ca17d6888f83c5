#!/bin/sh
# Boot a systemd of its own: boot.sh FOLDER, where FOLDER/install is what `make install` has left.
#
# It is pid 1 of new namespaces and has a root made for it: the /usr of this machine under a layer in
# memory, the installation in it, all else empty.  The kernel's own settings are read-only there, and its
# control groups hang below one of ours, so nothing that it does reaches the machine.  It lives until
# our standard input ends, and with it end all that it has started, and FOLDER.
#
# Says "cannot: REASON" where the machine does not allow that.
set -eu

cannot() {
    echo "cannot: $*"
    exit 1
}

# ---- around it

keep() {
    groups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    trap : HUP INT TERM # whoever starts us closes our input when it ends, however it does
    [ -n "$groups" ] || cannot "there is no cgroup2"
    own=$(sed -n 's/^0:://p' /proc/self/cgroup)
    group=$groups${own%/}/tornadod-test-$$
    mkdir "$group" 2>/dev/null || cannot "no control group can be made in $groups"
    trap 'find "$group" -depth -type d -exec rmdir {} +; rm -rf "$1"' EXIT

    setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child \
        sh "$0" --enter "$1" "$group" </dev/null &
    read -r _ || true
    # Its first process takes all others along; unshare waits until they have gone.
    init=$(cat /proc/$!/task/$!/children 2>/dev/null) && kill -9 $init 2>/dev/null
    wait $! 2>/dev/null || true
}

# ---- in the namespaces of processes and mounts

enter() {
    echo 0 >"$2/cgroup.procs" # what the namespace of groups begins at
    exec unshare --cgroup --uts --ipc sh "$0" --boot "$1"
}

make_devices() {
    mount -t tmpfs -o mode=755 tmpfs dev
    for name in null zero full random urandom tty; do
        : >dev/$name
        mount --bind /dev/$name dev/$name
    done
    mkdir dev/shm dev/pts
    mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
}

make_root() {
    mkdir -p .layer/upper .layer/work usr var/log var/tmp var/lib/logrotate run proc sys dev tmp root etc/systemd/system before
    chmod 1777 tmp var/tmp
    mount -t overlay -o "lowerdir=/usr,upperdir=$PWD/.layer/upper,workdir=$PWD/.layer/work" overlay usr ||
        cannot "no overlay of /usr"
    ln -s usr/bin usr/sbin usr/lib .
    ln -s ../run var/run
    [ ! -d usr/lib64 ] || ln -s usr/lib64 .
    cp -a "$1/install/." .
    mount -t proc proc proc
    mount --bind proc/sys proc/sys
    mount -o remount,bind,ro proc/sys
    mount -t sysfs -o ro sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    make_devices
    mount -t tmpfs -o mode=755 tmpfs run
}

# Of the units that a machine has when it boots only the journal is wanted.
make_settings() {
    rm -rf usr/lib/systemd/system/*.wants usr/lib/sysctl.d usr/lib/modprobe.d
    cp /etc/ld.so.cache etc
    echo 'root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/:/usr/sbin/nologin' >etc/passwd
    echo 'root:x:0:
nogroup:x:65534:' >etc/group
    printf '%s: files systemd\n' passwd group >etc/nsswitch.conf
    echo 74d2a1f6c0de4d0a8b6c6f2a5d1e9b37 >etc/machine-id
    ln -s /dev/null etc/systemd/system/systemd-journald-audit.socket
    mkdir etc/systemd/system/sysinit.target.wants
    ln -s /usr/lib/systemd/system/systemd-journald.service etc/systemd/system/sysinit.target.wants
    printf '[Journal]\nStorage=volatile\nAudit=no\nRateLimitBurst=0\n' >etc/systemd/journald.conf
    # As the manual says.
    chroot . systemd-sysusers 2>/dev/null
    chroot . systemd-tmpfiles --create tornadod.conf
}

boot() {
    mkdir "$1/root"
    mount -t tmpfs -o mode=755 tmpfs "$1/root" || cannot "no tmpfs"
    cd "$1/root"
    make_root "$1"
    make_settings
    pivot_root . before
    umount -l before
    rmdir before
    exec env -i PATH=/usr/sbin:/usr/bin container=tornadod-test \
        /lib/systemd/systemd --unit=basic.target --log-target=journal --show-status=no </dev/null
}

case $1 in
--enter) enter "$2" "$3" ;;
--boot) boot "$2" ;;
*) keep "$1" ;;
esac
