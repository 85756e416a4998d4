// Package config is the configuration file of holdfast: its keys, their defaults, and a strict reader that says where it
// is wrong. It fills in what the parts need; nothing else in the program reads files or the environment for settings.
package config

import "time"

// DefaultPath is where holdfast looks when it is told nothing else.
const DefaultPath = "/etc/holdfast/holdfast.toml"

// A Config is the whole file. Default returns it with every default filled in; the doc tags are the reference in
// docs/configuration.md.
type Config struct {
	ID       string `toml:"id" doc:"The name the cloud knows this device by: 1 to 64 letters, digits, '-', '_' or '.'. Empty: the host name, or the start of the machine id."`
	StateDir string `toml:"state_dir" doc:"Where the last good desired state, the command ledger and the spool are kept. It must survive updates: not on a slot."`
	RunDir   string `toml:"run_dir" doc:"Where the sockets are made."`
	Root     string `toml:"root" doc:"The directory below which proc and sys are read. Other than / only for tests."`
	Vouched  bool   `toml:"clock_vouched" doc:"The wall clock is right without NTP, because the board has a battery-backed clock you answer for."`

	Board            string `toml:"board" doc:"The profile of this board, such as raspberry-pi-4: one of those shipped, or of /etc/holdfast/boards.d. Empty: the one that matches the device tree, if any. See docs/boards.md."`
	AcceptUnverified bool   `toml:"accept_unverified_board" doc:"Drive outputs by names of a profile that nobody verified on the board itself. A wrong name drives another line."`

	Labels map[string]string `toml:"labels" doc:"Free-form labels, reported in the shadow; the desired ones are added to them."`

	Broker     Broker               `toml:"broker" doc:"The connection to the cloud."`
	AWS        AWS                  `toml:"aws" doc:"Settings of the dialect \"aws\"."`
	Telemetry  Telemetry            `toml:"telemetry" doc:"What every collector does unless its own section says otherwise."`
	Collectors map[string]Collector `toml:"collectors" doc:"One section a source, such as [collectors.cpu]; see docs/measures.md for their names."`
	Disk       Disk                 `toml:"disk" doc:"What the disk sources look at."`
	Network    Network              `toml:"network" doc:"What the network source looks at."`
	Probe      Probe                `toml:"probe" doc:"Trying the way to the cloud; see docs/probes.md."`
	Units      Units                `toml:"units" doc:"systemd units."`
	Journal    Journal              `toml:"journal" doc:"Following the system's log."`
	Lines      map[string]Line      `toml:"lines" doc:"GPIO lines by name, such as [lines.pump]; see docs/lines.md. holdfast lines owns them. The cloud cannot change any of it."`
	Sensors    map[string]Sensor    `toml:"sensors" doc:"What is believed of sensors, such as [sensors.boiler]; see docs/sensors.md. Of several sections for one measure the first by name counts."`
	I2C        map[string]I2C       `toml:"i2c" doc:"Chips on I2C buses that no driver of the kernel has, such as [i2c.cellar]; see docs/sensors.md."`
	Spool      Spool                `toml:"spool" doc:"What is kept when the link is down."`
	Commands   Commands             `toml:"commands" doc:"What the cloud may ask for."`
	Limits     Limits               `toml:"limits" doc:"The most that may be done to this machine, whoever asks. Kept by the warden across power cuts; the cloud cannot change them."`
	Thresholds Thresholds           `toml:"thresholds" doc:"Limits in percent that rules can name; the shadow's cpu, memory and network override them."`
	Rules      Rules                `toml:"rules" doc:"What is noticed; see docs/alerts.md. The cloud cannot change it but by signed content."`
	Diagnosis  Diagnosis            `toml:"diagnosis" doc:"How faults are named that no rule names; see docs/diagnosis.md. The cloud cannot change it but by signed content."`
	Repairs    Repairs              `toml:"repairs" doc:"What is done about faults that have a name; see docs/playbooks.md. The cloud cannot change it but by signed content."`
	Shadow     Shadow               `toml:"shadow" doc:"How a desired change is tried."`
	Warden     Warden               `toml:"warden" doc:"The process with power."`
	Update     Update               `toml:"update" doc:"Moving the machine from one signed image to the next; see docs/updates.md. The cloud cannot change any of it."`
	Power      Power                `toml:"power" doc:"Restarting the machine."`
	Scripts    Scripts              `toml:"scripts" doc:"Scripts the warden may run by name."`
	Clean      map[string]Clean     `toml:"clean" doc:"Old files the warden may delete, such as [clean.logs]; see docs/actuators.md. The cloud cannot change any of it."`
	Interfaces Interfaces           `toml:"interfaces" doc:"Network interfaces."`
	Log        Log                  `toml:"log" doc:"The agent's own log."`
}

// Broker is the connection.
type Broker struct {
	URLs         []string `toml:"urls" doc:"Where the broker is: mqtts://host:8883 or mqtt://host:1883; several are tried in turn."`
	Dialect      string   `toml:"dialect" doc:"How it is spoken to: plain or aws."`
	TopicRoot    string   `toml:"topic_root" doc:"First level of every topic of the dialect plain."`
	User         string   `toml:"user" doc:"User name; empty: none."`
	PasswordFile string   `toml:"password_file" doc:"File whose first line is the password."`
	CAFile       string   `toml:"ca_file" doc:"PEM file of the authorities that may sign the broker's certificate. Empty: the system's."`
	CertFile     string   `toml:"cert_file" doc:"PEM file of this device's certificate, read again when it changes."`
	KeyFile      string   `toml:"key_file" doc:"PEM file of the certificate's key."`
	ServerName   string   `toml:"server_name" doc:"The name the broker's certificate must carry, where it is not the host in the URL."`
	KeepAlive    Duration `toml:"keep_alive" doc:"How long the line may be silent before it is probed. 30s to 20m."`
	MinBackoff   Duration `toml:"min_backoff" doc:"Upper bound of the first random pause between attempts to connect."`
	MaxBackoff   Duration `toml:"max_backoff" doc:"Upper bound of the longest one."`
}

// AWS is for the dialect of AWS IoT Core.
type AWS struct {
	Shadow string `toml:"shadow" doc:"Name of a named shadow. Empty: the classic one."`
}

// Telemetry is every collector's default.
type Telemetry struct {
	Period     Duration `toml:"period" doc:"How often a source is read. 100ms to 24h."`
	Digest     Duration `toml:"digest" doc:"Reduce each measure over such a window to count, mean, min, max and quantiles before it is sent. 0s: send every reading."`
	Linger     Duration `toml:"linger" doc:"How long readings are gathered into one message."`
	BatchBytes Bytes    `toml:"batch_bytes" doc:"Largest message of readings. 1KiB to 60KiB."`
	InFlight   int      `toml:"in_flight" doc:"Messages sent and not yet acknowledged. 1 to 32."`
}

// Collector is one source's own settings; what is absent is Telemetry's.
type Collector struct {
	Enabled  *bool     `toml:"enabled" doc:"Whether the source is read."`
	Period   *Duration `toml:"period" doc:"How often it is read."`
	Digest   *Duration `toml:"digest" doc:"The window its measures are reduced over; 0s sends every reading."`
	Deadband *float64  `toml:"deadband" doc:"Send a measure only when it has moved by this share of its last sent value, or ten times the period has passed. 0: always."`
	PerCore  bool      `toml:"per_core" doc:"For cpu: each core as well."`
	Edges    *int      `toml:"edges_per_second" doc:"For gpio: how many edges of a line are told in a second; those beyond are counted. 50 where not set, 1 to 1000."`
}

// Disk is what the disk source looks at.
type Disk struct {
	Mounts []string `toml:"mounts" doc:"Mount points whose usage is reported."`
}

// Network is what the network source looks at.
type Network struct {
	Include  []string `toml:"include" doc:"Interfaces, as shell patterns. Empty: all but lo and those of containers."`
	Exclude  []string `toml:"exclude" doc:"Interfaces to leave out."`
	Capacity Bits     `toml:"capacity" doc:"What counts as 100 percent of the network in the shadow, for interfaces that do not know their speed."`
}

// Units are systemd's.
type Units struct {
	Watch   []string `toml:"watch" doc:"Units whose state is reported. The shadow may replace the list."`
	Restart []string `toml:"restart" doc:"Units the command unit.restart may name. The cloud cannot change this list."`
}

// Journal follows the log.
type Journal struct {
	Follow         bool     `toml:"follow" doc:"Send new records of the log as samples."`
	Units          []string `toml:"units" doc:"Only of these units. Empty: of all."`
	Priority       string   `toml:"priority" doc:"Only of this priority or worse: emerg alert crit err warning notice info debug."`
	LinesPerMinute int      `toml:"lines_per_minute" doc:"More are counted and dropped. 1 to 6000."`
	LineBytes      Bytes    `toml:"line_bytes" doc:"A longer message is cut."`
}

// Spool is the log of what is not yet delivered.
type Spool struct {
	LimitBytes Bytes    `toml:"limit" doc:"The most it takes of the disk; then the oldest readings go first, with a gap record."`
	RAMBytes   Bytes    `toml:"ram" doc:"The most readings take in memory while the link is up."`
	HoldOff    Duration `toml:"hold_off" doc:"How long the link may be down before readings go to the disk. Events always do at once."`
}

// Commands are the cloud's.
type Commands struct {
	Allow []string `toml:"allow" doc:"Names of the commands that may be given. Anything else is refused."`
}

// Limits are the warden's.
type Limits struct {
	RebootsPerHour int `toml:"reboots_per_hour" doc:"Reboots in an hour."`
	RebootsPerDay  int `toml:"reboots_per_day" doc:"Reboots in a day."`
	RepairsPerHour int `toml:"repairs_per_hour" doc:"Unit restarts, scripts, clean-ups and interfaces in an hour."`
	RepairsPerDay  int `toml:"repairs_per_day" doc:"The same in a day."`
}

// Thresholds are limits in percent.
type Thresholds struct {
	CPU     float64 `toml:"cpu" doc:"Busy share of the processor, in percent."`
	Memory  float64 `toml:"memory" doc:"Used share of the memory, in percent."`
	Network float64 `toml:"network" doc:"Used share of the network's capacity, in percent."`
}

// Rules are what alerts come from.
type Rules struct {
	Dir     string `toml:"dir" doc:"A directory of rules in EPL, *.epl, read in the order of their names at the start and at a reload. Empty: nothing is judged."`
	Content bool   `toml:"content" doc:"The rules in what updates of content bring (update.content) are read after those of dir."`
}

// Diagnosis is what names faults.
type Diagnosis struct {
	Model   string `toml:"model" doc:"A model that names faults from the last rows of DeviceStatus, such as /usr/share/holdfast/models/starter.hfm. What it asks for is read as often as it wants rows. Empty: rules alone name faults."`
	Content bool   `toml:"content" doc:"The model in what updates of content bring (update.content) is used; the one above while there is none."`
}

// Repairs are what is done about faults.
type Repairs struct {
	Dir     string   `toml:"dir" doc:"A directory of playbooks, *.toml, beside those that come with the package; a file here takes the place of one of the same name there. Empty: nothing is repaired."`
	Content bool     `toml:"content" doc:"The playbooks in what updates of content bring (update.content) are read behind the package's and before those of dir."`
	Armed   []string `toml:"armed" doc:"Faults that are repaired, such as mem_leak. Of the rest it is told what would be done."`
	OffFile string   `toml:"off_file" doc:"While there is a file of this name nothing is repaired. Empty: there is no such switch."`
}

// Shadow is how a change is tried.
type Shadow struct {
	LimitBytes Bytes    `toml:"limit" doc:"Largest desired document that is read. At most 32KiB."`
	Trial      Duration `toml:"trial" doc:"How long a change must hold, with the link up, before it is the last good one."`
	LinkGrace  Duration `toml:"link_grace" doc:"How long the link may stay away during the trial before the change is rolled back."`
}

// Warden is the process with power.
type Warden struct {
	Socket string   `toml:"socket" doc:"The socket it listens on. Empty: warden.sock in run_dir."`
	User   string   `toml:"user" doc:"The user the agent runs as; nobody else but root may ask."`
	Idle   Duration `toml:"idle" doc:"How long it waits for work before it ends; systemd starts it again when it is asked."`
}

// Power is how the machine is restarted.
type Power struct {
	Reboot []string `toml:"reboot" doc:"Program and arguments that restart the machine. Empty: systemd is asked."`
}

// Scripts are what the warden may run.
type Scripts struct {
	Dir     string   `toml:"dir" doc:"A directory of executables that only root can write; see docs/actuators.md."`
	Timeout Duration `toml:"timeout" doc:"How long a script may take before it is ended, where its declaration does not say."`
}

// Clean is what the command clean may delete under one name.
type Clean struct {
	Paths     []string `toml:"paths" doc:"Patterns of files, such as /var/log/app/*.log.*; a component ** stands for any directories, also none. Links are not followed, file systems are not left."`
	OlderThan Duration `toml:"older_than" doc:"Only what was last written that long ago. 0s: age does not matter."`
	KeepBytes Bytes    `toml:"keep_bytes" doc:"The newest files are kept, as many as fit. 0: none."`
}

// Interfaces are the network's.
type Interfaces struct {
	Cycle []string `toml:"cycle" doc:"Interfaces the command interface.cycle may name: it takes them down and up again. The cloud cannot change this list."`
}

// Log is the agent's own.
type Log struct {
	Level string `toml:"level" doc:"debug, info, warn or error."`
}

// Default returns the configuration of an empty file.
func Default() Config {
	return Config{
		StateDir: "/var/lib/holdfast",
		RunDir:   "/run/holdfast",
		Root:     "/",
		Broker: Broker{Dialect: "plain", TopicRoot: "holdfast", KeepAlive: Duration(60 * time.Second),
			MinBackoff: Duration(time.Second), MaxBackoff: Duration(5 * time.Minute)},
		Telemetry: Telemetry{Period: Duration(10 * time.Second), Linger: Duration(time.Second),
			BatchBytes: 32 << 10, InFlight: 16},
		Disk:    Disk{Mounts: []string{"/"}},
		Network: Network{Capacity: 100e6},
		Journal: Journal{Priority: "warning", LinesPerMinute: 60, LineBytes: 1 << 10},
		Spool:   Spool{LimitBytes: 16 << 20, RAMBytes: 256 << 10, HoldOff: Duration(time.Minute)},
		Commands: Commands{Allow: []string{"ping", "sample", "relay.set", "relay.pulse", "unit.restart", "reboot",
			"log.tail", "update.status", "update.history", "update.pause", "update.resume", "update.cancel", "safe.leave"}},
		Limits:     Limits{RebootsPerHour: 3, RebootsPerDay: 10, RepairsPerHour: 20, RepairsPerDay: 100},
		Thresholds: Thresholds{CPU: 90, Memory: 90, Network: 90},
		Rules:      Rules{Dir: "/etc/holdfast/rules.d"},
		Repairs:    Repairs{Dir: "/etc/holdfast/playbooks.d", OffFile: "/etc/holdfast/repairs.off"},
		Shadow: Shadow{LimitBytes: 8 << 10, Trial: Duration(2 * time.Minute),
			LinkGrace: Duration(5 * time.Minute)},
		Warden:  Warden{User: "holdfast", Idle: Duration(30 * time.Second)},
		Update:  defaultUpdate(),
		Scripts: Scripts{Dir: "/usr/lib/holdfast/scripts", Timeout: Duration(time.Minute)},
		Log:     Log{Level: "info"},
	}
}
