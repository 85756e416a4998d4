#!/bin/bash
# Installs, upgrades, removes and purges the package in a minimal Debian root, first as files only and then in a root
# that runs systemd, and looks at everything the package promises. Wants root, Debian, mmdebstrap and a mirror.
#
#	packaging/test-deb.sh dist
dist=${1:-dist}
. packaging/root.sh
files() { inside find / -xdev \( -path /proc -o -path /run -o -path /var/lib/dpkg -o -path /var/log -o -path /var/cache \
	-o -path '/etc/*-' -o -path /deb -o -path /var/lib/systemd/deb-systemd-helper-enabled -o -path /tmp \) -prune -o -print | sort; }

# The version before: the same files by an older name, with another default in its configuration.
old=$work/old
mkdir "$old"
dpkg-deb -R "$deb" "$old"
sed -i 's/^Version: .*/Version: 0.0.0~before/' "$old/DEBIAN/control"
echo '# a default of the version before' >>"$old/etc/holdfast/holdfast.toml"
dpkg-deb -b --root-owner-group "$old" "$root/deb/old.deb" >/dev/null
wants=/etc/systemd/system/multi-user.target.wants/holdfast.service
toml=/etc/holdfast/holdfast.toml

echo "== files"
files >"$work/before"
check "installs" inside dpkg -i /deb/old.deb
check "user" inside getent passwd holdfast
check "the user has no shell" inside sh -c 'getent passwd holdfast | grep -q ":/var/lib/holdfast:/usr/sbin/nologin$"'
check "configuration is the group's to read" is "$toml" "640 root holdfast"
check "its folder, too" is /etc/holdfast "750 root holdfast"
check "the program runs" inside holdfast version
check "its manual page" inside test -e /usr/share/man/man8/holdfast.8
check "completion that the shell can read" inside bash -n /usr/share/bash-completion/completions/holdfast
check "the lines are enabled" inside test -L /etc/systemd/system/multi-user.target.wants/holdfast-lines.service
check "the agent is enabled" inside test -L "$wants"
check "the warden's socket is enabled" inside test -L /etc/systemd/system/sockets.target.wants/holdfast-warden.socket
check "units are well formed" inside systemd-analyze verify --man=no holdfast.service holdfast-warden.service holdfast-warden.socket holdfast-trial.service \
	holdfast-lines.service holdfast-lines.socket
for unit in holdfast holdfast-warden holdfast-trial holdfast-lines; do
	check "$unit is confined" inside sh -c "systemd-analyze security --offline=yes --threshold=15 /usr/lib/systemd/system/$unit.service"
	inside systemd-analyze security --offline=yes "/usr/lib/systemd/system/$unit.service" --no-pager | tail -n 1
done

echo 'id = "edited"' >"$root$toml.edited" && cat "$root$toml" >>"$root$toml.edited" && cat "$root$toml.edited" >"$root$toml" && rm "$root$toml.edited"
inside systemctl disable holdfast.service 2>/dev/null
inside sh -c 'mkdir -p /var/lib/holdfast /var/lib/holdfast-warden && echo kept >/var/lib/holdfast/state'
check "upgrades without a question" inside dpkg -i --force-confdef --force-confold /deb/new.deb
check "an edited configuration stays" inside grep -q '^id = "edited"' "$toml"
check "and stays readable" is "$toml" "640 root holdfast"
check "what was switched off stays off" inside test ! -e "$wants"
check "state stays" inside grep -q kept /var/lib/holdfast/state
check "removes" inside dpkg -r holdfast
check "the program is gone" inside test ! -e /usr/bin/holdfast
check "configuration stays" inside test -e "$toml"
check "state stays after removal" inside test -e /var/lib/holdfast/state
check "comes back" inside dpkg -i /deb/new.deb
check "with its configuration" inside grep -q '^id = "edited"' "$toml"
check "removes again" inside dpkg -r holdfast
check "purges" inside dpkg -P holdfast
for name in holdfast holdfast-lines; do
	check "the user $name is gone" not inside getent passwd "$name"
	check "the group $name is gone" not inside getent group "$name"
done
files >"$work/after"
check "nothing is left behind" diff "$work/before" "$work/after"

echo "== systemd"
boot
check "systemd is process 1" inside sh -c '[ "$(cat /proc/1/comm)" = systemd ]'
check "installs" inside dpkg -i /deb/old.deb
check "the warden listens" active holdfast-warden.socket
check "the warden takes no memory when idle" not active holdfast-warden.service
check "without lines nobody owns them" not active holdfast-lines.service
check "which is no failure" not inside systemctl is-failed holdfast-lines.service
check "the agent waits for a broker's address" not active holdfast.service
check "without one it does not start" not inside systemctl start holdfast.service
check "and says what to do" inside sh -c 'systemctl status holdfast.service | grep -q "hint: set urls"'
sleep 12
check "nor is it tried over and over" inside sh -c 'systemctl is-failed holdfast && [ "$(systemctl show -P NRestarts holdfast)" = 0 ]'
# Nothing listens there. The agent runs all the same, and says so.
inside sed -i 's|^# urls .*|urls = ["mqtt://127.0.0.1:1883"]|; s|^# watch .*|watch = ["victim.service"]|
	s|^# restart .*|restart = ["victim.service"]|; s|^id = .*|id = "pump"\nclock_vouched = true|; s|^# id = .*|id = "pump"\nclock_vouched = true|' "$toml"
check "an upgrade starts what the old version would not" inside dpkg -i --force-confdef --force-confold /deb/old.deb
check "the agent starts" within 10 active holdfast.service
check "as its own user" inside sh -c '[ "$(stat -c %U /proc/$(systemctl show -P MainPID holdfast))" = holdfast ]'
check "its state is its own" is /var/lib/holdfast "700 holdfast holdfast"
check "sockets lie in a sticky folder" is /run/holdfast "1775 root holdfast"
check "the warden's socket is root's" is /run/holdfast/warden.sock "660 root holdfast"
check "status says why the link is down" within 15 inside sh -c 'holdfast status | grep -q "127.0.0.1:1883: .*connection refused"'
check "status is not for everybody" inside sh -c '! setpriv --reuid=nobody --clear-groups holdfast status'
first=$(inside systemctl show -P MainPID holdfast)
check "upgrades" inside dpkg -i --force-confdef --force-confold /deb/new.deb
check "the upgrade restarts it" within 15 replaced "$first"
check "it is active" active holdfast.service
first=$(inside systemctl show -P MainPID holdfast)
inside sh -c "kill -KILL $first"
check "killed, it comes back" within 15 replaced "$first"
first=$(inside systemctl show -P MainPID holdfast)
inside sh -c "kill -QUIT $first" # Go shows its stacks and ends as it does in a crash
check "crashed, it comes back" within 15 replaced "$first"

# A broker, an operator and a service, and the way from the one to the other.
check "the operator's program installs" inside dpkg -i /deb/ctl.deb
inside sh -c 'printf "[Service]\nExecStart=/bin/sleep infinity\n" >/run/systemd/system/victim.service'
check "a service to look after" inside systemctl start victim.service
check "a broker" inside systemd-run --quiet --unit=hub holdfastctl hub --state -
inside systemctl restart holdfast.service
check "the link comes up" within 15 inside sh -c 'holdfast status | grep -q "^link *up"'
check "it measures the service" within 15 inside sh -c 'holdfast status | grep -q "^units victim.service .*state=active"'
check "it answers" inside holdfastctl command pump ping
first=$(inside systemctl show -P MainPID victim)
check "it has the warden restart the service" inside holdfastctl command pump unit.restart unit=victim.service
check "the service was restarted" inside sh -c "[ \$(systemctl show -P MainPID victim) != $first ]"
check "the warden is root" inside sh -c '[ "$(stat -c %U /proc/$(systemctl show -P MainPID holdfast-warden))" = root ]'
check "its limits are its own" is /var/lib/holdfast-warden "700 root root"
check "another service is refused" not inside holdfastctl command pump unit.restart unit=dbus.service
inside setpriv --reuid=nobody --regid=holdfast --clear-groups perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Peer => shift) or die $!' /run/holdfast/warden.sock
check "the warden answers the agent's user only" within 5 inside sh -c 'journalctl -u holdfast-warden | grep -q "refused a caller.*user 65534"'
# Lines of memory. Their process is another user's, and what the agent's end means for them is seen in its log.
inside sh -c "printf '[lines.pump]\ndriver = \"sim\"\noutput = true\n[lines.door]\ndriver = \"sim\"\n' >>$toml"
check "lines that are configured have an owner" inside systemctl restart holdfast-lines.service holdfast.service
check "it is active" active holdfast-lines.service
owner=$(inside systemctl show -P MainPID holdfast-lines)
check "as its own user" inside sh -c "[ \$(stat -c %U /proc/$owner) = holdfast-lines ]"
check "which is not in the agent's group" inside sh -c "! id -nG holdfast-lines | tr ' ' '\\n' | grep -qx holdfast"
check "its socket is root's" is /run/holdfast/lines.sock "660 root holdfast"
check "the link is up" within 15 inside sh -c 'holdfast status | grep -q "^link *up"'
check "the agent reads them" within 15 inside sh -c 'holdfast status | grep -q "^gpio door .*level=0"'
check "the cloud switches them" within 5 inside holdfastctl command pump relay.set name=pump on=true
check "and for a while" within 5 inside holdfastctl command pump relay.pulse name=pump on=true seconds=0.2
inside setpriv --reuid=nobody --regid=holdfast --clear-groups perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Peer => shift) or die $!' /run/holdfast/lines.sock
check "they answer the agent's user only" within 5 inside sh -c 'journalctl -u holdfast-lines | grep -q "refused a caller.*user 65534"'
first=$(inside systemctl show -P MainPID holdfast)
inside sh -c "kill -STOP $first"
check "the agent hangs and they are safe" within 4 inside sh -c 'journalctl -u holdfast-lines | grep -q "no sign of life"'
inside sh -c "kill -CONT $first"
check "the agent is back" within 4 inside sh -c 'journalctl -u holdfast-lines | grep -q "beats are back; the outputs stay safe"'
inside sh -c "kill -KILL $owner"
check "killed, their owner comes back" within 10 inside sh -c "pid=\$(systemctl show -P MainPID holdfast-lines); [ \$pid != 0 ] && [ \$pid != $owner ]"
check "and the agent goes on with it" within 15 inside holdfastctl command pump relay.set name=pump on=true
owner=$(inside systemctl show -P MainPID holdfast-lines)
inside sh -c "kill -STOP $owner"
check "hanging, their owner is replaced" within 20 inside sh -c "pid=\$(systemctl show -P MainPID holdfast-lines); [ \$pid != 0 ] && [ \$pid != $owner ]"
inside sh -c 'grep VmRSS /proc/$(systemctl show -P MainPID holdfast-lines)/status' || true

check "the warden leaves when nobody asks" within 45 not active holdfast-warden.service

first=$(inside systemctl show -P MainPID holdfast)
inside sed -i 's|^# period = .*|period = "2s"|' "$toml"
check "reloads" inside systemctl reload holdfast.service
check "and says so" within 5 inside sh -c 'journalctl -u holdfast | grep -q "configuration reloaded"'
inside sh -c "echo 'nonsense = 1' >>$toml"
check "reloads what is wrong" inside systemctl reload holdfast.service
check "which changes nothing and is told" within 5 inside sh -c 'journalctl -u holdfast | grep -q "not reloaded.*holdfast.toml:[0-9]*:1: no such key"'
check "by the same process" inside sh -c "[ \$(systemctl show -P MainPID holdfast) = $first ]"
check "a warden with such a file does nothing" not inside holdfastctl command pump unit.restart unit=victim.service
check "its socket lives through that" active holdfast-warden.socket
inside sed -i '/^nonsense/d' "$toml"
check "and when the file is right, so is the warden" within 5 inside holdfastctl command pump unit.restart unit=victim.service
inside sh -c "kill -STOP $first"
check "hanging, it is replaced within 75 s" within 75 replaced "$first"
check "the link comes up again" within 15 inside sh -c 'holdfast status | grep -q "^link *up"'
check "stops" inside systemctl stop holdfast.service
check "and has said so" inside sh -c 'holdfastctl watch --once --json | grep -q "\"online\":false.*\"reason\":\"stopped\""'
check "a stop is no failure" not inside systemctl is-failed holdfast.service
check "removes" inside dpkg -r holdfast
check "nothing of it runs" inside sh -c '! grep -sqx holdfast /proc/[0-9]*/comm'
check "purges" inside dpkg -P holdfast
check "no unit is left" not inside systemctl cat holdfast.service holdfast-warden.socket
check "no failed unit" inside sh -c '! systemctl --failed --no-legend | grep -q holdfast'

verdict
