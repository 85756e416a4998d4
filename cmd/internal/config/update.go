package config

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"holdfast/board/loaders"
	"holdfast/board/strict"
	"holdfast/update"
)

// Update is how the machine is moved from one signed image to the next.
type Update struct {
	Bootloader   string          `toml:"bootloader" doc:"What switches between the slots: uboot-rauc, uboot-mender, grub, tryboot (Raspberry Pi), systemd-boot, or model (a bootloader of files, for trying out). Empty: the system is not updated."`
	FromBoard    bool            `toml:"from_board" doc:"Take bootloader and parts from the board's profile where they are not set here. The system is updated then."`
	Agent        string          `toml:"agent" doc:"Directory in which the agent's own program is updated, such as /var/lib/holdfast-agent. Empty: the package's is the only one."`
	Content      string          `toml:"content" doc:"Directory in which bundles of content (rules, models, scripts) are updated, such as /var/lib/holdfast-content. Empty: there are none."`
	Compatible   []string        `toml:"compatible" doc:"What this board calls itself; a release must name one of them. Empty: what the device tree says."`
	Anchor       string          `toml:"anchor" doc:"The root of trust: the first root metadata of the repository, put there when the device was made."`
	Release      string          `toml:"release" doc:"File inside the image that says which release it is: {\"release\":\"name/version\",\"seq\":1}."`
	Repository   string          `toml:"repository" doc:"Where releases are, when a job names no repository: https://…, http://… or a directory."`
	Repositories []string        `toml:"repositories" doc:"What a job's repository must begin with. Empty: with repository where that is set, else anything."`
	CAFile       string          `toml:"ca_file" doc:"PEM file of the authorities that may sign the repository's certificate. Empty: the system's."`
	CertFile     string          `toml:"cert_file" doc:"PEM file of a certificate to show the repository. Empty: none."`
	KeyFile      string          `toml:"key_file" doc:"PEM file of that certificate's key."`
	Rate         Bytes           `toml:"rate" doc:"Bytes of patches a second at most; 0: no limit."`
	Window       string          `toml:"window" doc:"Times of day at which the device may restart into a new system, such as 22:30-05:00, in UTC with a Z at the end. Empty: any. A job may say otherwise."`
	Settle       Duration        `toml:"settle" doc:"How long a new system must be in order at a stretch before it is trusted."`
	Deadline     Duration        `toml:"deadline" doc:"How long after its start it must have been; otherwise the device goes back."`
	BackOff      Duration        `toml:"back_off" doc:"Pause before a release that failed its trial is tried again; four times as long before each further trial."`
	Trials       int             `toml:"trials" doc:"Failed trials after which a release is not tried again. 1 to 10."`
	Health       string          `toml:"health" doc:"Directory of programs that must all succeed before a new system is trusted."`
	Hooks        string          `toml:"hooks" doc:"Directory of programs that are told of before-download, before-arm, after-commit, after-rollback and progress."`
	HookLimit    Duration        `toml:"hook_limit" doc:"How long each of them may take."`
	Battery      int             `toml:"battery_percent" doc:"With less charge and no other supply nothing is updated. 0: whatever the charge."`
	Parts        map[string]Part `toml:"parts" doc:"What a slot consists of, such as [update.parts.root]; all parts are switched together. None: what RAUC's system.conf, Mender's mender.conf or the labels of the partitions say, if they agree."`
	UBoot        UBoot           `toml:"uboot" doc:"U-Boot's environment."`
	GRUB         GRUB            `toml:"grub" doc:"GRUB's environment."`
	Tryboot      Tryboot         `toml:"tryboot" doc:"The Raspberry Pi's autoboot.txt."`
	SystemdBoot  SystemdBoot     `toml:"systemd_boot" doc:"The entries of systemd-boot."`
}

// Part is one partition of each slot.
type Part struct {
	A string `toml:"a" doc:"Where it is in slot a: a path, or PARTLABEL=, PARTUUID=, LABEL= or UUID= and a name."`
	B string `toml:"b" doc:"Where it is in slot b."`
}

// UBoot is where the bootloader keeps its environment.
type UBoot struct {
	Config   string `toml:"config" doc:"fw_env.config: where the environment is."`
	Print    string `toml:"print" doc:"The program fw_printenv."`
	Set      string `toml:"set" doc:"The program fw_setenv."`
	Cmdline  string `toml:"cmdline" doc:"File with the kernel's command line, which tells the slot that runs. Empty: /proc/cmdline. Another is for trials."`
	A        string `toml:"a" doc:"How the bootloader calls slot a: a name for uboot-rauc, a partition number for uboot-mender."`
	B        string `toml:"b" doc:"How the bootloader calls slot b."`
	Attempts int    `toml:"attempts" doc:"Starts that uboot-rauc allows a slot that is trusted, before it tries the other. 1 to 9."`
}

// GRUB is where the bootloader keeps its environment.
type GRUB struct {
	Env      string `toml:"env" doc:"The environment block, outside the slots, on a file system that GRUB can write."`
	Copy     string `toml:"copy" doc:"Its copy, which GRUB's script reads where the first is damaged. Empty: there is none."`
	A        string `toml:"a" doc:"How GRUB's script calls slot a, in ORDER and in rauc.slot= on the kernel's command line."`
	B        string `toml:"b" doc:"How it calls slot b."`
	Attempts int    `toml:"attempts" doc:"Starts that GRUB's script allows a slot that is trusted: 3 with the slots.cfg that comes with Holdfast, 1 with RAUC's."`
}

// Tryboot is how a Raspberry Pi's firmware is told what to start.
type Tryboot struct {
	Autoboot string `toml:"autoboot" doc:"The file autoboot.txt, on the first partition."`
	A        int    `toml:"a" doc:"Number of slot a's boot partition."`
	B        int    `toml:"b" doc:"Number of slot b's boot partition."`
}

// SystemdBoot is where systemd-boot looks.
type SystemdBoot struct {
	ESP string `toml:"esp" doc:"Where the partition with loader/entries is mounted."`
}

func defaultUpdate() Update {
	return Update{
		GRUB:    GRUB{Env: "/boot/grub/grubenv", Copy: "/boot/grub/grubenv.copy", A: "A", B: "B", Attempts: 3},
		Tryboot: Tryboot{Autoboot: "/boot/firmware/autoboot.txt", A: 2, B: 3}, SystemdBoot: SystemdBoot{ESP: "/boot/efi"},
		UBoot:  UBoot{Config: "/etc/fw_env.config", Print: "/usr/bin/fw_printenv", Set: "/usr/bin/fw_setenv", Attempts: 3},
		Anchor: "/etc/holdfast/root.json", Release: "/usr/lib/holdfast/release.json",
		Settle: Duration(30 * time.Second), Deadline: Duration(10 * time.Minute), BackOff: Duration(time.Hour), Trials: 3,
		Health: "/usr/lib/holdfast/health.d", Hooks: "/usr/lib/holdfast/update.d", HookLimit: Duration(5 * time.Minute), Battery: 30,
	}
}

// Bootloaders are those that can be named.
func Bootloaders() []string {
	return []string{"uboot-rauc", "uboot-mender", "grub", "tryboot", "systemd-boot", "model"}
}

var (
	partPattern       = strict.Pattern(`^[a-z0-9][a-z0-9_.-]{0,31}$`)
	placePattern      = strict.Pattern(`^(PART)?(UUID|LABEL)=.`)
	repositoryPattern = strict.Pattern(`^(https?://[^/@\s?#]+(/[^\s?#]*)?|/[^\s]*)$`)
)

// check finds what is wrong with it.
func (u *Update) check(bad func(ok bool, key, problem string, args ...any), span func(d Duration, key string, lo, hi time.Duration)) {
	on := u.Bootloader != ""
	bad(!on || slices.Contains(Bootloaders(), u.Bootloader), "update.bootloader", "%q is none of %s", u.Bootloader, strings.Join(Bootloaders(), ", "))
	for name, p := range u.Parts {
		key := "update.parts." + name
		bad(partPattern(name), key, "a name is 1 to 32 of a-z, 0-9, '-', '_' and '.'")
		bad(p.A != "" && p.B != "" && p.A != p.B, key, "wants two different places, a and b")
		for _, place := range []string{p.A, p.B} {
			bad(filepath.IsAbs(place) || placePattern(place), key, "%q is neither a path nor PARTLABEL=…, PARTUUID=…, LABEL=… or UUID=…", place)
		}
	}
	bad(u.Agent == "" || filepath.IsAbs(u.Agent), "update.agent", "%q is no absolute path", u.Agent)
	bad(u.Content == "" || filepath.IsAbs(u.Content) && u.Content != u.Agent, "update.content", "%q is no absolute path of its own", u.Content)
	bad(u.UBoot.Attempts >= 1 && u.UBoot.Attempts <= 9, "update.uboot.attempts", "%d is not between 1 and 9", u.UBoot.Attempts)
	u.checkLoaders(bad)
	bad(u.Repository == "" || repositoryPattern(u.Repository), "update.repository", "%q is neither a directory nor an address such as https://updates.example.com/pump", u.Repository)
	for _, r := range u.Repositories {
		bad(repositoryPattern(r), "update.repositories", "%q is neither a directory nor an address such as https://updates.example.com/", r)
	}
	bad((u.CertFile == "") == (u.KeyFile == ""), "update.cert_file", "cert_file and key_file go together")
	bad(u.Rate >= 0, "update.rate", "%s is negative", u.Rate)
	_, err := update.ParseWindow(u.Window)
	bad(err == nil, "update.window", "%v", err)
	span(u.Settle, "update.settle", time.Second, time.Hour)
	span(u.Deadline, "update.deadline", time.Duration(u.Settle), 24*time.Hour)
	span(u.BackOff, "update.back_off", time.Second, 7*24*time.Hour)
	span(u.HookLimit, "update.hook_limit", time.Second, 24*time.Hour)
	bad(u.Trials >= 1 && u.Trials <= 10, "update.trials", "%d is not between 1 and 10", u.Trials)
	bad(u.Battery >= 0 && u.Battery <= 100, "update.battery_percent", "%d is not between 0 and 100", u.Battery)
}

// checkLoaders finds what is wrong with the bootloaders' own sections.
func (u *Update) checkLoaders(bad func(ok bool, key, problem string, args ...any)) {
	err := loaders.GRUB{Names: [2]string{u.GRUB.A, u.GRUB.B}, Attempts: u.GRUB.Attempts}.Check()
	bad(err == nil, "update.grub", "%v", err)
	err = loaders.Tryboot{Parts: [2]int{u.Tryboot.A, u.Tryboot.B}}.Check()
	bad(err == nil, "update.tryboot", "%v", err)
	for key, name := range map[string]string{"update.grub.env": u.GRUB.Env, "update.tryboot.autoboot": u.Tryboot.Autoboot, "update.systemd_boot.esp": u.SystemdBoot.ESP} {
		bad(filepath.IsAbs(name), key, "%q is no absolute path", name)
	}
	bad(u.GRUB.Copy == "" || filepath.IsAbs(u.GRUB.Copy) && u.GRUB.Copy != u.GRUB.Env, "update.grub.copy", "%q is no absolute path of its own", u.GRUB.Copy)
}
