#!/bin/sh
# Makes the Debian packages from what `make cross man` left in the folder given.
#
# Debian's armhf means ARM v7, Raspberry Pi OS means v6 by the same word. So there are two packages for armhf: the one
# whose name ends in -armv6 is for a Raspberry Pi 1 or Zero, and runs on every other board too.
#
#	packaging/deb.sh dist [arch]    those of one architecture alone, as Debian calls it, as far as they were built
set -eu
dist=$1 only=${2:-}
config() { # arguments: template; Debian architecture; name of the build
	ARCH=$2 BUILD=$3 DIST=$dist go tool -modfile=packaging/nfpm.mod nfpm package --config "packaging/$1" --packager deb --target "$4"
}
rm -f "$dist"/*_${only:-*}.deb
for pair in armhf:armv7 arm64:arm64 riscv64:riscv64 amd64:amd64; do
	[ "${only:-${pair%:*}}" = "${pair%:*}" ] || continue
	config nfpm.yaml "${pair%:*}" "linux-${pair#*:}" "$dist/holdfast_${VERSION}_${pair%:*}.deb"
done
[ -n "$only" ] || config nfpm.yaml armhf linux-armv6 "$dist/holdfast_${VERSION}_armhf-armv6.deb"
for arch in amd64 arm64; do
	[ "${only:-$arch}" = "$arch" ] || continue
	[ -z "$only" ] || [ -e "$dist/linux-$arch/holdfastctl" ] || continue
	config nfpm-ctl.yaml "$arch" "linux-$arch" "$dist/holdfastctl_${VERSION}_$arch.deb"
done
ls -l "$dist"/*.deb
