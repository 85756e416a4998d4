#!/bin/sh
# Lays out every card with stand-ins for bootloaders and file systems, and compares the partitions' labels and places.
# Wants genimage, genext2fs or e2fsprogs, mtools, dosfstools, sfdisk and systemd-repart. Prints one line a card.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/in/boot-files" "$tmp/empty"
for f in u-boot-rockchip.bin flash.bin u-boot-sunxi-with-spl.bin MLO u-boot.img; do
	head -c 65536 /dev/urandom >"$tmp/in/$f"
done
cp "$here/autoboot.txt" "$tmp/in/"
echo stand-in >"$tmp/in/boot-files/config.txt"
for f in root data; do
	truncate -s 8M "$tmp/in/$f.ext4"
	mke2fs -q -t ext4 -F "$tmp/in/$f.ext4"
done

labels() { sfdisk --json "$1" | sed -n 's/.*"name": *"\([^"]*\)".*/\1/p' | tr '\n' ' '; }

for cfg in "$here"/genimage/*.cfg; do
	name=$(basename "$cfg" .cfg)
	rm -rf "$tmp/out" "$tmp/scratch"
	genimage --config "$cfg" --inputpath "$tmp/in" --outputpath "$tmp/out" --rootpath "$tmp/empty" --tmppath "$tmp/scratch" >"$tmp/log" 2>&1 || {
		cat "$tmp/log" >&2
		echo "$name: genimage refuses it" >&2
		exit 1
	}
	got=$(labels "$tmp/out/$name.img")
	case $name in
	raspberry-pi) want="autoboot boot-a boot-b root-a root-b data " ;;
	qemu-virt) want="ubootenv slot_a slot_b data " ;;
	*) want="ubootenv root-a root-b data " ;;
	esac
	if [ "$got" != "$want" ]; then
		echo "$name: partitions $got, want $want" >&2
		exit 1
	fi
	case $name in # what the boot ROM reads is where it reads
	rockchip) at="u-boot-rockchip.bin 32" ;;
	imx8mm-evk) at="flash.bin 33" ;;
	imx8mp-evk) at="flash.bin 32" ;;
	orangepi-zero-2) at="u-boot-sunxi-with-spl.bin 128" ;;
	beaglebone-black) at="MLO 128" ;;
	*) at= ;;
	esac
	if [ -n "$at" ]; then
		dd if="$tmp/out/$name.img" bs=1K skip="${at#* }" count=64 status=none | cmp - "$tmp/in/${at% *}"
	fi
	echo "$name: $got"
done

mkdir "$tmp/repart.d"
cp "$here"/repart.d/*.conf "$tmp/repart.d/"
sed -i '/^Format=/d' "$tmp/repart.d/30-data.conf" # making a file system wants a loop device
case $(uname -m) in # repart's type root is that of the machine it runs on
x86_64) root=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709 ;;
aarch64) root=B921B045-1DF0-41C3-AF44-4C6F280D3FAE ;;
*)
	echo "systemd-repart: not tried on $(uname -m)" >&2
	exit 1
	;;
esac
truncate -s 4G "$tmp/repart.img"
sfdisk -q "$tmp/repart.img" <<EOF
label: gpt
start=16MiB, size=1MiB, name=ubootenv, type=3DE21764-95BD-54BD-A5C3-4ABE786F38A8
start=32MiB, size=1GiB, name=root-a, type=$root
EOF
systemd-repart --dry-run=no --definitions="$tmp/repart.d" --seed=6d1f1b2e5d3c4f6f8a9b0c1d2e3f4a5b "$tmp/repart.img" >"$tmp/log" 2>&1 || {
	cat "$tmp/log" >&2
	exit 1
}
got=$(labels "$tmp/repart.img")
if [ "$got" != "ubootenv root-a root-b data " ]; then
	echo "systemd-repart: partitions $got" >&2
	exit 1
fi
echo "systemd-repart: $got"
