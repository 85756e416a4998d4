#!/bin/bash
# Fetches and configures Debian's arm64 root, and fetches the packages of its kernel. Run once: it takes some minutes.
# Wants root, a mirror of Debian, mmdebstrap and qemu-user.
#
#	root.sh DIR: makes DIR/root.tar, with nothing of ours, and DIR/debs
set -euo pipefail
out=$1
mkdir -p "$out/debs"

# Packages' scripts run as arm64. The kernel is told who runs such programs, where it does not know.
if [ ! -e /proc/sys/fs/binfmt_misc/register ]; then mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc; fi
if [ ! -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ]; then
	of() { sed -n "s/^$1 //p" /usr/share/binfmts/qemu-aarch64; }
	printf %s ":qemu-aarch64:M::$(of magic):$(of mask):$(of interpreter):OPF" >/proc/sys/fs/binfmt_misc/register
fi

# The root's own apt fetches them, so that all are of one version.
cat >"$out/fetch" <<'F'
cd "$DEBS"
export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
get() { apt-get -q -o APT::Sandbox::User=root download "$@"; }
needs() { apt-cache depends --important "$1" | sed -n "s/.*Depends: \($2\)/\1/p"; }
image=$(needs linux-image-arm64 'linux-image-[0-9].*')
headers=linux-headers-${image#linux-image-}
get "$image" "$headers" "$(needs "$headers" 'linux-headers-.*-common')" "$(needs linux-source 'linux-source-[0-9.]*')"
F
DEBS=$out/debs mmdebstrap --mode=root --architectures=arm64 --variant=minbase \
	--include=systemd,systemd-sysv,systemd-timesyncd,dbus,udev,kmod,iproute2,libubootenv-tool,busybox-static \
	--aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
	--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/i18n/*' \
	--customize-hook="bash -eu $out/fetch" bookworm "$out/root.tar"
