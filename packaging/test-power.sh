#!/bin/bash
# Tries to gain power from inside the sandbox of each shipped unit, as its user, in more than a hundred ways, each first
# shown to work as root; and looks at what systemd says of the units. In a Debian root with its systemd.
#
#	packaging/test-power.sh dist
dist=${1:-dist}
. packaging/root.sh
CGO_ENABLED=0 go build -o "$root/usr/local/bin/attempts" ./cmd/internal/attempts

inside dpkg -i /deb/new.deb >"$work/said" 2>&1 || { cat "$work/said"; exit 1; }
units=$(cd "$root/usr/lib/systemd/system" && ls holdfast*.service)
for unit in $units; do
	check "$unit is confined" inside systemd-analyze security --offline=yes --threshold=15 "/usr/lib/systemd/system/$unit"
	inside systemd-analyze security --offline=yes --no-pager "/usr/lib/systemd/system/$unit" 2>/dev/null |
		sed -n "s/.*Overall exposure level for .*: \\([0-9.]*\\).*/exposure of $unit: \\1/p"
done
boot
check "prepares" inside attempts prepare
check "tries as root" inside sh -c 'attempts try >/run/attempts-root'
tried=
for unit in $units; do
	name=${unit%.service}
	# The unit as it is shipped, but for what it starts and that it ends.
	sed -e '/^ExecStartPre=/d; /^ExecReload=/d; /^Restart/d; /^Watchdog/d; /^Timeout/d; /^Condition/d; /^Requires/d; /^Wants/d; /^Sockets/d; /^LoadCredential/d' \
		-e "s|^Type=.*|Type=oneshot|; s|^ExecStart=.*|ExecStart=/usr/local/bin/attempts try|; s|^ExecStop.*||" \
		-e "s|^\\[Service\\]|[Service]\\nStandardOutput=file:/run/attempts-of-$name\\nTimeoutStartSec=300|" \
		"$root/usr/lib/systemd/system/$unit" >"$work/try.service"
	inside sh -c "cat >/run/systemd/system/try-$unit" <"$work/try.service"
	inside systemctl daemon-reload
	check "tries in the sandbox of $unit" inside systemctl start "try-$unit"
	# The warden is root by trade, and its sandbox keeps it from much; the agent and what serves it gain nothing at all.
	if grep -q '^User=root' "$work/try.service" || ! grep -q '^User=' "$work/try.service"; then
		inside sh -c "echo \"in the sandbox of $unit, which is root's, \$(grep -c 'gained\$' /run/attempts-of-$name) are left\""
	else
		tried="$tried /run/attempts-of-$name"
	fi
done
# shellcheck disable=SC2086 # names without spaces
check "nothing is gained" inside attempts compare /run/attempts-root $tried
grep gained "$work/said"
verdict
