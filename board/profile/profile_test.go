package profile_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"holdfast/board/profile"
)

const good = `title = "A board"
compatible = ["acme,board-2", "acme,board"]
verified = true
bootloader = "uboot-rauc"
watchdog = "acme"
[parts.root]
a = "PARTLABEL=root-a"
b = "/dev/mmcblk0p3"
[lines]
PIN11 = "gpio3:17"
RELAY = "P9_11 [uart4_rxd]"
`

func load(t *testing.T, user fstest.MapFS) map[string]*profile.Profile {
	t.Helper()
	all, err := profile.Load(user)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTheShippedBoardsAreFoundByTheirDeviceTree(t *testing.T) {
	all := load(t, nil)
	for compatible, want := range map[string]string{
		"raspberrypi,3-model-b brcm,bcm2837":              "raspberry-pi-3",
		"raspberrypi,3-model-b-plus brcm,bcm2837":         "raspberry-pi-3",
		"raspberrypi,4-model-b brcm,bcm2711":              "raspberry-pi-4",
		"raspberrypi,5-model-b brcm,bcm2712":              "raspberry-pi-5",
		"raspberrypi,model-zero-2-w brcm,bcm2837":         "raspberry-pi-zero-2-w",
		"ti,am335x-bone-black ti,am335x-bone ti,am33xx":   "beaglebone-black",
		"radxa,zero-3w rockchip,rk3566":                   "radxa-zero-3",
		"radxa,rock-5b rockchip,rk3588":                   "rock-5b",
		"friendlyarm,nanopc-t6 rockchip,rk3588":           "nanopc-t6",
		"fsl,imx8mm-evk fsl,imx8mm":                       "imx8mm-evk",
		"fsl,imx8mp-evk fsl,imx8mp":                       "imx8mp-evk",
		"xunlong,orangepi-zero2 allwinner,sun50i-h616":    "orangepi-zero-2",
		"linux,dummy-virt":                                "qemu-virt",
		"rockchip,rk3588":                                 "",
		"raspberrypi,2-model-b brcm,bcm2836 brcm,bcm2837": "",
	} {
		p, err := profile.Match(all, strings.Fields(compatible))
		got := ""
		if p != nil {
			got = p.Name
		}
		if err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", compatible, got, err, want)
		}
	}
	if len(all) != 12 {
		t.Errorf("%d boards: the table above has another number", len(all))
	}
}

func TestNoTwoLinesOfABoardAreAtOnePlaceButByAnotherKindOfName(t *testing.T) {
	for name, p := range load(t, nil) {
		seen := map[string]string{}
		for _, line := range slices.Sorted(maps.Keys(p.Lines)) {
			kind := strings.TrimRight(line, "0123456789")
			if other := seen[kind+" "+p.Lines[line]]; other != "" {
				t.Errorf("%s: %s and %s are both %s", name, other, line, p.Lines[line])
			}
			seen[kind+" "+p.Lines[line]] = line
		}
	}
}

func TestHeaderPinsLeadToTheGPIOsOfTheVendorsTable(t *testing.T) {
	all := load(t, nil)
	for _, tt := range []struct{ board, line, want string }{
		{"raspberry-pi-4", "PIN11", "GPIO17"},
		{"raspberry-pi-5", "PIN40", "GPIO21"},
		{"raspberry-pi-zero-2-w", "GPIO27", "GPIO27"},
		{"beaglebone-black", "P9_12", "P9_12"},
		{"radxa-zero-3", "PIN11", "gpio3:1"},
		{"rock-5b", "PIN3", "gpio4:11"},
		{"nanopc-t6", "PIN11", "gpio3:18"},
		{"orangepi-zero-2", "PIN7", "300b000.pinctrl:73"},
		{"qemu-virt", "GPIO0", "9030000.pl061:0"},
	} {
		if got, ok := all[tt.board].Line(tt.line); !ok || got != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.board, tt.line, got, tt.want)
		}
	}
	if _, ok := all["qemu-virt"].Line("GPIO3"); ok {
		t.Error("the power button of qemu-virt has a name")
	}
	if _, ok := (*profile.Profile)(nil).Line("GPIO3"); ok {
		t.Error("no board has a line")
	}
}

func TestAnUnverifiedBoardDrivesNothingUnlessThatIsAccepted(t *testing.T) {
	if err := (&profile.Profile{Name: "x"}).Outputs(false); err == nil || !strings.Contains(err.Error(), "x") {
		t.Errorf("unverified: %v", err)
	}
	for name, err := range map[string]error{
		"accepted": (&profile.Profile{}).Outputs(true),
		"verified": (&profile.Profile{Verified: true}).Outputs(false),
		"no board": (*profile.Profile)(nil).Outputs(false),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAFileOfTheUsersReplacesTheBoardOfItsName(t *testing.T) {
	all := load(t, fstest.MapFS{"rock-5b.toml": {Data: []byte(good)}, "mine.toml": {Data: []byte(strings.ReplaceAll(good, "acme,", "mine,"))}})
	if all["rock-5b"].Title != "A board" || all["mine"] == nil || all["raspberry-pi-4"] == nil {
		t.Errorf("boards: %v", slices.Sorted(maps.Keys(all)))
	}
	if p, err := profile.Select(all, "mine", []string{"acme,board"}); err != nil || p.Name != "mine" {
		t.Errorf("named: %+v, %v", p, err)
	}
	if p, err := profile.Select(all, "", []string{"acme,other", "acme,board"}); err != nil || p.Name != "rock-5b" {
		t.Errorf("matching: %+v, %v", p, err)
	}
	if _, err := profile.Select(all, "rock-5c", nil); err == nil || !strings.Contains(err.Error(), "rock-5b") {
		t.Errorf("unknown: %v", err)
	}
	twice := load(t, fstest.MapFS{"one.toml": {Data: []byte(good)}, "two.toml": {Data: []byte(good)}})
	if _, err := profile.Match(twice, []string{"acme,board"}); err == nil || !strings.Contains(err.Error(), "one and two") {
		t.Errorf("two for one board: %v", err)
	}
}

func TestAWrongFileIsRefusedWithItsPlace(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"unknown key", good + "[wiring]\n", "boards.d/x.toml:12:"},
		{"wrong type", strings.Replace(good, "true", `"yes"`, 1), "boards.d/x.toml:3:12:"},
		{"not TOML", "title = ", "boards.d/x.toml:1:"},
		{"no title", strings.Replace(good, "A board", "", 1), "title"},
		{"matches nothing", `title = "x"`, "compatible"},
		{"odd compatible", strings.Replace(good, "acme,board-2", "acme board", 1), "acme board"},
		{"odd bootloader", strings.Replace(good, "uboot-rauc", "rm -rf", 1), "bootloader"},
		{"one place", strings.Replace(good, "/dev/mmcblk0p3", "PARTLABEL=root-a", 1), "parts.root"},
		{"no place", strings.Replace(good, "/dev/mmcblk0p3", "mmcblk0p3", 1), "parts.root"},
		{"odd line", strings.Replace(good, "PIN11", `"PIN 11"`, 1), "lines.PIN 11"},
		{"odd place of a line", strings.Replace(good, "gpio3:17", `a\tb`, 1), "lines.PIN11"},
		{"long", good + strings.Repeat("#\n", 20000), "longer"},
	} {
		_, err := profile.Load(fstest.MapFS{"x.toml": {Data: []byte(tt.text)}})
		var e *profile.Error
		if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.As(err, &e) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if _, err := profile.Load(fstest.MapFS{"My Board.toml": {Data: []byte(good)}}); err == nil {
		t.Error("a name with a space was taken")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := profile.Parse("x.toml", "x", text)
		if err != nil {
			return
		}
		for name, spec := range p.Lines {
			if got, ok := p.Line(name); !ok || got != spec || spec == "" || len(spec) > 100 {
				t.Fatalf("line %q: %q", name, spec)
			}
		}
	})
}
