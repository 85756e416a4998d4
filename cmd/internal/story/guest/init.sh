#!/bin/busybox sh
# The initramfs: starts the hardware watchdog, mounts the slot and makes room for its init. The watchdog resets a board
# whose system does not feed it within a minute; from here on it cannot be stopped but by who feeds it.
busybox() { /bin/busybox "$@"; }
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs dev /dev
while read -r module arguments; do
	busybox insmod "/modules/$module" $arguments
done </modules/list
if [ -c /dev/watchdog ]; then printf . >/dev/watchdog; fi

root='' init=/sbin/init
for word in $(busybox cat /proc/cmdline); do
	case $word in
	root=PARTLABEL=*) root=${word#root=PARTLABEL=} ;;
	init=*) init=${word#init=} ;;
	esac
done
tries=0 device=''
while [ -z "$device" ]; do
	for uevent in /sys/class/block/*/uevent; do
		if busybox grep -qx "PARTNAME=$root" "$uevent"; then device=/dev/$(busybox sed -n 's/^DEVNAME=//p' "$uevent"); fi
	done
	tries=$((tries + 1))
	if [ $tries -gt 100 ]; then
		echo "initramfs: no partition $root"
		busybox reboot -f
	fi
	busybox usleep 50000
done
if ! busybox mount -t ext4 -o ro "$device" /root; then
	echo "initramfs: $device cannot be mounted"
	busybox reboot -f
fi
busybox umount /proc
busybox umount /sys
busybox mount --move /dev /root/dev
exec busybox switch_root /root "$init"
