# RAUC's variables, as docs/boards-slots.md has them: the first slot of BOOT_ORDER that has attempts left is started, and
# one attempt is taken and saved before. The kernel and its device tree are in the slot's own root file system.
test -n "${devtype}" || setenv devtype mmc
test -n "${devnum}" || setenv devnum 0
test -n "${BOOT_ORDER}" || setenv BOOT_ORDER "A B"
test -n "${BOOT_A_LEFT}" || setenv BOOT_A_LEFT 3
test -n "${BOOT_B_LEFT}" || setenv BOOT_B_LEFT 3

setenv slot
for name in ${BOOT_ORDER}; do
	if test -z "${slot}"; then
		if test "${name}" = "A" && test 0x${BOOT_A_LEFT} -gt 0; then
			setexpr BOOT_A_LEFT ${BOOT_A_LEFT} - 1
			setenv slot A
			setenv label root-a
		elif test "${name}" = "B" && test 0x${BOOT_B_LEFT} -gt 0; then
			setexpr BOOT_B_LEFT ${BOOT_B_LEFT} - 1
			setenv slot B
			setenv label root-b
		fi
	fi
done

if test -z "${slot}"; then
	echo "no slot has attempts left: beginning over"
	setenv BOOT_A_LEFT 3
	setenv BOOT_B_LEFT 3
	saveenv
	reset
fi

saveenv
echo "starting slot ${slot}"
setenv bootargs "${bootargs} root=PARTLABEL=${label} rootwait ro rauc.slot=${slot} panic=10 fsck.repair=yes"
if part number ${devtype} ${devnum} ${label} number; then
	if load ${devtype} ${devnum}:${number} ${kernel_addr_r} /boot/Image && load ${devtype} ${devnum}:${number} ${fdt_addr_r} /boot/${fdtfile}; then
		booti ${kernel_addr_r} - ${fdt_addr_r}
	fi
fi
# The attempt is spent; the next start takes what is left.
reset
