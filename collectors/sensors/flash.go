package sensors

import (
	"bytes"
	"strconv"
	"strings"

	"holdfast/collectors"
	"holdfast/collectors/doubt"
)

// flash reads what eMMC, an SD card or UFS says of its wear and of itself. eMMC: Documentation/driver-api/mmc/mmc-dev-attrs.rst
// and JESD84-B51; an SD card's specification has no wear, and it only names itself. UFS: Documentation/ABI/testing/sysfs-driver-ufs.
// The kernel asks an eMMC once, when it finds it (mmc_init_card); UFS is asked at each reading.
func flash(h *things, t *thing, s *collectors.Sample) doubt.Fault {
	a, b := h.lives(t.dir)
	over := false
	for i, life := range [...]int{a, b} {
		if life >= 1 && life <= 11 { // 1: up to 10 % used … 10: up to 100 %, 11: more; 0: not told
			over = over || life == 11
			s.Num([...]string{"worn_a_ratio", "worn_b_ratio"}[i], float64(min(life, 10))/10)
		}
	}
	if len(s.Fields) > 0 {
		truth(s, "worn_out", over)
	}
	for _, name := range [...]string{"/pre_eol_info", "/eol_info"} {
		if eol := hex(h.first(t.dir + name)); eol >= 1 && eol <= 3 {
			s.Str("reserve", [...]string{"normal", "warning", "urgent"}[eol-1])
			break
		}
	}
	for _, f := range [...]struct{ file, field string }{{"name", "product"}, {"manfid", "manufacturer"}, {"date", "made"}} {
		if text := h.r.label(t.dir + "/" + f.file); text != "" {
			s.Str(f.field, text)
		}
		if t.told {
			break // the product says that it is still there
		}
	}
	return doubt.None
}

// lives reads the two estimates: of the cells that are used with one bit each, and of the others.
func (h *things) lives(dir string) (a, b int) {
	if text, err := h.r.text(dir + "/life_time"); err == nil { // eMMC: "0x02 0x01"
		first, second, _ := bytes.Cut(text, []byte{' '})
		return hex(first), hex(second)
	}
	a = hex(h.first(dir + "/life_time_estimation_a"))
	return a, hex(h.first(dir + "/life_time_estimation_b"))
}

func (h *things) first(path string) []byte {
	b, _ := h.r.text(path)
	return b
}

// hex reads 0x0b; -1 for what is no such number.
func hex(b []byte) int {
	digits, _ := bytes.CutPrefix(b, []byte("0x"))
	if len(digits) == 0 || len(digits) > 8 {
		return -1
	}
	n, err := strconv.ParseUint(string(digits), 16, 31)
	if err != nil {
		return -1
	}
	return int(n)
}

// ufs lists the UFS hosts, whose wear is no attribute of a disk.
func ufs(sys string) []*thing {
	var list []*thing
	drivers := sys + "/bus/platform/drivers/"
	for _, driver := range entries(drivers) {
		if !strings.HasPrefix(driver, "ufshcd") {
			continue
		}
		for _, host := range entries(drivers + driver) {
			dir := drivers + driver + "/" + host + "/health_descriptor"
			if len(entries(dir)) > 0 {
				list = append(list, &thing{name: host, at: host, dir: dir})
			}
		}
	}
	return list
}
