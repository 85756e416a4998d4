# Holdfast. `make help` lists the targets. Nothing is needed beforehand but git, make, Go and a C compiler.

# The last tag, without its v; before there is one, 0.0.0 and the number and name of the commit.
VERSION ?= $(shell git describe --tags --exact-match --match 'v[0-9]*' 2>/dev/null | sed 's/^v//')
ifeq ($(strip $(VERSION)),)
VERSION := 0.0.0+git$(shell git rev-list --count HEAD 2>/dev/null || echo 0).$(shell git rev-parse --short HEAD 2>/dev/null || echo none)
endif
# Packages carry the time of the commit, so that the same commit makes the same package.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

DIST     := dist
LDFLAGS  := -s -w -X main.version=$(VERSION) -X main.builtAt=$(SOURCE_DATE_EPOCH)
GOBUILD   = go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'
DEVICES  := armv6 armv7 arm64 riscv64 amd64
OPERATOR := linux-amd64 linux-arm64 darwin-amd64 darwin-arm64 windows-amd64 windows-arm64
FUZZTIME ?= 5m

# What GOARCH and GOARM a device's name stands for.
env-armv6   := GOARCH=arm GOARM=6
env-armv7   := GOARCH=arm GOARM=7
env-arm64   := GOARCH=arm64
env-riscv64 := GOARCH=riscv64
env-amd64   := GOARCH=amd64

NATIVE := $(shell go env GOARCH)

.DEFAULT_GOAL := build
.PHONY: help build demo test bench bench-delta cut field field-measure lab lab-try faults starter storm fuzz cross sizes man deb nspawn layout clean FORCE

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

build: ## both programs for this machine, in bin/
	@mkdir -p bin
	CGO_ENABLED=0 $(GOBUILD) -o bin/holdfast ./cmd/holdfast
	$(GOBUILD) -o bin/holdfastctl ./cmd/holdfastctl

demo: ## see it work on this machine, within a minute
	@echo "Building holdfastctl; the first time this takes a minute or more." >&2
	@go run ./cmd/holdfastctl demo

# Built and then run, because `go run` would add a line of its own after the last.
test: ## every check, with the race detector and a little fuzzing, in less than half an hour
	@mkdir -p bin && go build -o bin/test .ci/*.go && bin/test $(TESTFLAGS)

# As root on Debian: it mounts a file system of its own, and measures collectd and node_exporter beside the agent.
bench: build $(DIST)/linux-armv7/holdfast ## measure, beside what it is compared with; BENCHFLAGS='-idle 1m' is shorter
	@go test -c -o bin/epl.test ./remediate/epl
	@go test -c -o bin/forest.test ./remediate/forest/foreign
	@go build -o bin/bench ./cmd/internal/bench && bin/bench $(BENCHFLAGS)

PAIRS ?=
bench-delta: ## measure patches beside bsdiff, xdelta3, zstd and zchunk: PAIRS=DIR of X.old and X.new
	@test -n "$(PAIRS)" || { echo 'hint: make bench-delta PAIRS=DIR, a directory of pairs X.old and X.new' >&2; exit 2; }
	@mkdir -p bin && go build -o bin/benchdelta ./cmd/internal/benchdelta && bin/benchdelta $(BENCHFLAGS) $(PAIRS)

STATES ?= 1000000
cut: ## cut the power at every moment of updates and recoveries, STATES (1000000) of them; about half an hour
	@mkdir -p bin && go test -c -o bin/cut.test ./update
	@cd update && HOLDFAST_CUT_STATES=$(STATES) GOGC=400 ../bin/cut.test -test.run '^TestAPowerCutAtAnyMoment$$' -test.timeout 6h >../bin/cut.log; \
		status=$$?; grep -v ' states, ' ../bin/cut.log; grep ' states, ' ../bin/cut.log; exit $$status

KILLS ?= 200
field: build ## update real slots on loop devices and kill both processes KILLS (200) times; about 25 minutes (as root)
	@go build -o bin/field ./cmd/internal/field && bin/field program && bin/field kills -n $(KILLS)

field-measure: build ## memory and time of an update of 200 MB on loop devices, and what a cut costs (as root)
	@go build -o bin/field ./cmd/internal/field && bin/field measure

$(DIST)/holdfast_$(VERSION)_arm64.deb: $(DIST)/linux-arm64/holdfast
	@VERSION='$(VERSION)' packaging/deb.sh $(DIST) arm64 >/dev/null

# What takes minutes to make is kept in HOLDFAST_LAB, /var/cache/holdfast-lab when it is not set.
lab: build $(DIST)/holdfast_$(VERSION)_arm64.deb ## a board in QEMU from its first boot to a full disk; LABFLAGS='-only 2,5' for some of it (as root, on Debian)
	@go build -o bin/story ./cmd/internal/story && bin/story -deb $(DIST)/holdfast_$(VERSION)_arm64.deb $(LABFLAGS)

lab-try: build $(DIST)/holdfast_$(VERSION)_arm64.deb ## the board of the lab, and a shell beside it (as root, on Debian)
	@go build -o bin/story ./cmd/internal/story && bin/story -deb $(DIST)/holdfast_$(VERSION)_arm64.deb -try

# As root on Debian. FAULTSFLAGS='-short' is some three minutes, '-only cpu_hog,net_loss' some of them, '-record DIR' records rows.
faults: build deb-$(NATIVE) ## inject real faults into a device in namespaces, and see what the agent names and repairs; an hour by reckoning (as root)
	@CGO_ENABLED=0 go build -o bin/faults ./cmd/internal/faults && \
		bin/faults -deb $(DIST)/holdfast_$(VERSION)_$(NATIVE).deb $(FAULTSFLAGS)

# The model that ships is made of recordings that are kept beside it, and of nothing else.
STARTER := packaging/models
starter: ## make the starter model of its recordings again, or with CHECK=1 look whether the same comes out
	@mkdir -p bin && go build -o bin/holdfastctl ./cmd/holdfastctl
	@bin/holdfastctl model train $(foreach f,$(sort $(wildcard $(STARTER)/*.csv.gz)),--data $(f)) --metrics $$(paste -sd, $(STARTER)/metrics) \
		--group rep --window 8 --seed 1 --out $(if $(CHECK),bin/starter.hfm,$(STARTER)/starter.hfm)
	@$(if $(CHECK),cmp bin/starter.hfm $(STARTER)/starter.hfm)

# As root on Debian, which brings QEMU and U-Boot; SEED, and a MUTANT to be noticed: no-sync or told-early.
N ?= 50
storm: ## cut the power of emulated boards N (50) times in the middle of updates; some 5 minutes
	@mkdir -p bin && go build -o bin/storm-boards ./cmd/internal/storm && \
		bin/storm-boards -n $(N) $(if $(SEED),-seed $(SEED)) $(if $(MUTANT),-mutant $(MUTANT))

fuzz: ## fuzz every parser for FUZZTIME (5m) in all
	@mkdir -p bin && go build -o bin/test .ci/*.go && bin/test -only fuzz -fuzz $(FUZZTIME)

cross: $(DEVICES:%=$(DIST)/linux-%/holdfast) $(OPERATOR:%=$(DIST)/%/holdfastctl) ## both programs for every machine, in dist/

# The linker leaves room for pages of 64 KiB between a program's parts; Linux on 32-bit ARM has pages of 4 KiB and no others.
$(DIST)/linux-armv6/holdfast $(DIST)/linux-armv7/holdfast: LDFLAGS += -R 0x1000

$(DIST)/linux-%/holdfast: FORCE
	CGO_ENABLED=0 GOOS=linux $(env-$*) $(GOBUILD) -o $@ ./cmd/holdfast

# Without cgo, so that it is made on any machine for any other; the native build has it.
$(DIST)/%/holdfastctl: FORCE
	CGO_ENABLED=0 GOOS=$(firstword $(subst -, ,$*)) GOARCH=$(lastword $(subst -, ,$*)) $(GOBUILD) \
		-o $@$(if $(findstring windows,$*),.exe) ./cmd/holdfastctl

sizes: $(DEVICES:%=$(DIST)/linux-%/holdfast) ## sizes of holdfast; over budget is an error
	@packaging/sizes.sh $^

man: ## man pages and completion of holdfastctl, in dist/share
	@rm -rf $(DIST)/share && mkdir -p $(DIST)/share
	@packaging/share.sh $(DIST)/share

deb: $(DEVICES:%=$(DIST)/linux-%/holdfast) $(DIST)/linux-amd64/holdfastctl $(DIST)/linux-arm64/holdfastctl man ## Debian packages, in dist/
	@VERSION='$(VERSION)' packaging/deb.sh $(DIST)

# Of one architecture alone.
deb-%: $(DIST)/linux-%/holdfast $(DIST)/linux-%/holdfastctl man
	@VERSION='$(VERSION)' packaging/deb.sh $(DIST) $*

layout: ## lay out the cards of all boards with stand-ins, and look whether they are right
	@sh packaging/layout/check.sh

nspawn: deb-$(NATIVE) ## the package and its units under a real systemd, and attempts to break out of them (as root)
	@packaging/test-deb.sh $(DIST)
	@packaging/test-power.sh $(DIST)

clean: ## remove what was built
	rm -rf bin $(DIST)
