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
