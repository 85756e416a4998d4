#!/bin/sh
# Boots the Debian root given with its systemd as process 1, in namespaces of its own and without a network, and goes on
# until it is killed. Works as root with cgroup v1 or v2.
set -eu
root=$1
name=${HOLDFAST_BOOT:-holdfast-test-$$} # of the control group
mounts=$(awk '$3 == "cgroup" || $3 == "cgroup2" { print $3 "," $2 "," $4 }' /proc/mounts)

# A control group of its own in every hierarchy, which the namespace then shows as the whole.
for mount in $mounts; do
	at=${mount#*,}
	at=${at%%,*}/$name
	mkdir -p "$at"
	for inherited in cpuset.cpus cpuset.mems; do # cgroup v1 starts these empty
		[ ! -e "$at/$inherited" ] || [ "${mount%%,*}" = cgroup2 ] || cat "$at/../$inherited" >"$at/$inherited"
	done
	echo $$ >"$at/cgroup.procs"
done

inside='
root=$1 mounts=$2
mount --make-rprivate /
mount --rbind "$root" "$root" # with what is mounted in it
cd "$root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
# Nodes of its own, never those of the host: process 1 changes owner and mode of its console.
while read -r node minor; do mknod -m 666 "dev/$node" c 1 "$minor"; done <<-NODES
	null 3
	zero 5
	full 7
	random 8
	urandom 9
	console 3
NODES
mknod -m 666 dev/tty c 5 0
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
case $mounts in
*cgroup,*)
	mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
	for mount in $mounts; do
		options=${mount##*,}
		at=${mount#*,}; at=sys/fs/cgroup/$(basename "${at%%,*}")
		mkdir "$at"
		case $at in
		*/systemd) mount -t cgroup -o none,name=systemd cgroup "$at" ;;
		*) [ "${mount%%,*}" = cgroup2 ] || mount -t cgroup -o "$(basename "$at")" cgroup "$at" ;;
		esac
	done
	;;
*) mount -t cgroup2 cgroup2 sys/fs/cgroup ;;
esac
mkdir -p oldroot
pivot_root . oldroot
umount -l /oldroot
mount --make-rshared / # as on a machine: systemd leaves it alone in a container, and a unit would not see its credentials
exec env -i container=holdfast-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd
'
exec unshare --cgroup --pid --mount --uts --ipc --net --fork --kill-child -- sh -euc "$inside" boot "$root" "$mounts"
