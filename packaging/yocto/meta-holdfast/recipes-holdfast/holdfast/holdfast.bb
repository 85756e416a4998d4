SUMMARY = "Device agent for Linux boards in the field"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${HOLDFAST}/LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"

# A checkout of Holdfast in which `make cross` has run: the program is static and has no dependencies, and is not built
# here because a release of Yocto has an older Go than it wants.
HOLDFAST ?= "${@os.path.abspath(os.path.join(d.getVar('THISDIR'), '../../../../..'))}"
PV ?= "0"

HOLDFAST_ARCH:arm = "armv7"
HOLDFAST_ARCH:armv6 = "armv6"
HOLDFAST_ARCH:aarch64 = "arm64"
HOLDFAST_ARCH:riscv64 = "riscv64"
HOLDFAST_ARCH:x86-64 = "amd64"

inherit systemd useradd

S = "${WORKDIR}"
do_configure[noexec] = "1"
do_compile[noexec] = "1"
do_install[file-checksums] = "${HOLDFAST}/dist/linux-${HOLDFAST_ARCH}/holdfast:True"

USERADD_PACKAGES = "${PN}"
USERADD_PARAM:${PN} = "--system --user-group --home-dir /var/lib/holdfast --no-create-home --shell /sbin/nologin holdfast; \
	--system --user-group --home-dir / --no-create-home --shell /sbin/nologin holdfast-lines"

SYSTEMD_SERVICE:${PN} = "holdfast.service holdfast-warden.socket holdfast-lines.socket holdfast-lines.service"

do_install() {
	p=${HOLDFAST}/packaging
	install -D -m 0755 ${HOLDFAST}/dist/linux-${HOLDFAST_ARCH}/holdfast ${D}${bindir}/holdfast
	install -d -m 0750 ${D}${sysconfdir}/holdfast
	install -d -m 0750 ${D}${sysconfdir}/holdfast/rules.d ${D}${sysconfdir}/holdfast/playbooks.d
	install -d -m 0755 ${D}${datadir}/holdfast/playbooks.d
	install -m 0644 $p/playbooks.d/*.toml ${D}${datadir}/holdfast/playbooks.d/
	install -D -m 0644 $p/models/starter.hfm ${D}${datadir}/holdfast/models/starter.hfm
	install -d -m 0755 ${D}${sysconfdir}/holdfast/boards.d
	install -m 0640 $p/rules.d/*.epl ${D}${sysconfdir}/holdfast/rules.d/
	install -m 0640 $p/holdfast.toml ${D}${sysconfdir}/holdfast/holdfast.toml
	chown root:holdfast ${D}${sysconfdir}/holdfast ${D}${sysconfdir}/holdfast/rules.d ${D}${sysconfdir}/holdfast/playbooks.d ${D}${sysconfdir}/holdfast/rules.d/*.epl ${D}${sysconfdir}/holdfast/holdfast.toml # the agent reads it and may not write it
	install -m 0644 $p/layout/fw_env.config ${D}${sysconfdir}/fw_env.config
	for unit in $p/systemd/*.service $p/systemd/*.socket; do
		install -D -m 0644 $unit ${D}${systemd_system_unitdir}/$(basename $unit)
	done
	install -D -m 0644 $p/systemd/tmpfiles.conf ${D}${nonarch_libdir}/tmpfiles.d/holdfast.conf
	install -D -m 0644 $p/udev/60-holdfast.rules ${D}${nonarch_base_libdir}/udev/rules.d/60-holdfast.rules
	install -d -m 0755 ${D}${nonarch_libdir}/holdfast/scripts ${D}${nonarch_libdir}/holdfast/health.d ${D}${nonarch_libdir}/holdfast/update.d
}

# The program is stripped already, and built elsewhere.
INHIBIT_PACKAGE_STRIP = "1"
INHIBIT_PACKAGE_DEBUG_SPLIT = "1"
INSANE_SKIP:${PN} += "already-stripped"

CONFFILES:${PN} = "${sysconfdir}/holdfast/holdfast.toml ${sysconfdir}/holdfast/rules.d/*.epl"
FILES:${PN} += "${systemd_system_unitdir} ${nonarch_libdir}/tmpfiles.d ${nonarch_libdir}/holdfast ${nonarch_base_libdir}/udev"
RDEPENDS:${PN} = "ca-certificates libubootenv-bin"
