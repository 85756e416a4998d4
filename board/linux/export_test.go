package linux

// Parsers of what the kernel and the tools print, for fuzzing.
var (
	ParseMounts    = parseMounts
	ParseCmdline   = parseCmdline
	ParseEnvConfig = parseEnvConfig
	ParseDump      = parseDump
	ParseRAUC      = parseRAUC
	ParseMender    = parseMender
	PairLabels     = pairLabels
)

// Mounted returns what fuzzing compares of a mount.
func (m mount) Mounted() (point string, readOnly bool) { return m.point, m.readOnly }

// The seam of GPIO chips, for chips of memory.
type (
	GPIOChip    = gpioChip
	GPIORequest = gpioRequest
)

// ParseLine returns where a line's name points.
func ParseLine(s string) (chip string, offset int, name string, err error) {
	at, err := parseLine(s)
	return at.chip, at.offset, at.name, err
}

// Over returns the options with chips of memory.
func (o LineOptions) Over(open func(path string) (GPIOChip, error)) LineOptions {
	o.open = open
	return o
}

// Chips is the function of this name, over chips of memory.
func (o LineOptions) Chips() ([]Chip, error) { return o.chips() }

// Watch has f called after each write of a bootloader's files.
func (b *GRUB) Watch(f func())    { b.after = f }
func (b *Tryboot) Watch(f func()) { b.after = f }
func (b *SDBoot) Watch(f func())  { b.after = f }
