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

# Scripts, each as a unit of its own. What is left of one would have 9871 on its command line.
scripts=/usr/lib/holdfast/scripts
put() { # name, what to declare, then the script
	mkdir -p "$root$scripts"
	printf '#!/bin/bash\n%s\n' "$3" >"$root$scripts/$1"
	chmod 755 "$root$scripts/$1"
	if [ -n "$2" ]; then printf "$2" >"$root$scripts/$1.toml"; fi
}
put look '[[arg]]\nname = "a"\nkind = "text"\noptional = true\n' 'printf "%s|\n" "$1"; id -u; grep -e ^CapBnd -e ^NoNewPrivs /proc/self/status
	[ "$(grep -c : /proc/net/dev)" = 1 ] && echo no network; touch /var/lib/mine 2>/dev/null || echo no files; ulimit -f'
put nobody 'user = "nobody"\nwrite = ["/var/lib/nobody"]\n' 'id -un; touch /var/lib/nobody/file && echo written'
put hangs 'timeout = "2s"\n' "trap '' TERM; setsid sleep 9871 & while :; do sleep 9871; done"
put floods 'timeout = "2s"\n' "trap '' TERM; yes 9871"
put forks 'timeout = "2s"\n' "trap '' TERM; while :; do setsid bash -c \"trap '' TERM; sleep 9871 & sleep 9871\" & done 2>/dev/null"
put detaches '' "setsid bash -c \"trap '' TERM HUP; sleep 9871\" & disown; sleep 0.3; echo gone"
put eats 'memory = "16MiB"\n' 'head -c 200M /dev/zero | tail -c 190M | wc -c | grep -qx 199229440'
put wrong 'taks = 3\n' 'exit 0'
inside install -d -o nobody /var/lib/nobody
said() { # text, then a command of which it must be in what it prints, whatever it ends with
	local want=$1
	shift
	"$@" >"$work/it" 2>&1 || true
	grep -qe "$want" "$work/it" || { cat "$work/it"; false; }
}
ask() { inside holdfastctl command pump "$@"; }
ended() { # seconds, then a script: it reaches its limit, and is gone that soon
	local began=$EPOCHREALTIME
	said "stopped at its time limit" ask script "name=$2"
	local took=$((${EPOCHREALTIME/./} / 1000 - ${began/./} / 1000))
	echo "      $2: limit 2 s, gone after $took ms" >>"$work/took"
	[ "$took" -le $(($1 * 1000)) ]
}
nothing() { inside sh -c '! grep -ls "[s]leep.9871\|[y]es.9871" /proc/[0-9]*/cmdline'; }
inside sh -c "printf '[clean.logs]\npaths = [\"/var/log/app/*.log.*\", \"/tmp/app/**/*.tmp\"]\nolder_than = \"1h\"\n[interfaces]\ncycle = [\"a0\"]\n' >>$toml"
inside sh -c "printf '[limits]\nrepairs_per_hour = 100\n[commands]\nallow = [\"ping\", \"unit.restart\", \"relay.set\", \"relay.pulse\", \"script\", \"clean\", \"interface.cycle\"]\n' >>$toml"
inside sh -c 'systemctl stop holdfast-warden.service; systemctl restart holdfast-warden.socket holdfast.service' 2>/dev/null
check "the link is up" within 15 inside sh -c 'holdfast status | grep -q "^link *up"'
true >"$work/took"
check "a script is a unit without rights" said '^output: .PATH .. .{HOME}|·0·CapBnd:·0000000000000000·NoNewPrivs:·1·no network·no files·65536·$' \
	ask script name=look 'args:=["$PATH $$ ${HOME}"]'
check "an argument that is not declared is refused" said "2 arguments, and 1 are declared" ask script name=look 'args:=["a","b"]'
check "a script of another user writes where it may" said "^output: nobody·written·$" ask script name=nobody
check "a script with a bad declaration is not offered" said '"wrong" is not among the choices' ask script name=wrong
check "which is in the log" inside sh -c 'journalctl -u holdfast-warden | grep -q "wrong is not offered: wrong.toml: line 1, column 1"'
check "one that hangs and ignores TERM is ended" ended 7 hangs
check "one that floods is ended" ended 7 floods
check "one that forks is ended" ended 7 forks
check "one that detaches leaves nothing" said "^output: gone" ask script name=detaches
check "one that eats memory does not get it" said "exit status 1" ask script name=eats
cat "$work/took"
check "no process of theirs is left" nothing
check "nor a unit" inside sh -c '! systemctl list-units --all --no-legend "holdfast-*" | grep -v -e lines -e warden -e trial -e holdfast.service | grep .'

inside sh -c 'mkdir -p /var/log/app /tmp/app/d /etc/app; chown nobody /var/log/app; cd /var/log/app; for i in 1 2 3; do head -c 100000 /dev/zero >a.log.$i; done
	echo >a.log; echo >/tmp/app/d/f.tmp; echo >/etc/app/b.log.1; ln -s /etc/app/b.log.1 c.log.1; chown nobody *; chmod 600 *; chmod 1777 /tmp/app
	systemd-run --quiet --unit=writer sh -c "exec sleep 1000 >>/var/log/app/a.log.3"; sleep 0.3; touch -d "2 hours ago" * /tmp/app/d/f.tmp /etc/app/b.log.1'
check "a clean-up is tried" said "^files: 3" ask clean name=logs dry=true
check "which deletes nothing" inside sh -c '[ "$(ls /var/log/app | wc -l)" = 5 ]'
check "a clean-up deletes" said "^files: 3" ask clean name=logs
check "what is listed, and not what somebody writes to or a link" inside sh -c '[ "$(cd /var/log/app; echo *)" = "a.log a.log.3 c.log.1" ] && [ -e /etc/app/b.log.1 ] && [ ! -e /tmp/app/d/f.tmp ]'
check "another is refused" not ask clean name=other

net() { nsenter -t "$one" -n ip "$@"; }
for line in "link add a0 type veth peer name b0" "link set a0 up" "link set b0 up" "addr add 10.9.0.1/24 dev a0" "-6 addr add 2001:db8::1/64 dev a0 nodad" \
	"route add 192.0.2.0/24 via 10.9.0.2 proto static"; do
	check "a network of its own" net $line
done
had=$(net route; net -6 addr show a0 scope global)
check "an interface is cycled" said "^restored: 2" ask interface.cycle interface=a0
check "and has what it had" [ "$(net route; net -6 addr show a0 scope global)" = "$had" ]
check "another is refused" not ask interface.cycle interface=lo
ask interface.cycle interface=a0 >"$work/cycle" 2>&1 &
cycle=$!
check "it goes down" within 5 not sh -c "nsenter -t $one -n ip link show a0 | grep -q '[<,]UP[,>]'"
inside sh -c 'systemctl kill --signal=KILL "holdfast-cycle-*.service"'
wait "$cycle" || true
check "killed meanwhile, it is up again" within 5 sh -c "nsenter -t $one -n ip link show a0 | grep -q '[<,]UP[,>]'"
check "and has what it had" [ "$(net route; net -6 addr show a0 scope global)" = "$had" ]
inside sh -c "printf '[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=60\n' >/run/systemd/system/victim.service; systemctl daemon-reload"
check "a service that dies at once is told" said "restart victim.service: it is activating (exit-code)" ask unit.restart unit=victim.service
inside sh -c "printf '[Service]\nExecStart=/bin/sleep infinity\n' >/run/systemd/system/victim.service; systemctl daemon-reload; systemctl restart victim.service"

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
