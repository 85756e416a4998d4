SUMMARY = "U-Boot's script for two slots by RAUC's variables"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10"
SRC_URI = "file://boot.cmd"

DEPENDS = "u-boot-mkimage-native"
inherit deploy

S = "${WORKDIR}"

do_compile() {
	mkimage -C none -A ${UBOOT_ARCH} -T script -d ${WORKDIR}/boot.cmd ${B}/boot.scr
}
do_deploy() {
	install -m 0644 ${B}/boot.scr ${DEPLOYDIR}/boot.scr
}
addtask deploy after do_compile before do_build

inherit kernel-arch

# boot.cmd uses booti, which U-Boot has for 64-bit ARM.
COMPATIBLE_HOST = "aarch64.*-linux"
PACKAGE_ARCH = "${MACHINE_ARCH}"
