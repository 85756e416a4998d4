# U-Boot's part of RAUC's convention, for a U-Boot that was built without redundant environments. The partition env holds
# two copies of 16 KiB, as fw_setenv writes them: a CRC-32 of what follows the flag, little endian; the flag, which counts;
# variables. The one in force is the valid one with the newer flag, and the other is written, so that a cut leaves one.
setenv copy0 0x48000000
setenv copy1 0x48010000
setenv sum 0x48020000
part start virtio 0 env block0
setexpr block1 ${block0} + 0x20
virtio dev 0
virtio read ${copy0} ${block0} 0x20
virtio read ${copy1} ${block1} 0x20

# The command crc32 stores big endian.
setenv check 'setexpr body ${at} + 5; crc32 ${body} 0x3ffb ${sum}; setenv valid 1; for i in 0 1 2 3; do setexpr p ${at} + ${i}; setexpr q ${sum} + 3; setexpr q ${q} - ${i}; setexpr.b x *${p}; setexpr.b y *${q}; if test ${x} != ${y}; then setenv valid 0; fi; done; setexpr p ${at} + 4; setexpr.b flag *${p}'
setenv at ${copy0}; run check; setenv valid0 ${valid}; setenv flag0 ${flag}
setenv at ${copy1}; run check; setenv valid1 ${valid}; setenv flag1 ${flag}
if test ${valid0} = 0; then echo "boot: copy 0 of the environment is not valid"; fi
if test ${valid1} = 0; then echo "boot: copy 1 of the environment is not valid"; fi

setenv now none
if test ${valid0} = 1; then setenv now 0; fi
if test ${valid1} = 1; then
  if test ${valid0} = 0; then
    setenv now 1
  else
    if itest.b 0x${flag1} -gt 0x${flag0}; then setenv now 1; fi
    if test ${flag0} = ff && test ${flag1} = 0; then setenv now 1; fi
    if test ${flag1} = ff && test ${flag0} = 0; then setenv now 0; fi
  fi
fi

setenv BOOT_ORDER "A B"
setenv BOOT_A_LEFT 3
setenv BOOT_B_LEFT 3
setenv flag 0
setenv to ${copy0}; setenv block ${block0}
if test ${now} = 0; then setenv from ${copy0}; setenv flag ${flag0}; setenv to ${copy1}; setenv block ${block1}; fi
if test ${now} = 1; then setenv from ${copy1}; setenv flag ${flag1}; fi
if test ${now} = none; then
  echo "boot: no environment; starting over with A"
else
  setexpr from ${from} + 5
  env import -b ${from} 0x3ffb BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT
fi
echo "boot: order ${BOOT_ORDER}, A has ${BOOT_A_LEFT} left, B has ${BOOT_B_LEFT}"

setenv slot none
for n in ${BOOT_ORDER}; do
  if test ${slot} = none; then
    if test ${n} = A && itest 0x${BOOT_A_LEFT} -gt 0; then setenv slot A; setenv part slot_a; setexpr BOOT_A_LEFT ${BOOT_A_LEFT} - 1; fi
    if test ${n} = B && itest 0x${BOOT_B_LEFT} -gt 0; then setenv slot B; setenv part slot_b; setexpr BOOT_B_LEFT ${BOOT_B_LEFT} - 1; fi
  fi
done
if test ${slot} = none; then
  echo "boot: no slot has attempts left; all get three"
  setenv BOOT_A_LEFT 3
  setenv BOOT_B_LEFT 3
fi

# What is saved: the three variables, with the flag after the one before.
mw.b ${to} 0 0x4000
setexpr body ${to} + 5
env export -b ${body} BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT
crc32 ${body} 0x3ffb ${sum}
for i in 0 1 2 3; do setexpr p ${to} + ${i}; setexpr q ${sum} + 3; setexpr q ${q} - ${i}; setexpr.b x *${q}; mw.b ${p} ${x}; done
setexpr.b flag ${flag} + 1
setexpr p ${to} + 4
mw.b ${p} ${flag}
virtio write ${to} ${block} 0x20

if test ${slot} != none; then
  part number virtio 0 ${part} number
  setenv bootargs console=ttyAMA0 quiet root=PARTLABEL=${part} ro fsck.repair=yes rauc.slot=${slot} ${extraargs}
  echo "boot: slot ${slot}"
  if load virtio 0:${number} ${kernel_addr_r} /boot/Image && load virtio 0:${number} ${ramdisk_addr_r} /boot/initrd; then
    booti ${kernel_addr_r} ${ramdisk_addr_r}:${filesize} ${fdt_addr}
  fi
  echo "boot: slot ${slot} does not load"
fi
reset
