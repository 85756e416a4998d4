#!/bin/bash
# Makes the tree of a slot: the root with Holdfast's package installed, trimmed to what the lab wants, with kernel and
# initramfs inside. Its root is mounted read-only, and /var is on the partition data.
#
#	tree.sh ROOT KERNEL DEB FILES TREE: ROOT and KERNEL are what root.sh and kernel.sh made, FILES is this directory; makes
#	TREE, and TREE.var, which is what /var holds
set -euo pipefail
root=$1 kernel=$2 deb=$3 files=$4 tree=$5
release=$(ls "$kernel/lib/modules")
mkdir "$tree"
tar -C "$tree" -xpf "$root/root.tar"

# The package as it is installed on a board, by dpkg and its own scripts.
chroot "$tree" groupadd --system gpio # as distributions for boards have it, with the rule in etc/udev/rules.d
cp "$deb" "$tree/holdfast.deb"
chroot "$tree" env DEBIAN_FRONTEND=noninteractive dpkg -i /holdfast.deb
rm "$tree/holdfast.deb"

# A board of 256 MiB that an emulator without any acceleration boots in seconds.
cd "$tree"
rm -rf boot/* usr/share/{doc,man,locale,zoneinfo,i18n,perl,perl5,bash-completion,info,lintian,common-licenses,debconf,zsh,gcc} \
	usr/share/{keyrings,ca-certificates} usr/lib/{apt,gcc,locale,terminfo} usr/lib/udev/hwdb.* usr/lib/systemd/{boot,catalog} \
	usr/lib/modules/* var/cache/* var/lib/{apt,dpkg} var/log/* etc/{ssl,apt,perl}
(
	cd usr/bin
	rm -f perl* apt* deb* dpkg* openssl gpgv localedef ss rdma dir vdir find lsblk pdb* chage gpasswd newgrp chfn chsh passwd su
	cd ../sbin
	rm -f ldconfig e2* debugfs tipc bridge devlink dcb vdpa genl user* group* dm* fsck* mkfs* mke2fs resize2fs tune2fs dumpe2fs *fdisk \
		losetup.* swap* chcpu zramctl blkdiscard cfdisk pam_* unix_* newusers chpasswd chgpasswd
	cd ../lib/systemd
	rm -f systemd-{networkd,networkd-wait-online,cryptsetup,measure,integritysetup,veritysetup,pcrphase,growfs,makefs,repart,homed,import*}
	cd ../aarch64-linux-gnu
	rm -rf perl perl-base gconv lib{perl,db-5,gnutls,stdc++,p11-kit,unistring,hogweed,nettle,gmp,sepol,semanage,apt-,fdisk,ext2fs}[.-]*
)
(
	cd usr/lib/udev/rules.d
	for rule in *; do
		case $rule in
		50-udev-default.rules | 60-block.rules | 60-persistent-storage.rules | 80-drivers.rules | 99-systemd.rules) ;;
		*) rm "$rule" ;;
		esac
	done
)
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
	getty.target systemd-user-sessions.service systemd-update-utmp.service \
	systemd-update-utmp-runlevel.service systemd-pstore.service dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount \
	sys-kernel-tracing.mount kmod-static-nodes.service systemd-ask-password-console.path systemd-ask-password-wall.path \
	systemd-binfmt.service proc-sys-fs-binfmt_misc.automount systemd-repart.service systemd-firstboot.service \
	systemd-sysusers.service systemd-machine-id-commit.service systemd-remount-fs.service sys-fs-fuse-connections.mount \
	systemd-pcrphase.service systemd-pcrphase-sysinit.service systemd-boot-system-token.service modprobe@.service; do
	ln -sf /dev/null "etc/systemd/system/$unit"
done
rm usr/lib/systemd/system/multi-user.target.wants/systemd-logind.service # the bus starts it, when a restart is asked for

mkdir -p "lib/modules/$release" boot data var/lib/systemd
cp "$kernel/lib/modules/$release"/modules.{order,builtin,builtin.modinfo} "lib/modules/$release/"
needs() { # the files of modules and of what they want, in the order they are loaded
	local m
	for m in "$@"; do modprobe -d "$kernel" -S "$release" --show-depends "$m" | sed -n 's/^insmod //p' | sed 's/ *$//'; done | awk '!seen[$0]++'
}
early="virtio_pci virtio_blk virtio_console ext4 i6300esb"
needs $early virtio_net virtio-rng sch_netem configfs gpio-sim loop | while read -r file; do
	to=lib/modules/$release/${file#"$kernel/lib/modules/$release/"}
	mkdir -p "$(dirname "$to")"
	cp "$file" "$to"
done
depmod -b . "$release"
cp "$kernel/boot/vmlinuz-$release" boot/Image

ram=$(mktemp -d)
trap 'rm -rf "$ram"' EXIT
mkdir "$ram"/{bin,dev,proc,sys,root,modules}
cp bin/busybox "$ram/bin/busybox"
cp "$files/init.sh" "$ram/init"
chmod 755 "$ram/init"
needs $early | while read -r file; do
	cp "$file" "$ram/modules/"
	case $(basename "$file") in
	i6300esb.ko) echo "i6300esb.ko heartbeat=60" ;;
	*) basename "$file" ;;
	esac
done >"$ram/modules/list"
(cd "$ram" && find . | sort | cpio -o -H newc --quiet --reproducible -R 0:0) >boot/initrd

cp -r "$files"/etc/. etc/
for unit in lab-shell lab-ready lab-network lab-lines; do
	ln -s "../$unit.service" "etc/systemd/system/multi-user.target.wants/$unit.service"
done
ln -sf /dev/null etc/systemd/system/getty@tty1.service
ln -sf /lib/systemd/system/multi-user.target etc/systemd/system/default.target
sed -i 's/^root:[^:]*:/root::/' etc/shadow
echo board >etc/hostname
echo 7c5a1b0e9d3f4c62a8e1f0d2b4968735 >etc/machine-id
mv var "$tree.var"
mkdir var
