#!/bin/bash
# Unpacks Debian's arm64 kernel, and builds the one module that it lacks: gpio-sim, lines that a test can pull.
#
#	kernel.sh DEBS DIR: makes DIR/boot and DIR/lib/modules of what root.sh fetched
set -euo pipefail
debs=$1 out=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/headers" "$work/module"
mkdir -p "$out"
dpkg-deb -x "$debs"/linux-image-*.deb "$out"
release=$(ls "$out/lib/modules")

for deb in "$debs"/linux-headers-*.deb; do dpkg-deb -x "$deb" "$work/headers"; done
version=$(dpkg-deb -f "$(ls "$debs"/linux-headers-*-common_*.deb)" Version)
series=$(basename "$debs"/linux-source-*.deb | sed 's/^linux-source-\([0-9.]*\)_.*/\1/')
(cd "$work" && apt-get -q -o APT::Sandbox::User=root download "linux-kbuild-$series=$version") # this machine's, not the board's
dpkg-deb -x "$work"/linux-kbuild-*.deb "$work/headers"

# It wants irq_sim, which Debian's kernel leaves out as well, so both become one module. irq_to_desc is not for modules;
# generic_handle_irq does the same for them.
tree=linux-source-$series
dpkg-deb --fsys-tarfile "$debs"/linux-source-*.deb | tar -xO "./usr/src/$tree.tar.xz" | xz -dc |
	tar -x -C "$work/module" --strip-components=3 "$tree/drivers/gpio/gpio-sim.c" "$tree/drivers/gpio/gpiolib.h" "$tree/kernel/irq/irq_sim.c"
mv "$work/module/gpio-sim.c" "$work/module/gpio-sim-main.c"
sed -i 's/handle_simple_irq(irq_to_desc(irqnum))/generic_handle_irq(irqnum)/' "$work/module/irq_sim.c"
printf 'obj-m := gpio-sim.o\ngpio-sim-y := gpio-sim-main.o irq_sim.o\n' >"$work/module/Kbuild"
source=$work/headers/usr/src/linux-headers-$release
echo "include $(ls -d "$work"/headers/usr/src/linux-headers-*-common)/Makefile" >"$source/Makefile"
make -s -C "$source" M="$work/module" ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- modules
mkdir "$out/lib/modules/$release/extra"
cp "$work/module/gpio-sim.ko" "$out/lib/modules/$release/extra/"
depmod -b "$out" "$release"
