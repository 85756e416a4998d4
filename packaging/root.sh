# shellcheck shell=bash
# For scripts that try the packages in a minimal Debian root and with its systemd; they source this with `dist` set.
set -euo pipefail
arch=$(dpkg --print-architecture)
deb=$(ls "$dist"/holdfast_*_"$arch".deb)
ctl=$(ls "$dist"/holdfastctl_*_"$arch".deb)
base=${HOLDFAST_TEST_ROOT:-/var/tmp/holdfast-debian-root.tar} # kept, because it takes minutes to make
work=$(mktemp -d /var/tmp/holdfast-deb.XXXXXX)
root=$work/root
booted=
one= # systemd of that root, as this machine numbers it
passed=0 failed=0

end() {
	if [ -n "$booted" ]; then kill -KILL "$booted" 2>/dev/null && wait "$booted" 2>/dev/null || true; fi
	for _ in $(seq 20); do # the kernel needs a moment to let the last processes go
		find /sys/fs/cgroup -depth -type d -path "*/holdfast-test-${booted:-none}*" -exec rmdir {} \; 2>/dev/null || true
		find /sys/fs/cgroup -maxdepth 2 -name "holdfast-test-${booted:-none}" 2>/dev/null | grep -q . || break
		sleep 0.3
	done
	if ! grep -q " $work" /proc/mounts; then rm -rf "$work"; fi
}
trap end EXIT

check() { # what, then a command that must succeed
	local what=$1
	shift
	if "$@" >"$work/said" 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL  $what: $*"
		sed 's/^/      /' "$work/said"
	fi
}
not() { ! "$@"; }
inside() {
	if [ -n "$one" ]; then
		nsenter -t "$one" -a env DEBIAN_FRONTEND=noninteractive HOME=/root "$@"
	else
		chroot "$root" env DEBIAN_FRONTEND=noninteractive "$@"
	fi
}
is() { # path, then mode, owner and group as stat prints them
	local found
	found=$(inside stat -c '%a %U %G' "$1")
	[ "$found" = "$2" ] || { echo "$1 is $found"; false; }
}
active() { inside systemctl is-active "$1"; }
within() { # seconds, then a command that must succeed by then
	local end=$((SECONDS + $1))
	shift
	while ! "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.3
	done
}
replaced() { # the process that ran before
	inside sh -c "pid=\$(systemctl show -P MainPID holdfast); [ \$pid != 0 ] && [ \$pid != $1 ]"
}
boot() { # systemd of that root, from now on what inside means
	packaging/boot.sh "$root" >"$work/boot.log" 2>&1 &
	booted=$!
	local pid end=$((SECONDS + 180)) # a machine with a lot to do takes a minute
	while [ "$SECONDS" -lt "$end" ]; do
		pid=$(pgrep -P "$booted" | head -n 1) || true
		case $([ -z "$pid" ] || nsenter -t "$pid" -a systemctl is-system-running 2>/dev/null) in
		running | degraded) # of which the exit code says no
			one=$pid
			return
			;;
		esac
		sleep 0.3
	done
	# What comes now would otherwise be done in a chroot of this machine, with its kernel and as its root.
	echo "FAIL  systemd is not up in $root after 180 s:"
	sed 's/^/      /' "$work/boot.log"
	exit 1
}
verdict() {
	echo "$passed passed, $failed failed"
	[ "$failed" = 0 ]
}

[ "$(id -u)" = 0 ] || { echo "could not run here: this wants root"; exit 77; }
if [ ! -s "$base" ]; then
	command -v mmdebstrap >/dev/null || apt-get install -qq -y --no-install-recommends mmdebstrap >/dev/null
	mmdebstrap --quiet --format=tar --variant=minbase --include=systemd,systemd-sysv,dbus,ca-certificates bookworm "$base.new"
	mv "$base.new" "$base"
fi
mkdir "$root"
tar -C "$root" -xpf "$base"
mkdir "$root/deb"
cp "$deb" "$root/deb/new.deb"
cp "$ctl" "$root/deb/ctl.deb"
