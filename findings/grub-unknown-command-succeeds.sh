#!/bin/bash
# GRUB 2.06 (Debian 12's grub-pc-bin 2.06-13+deb12u2; 2.12-9+deb13u4 was seen to do the same): a command that
# does not exist, and a module that can't be loaded, print an error and count as success.
#
#   if nosuchcommand; then echo then; else echo else; fi     error: can't find command `nosuchcommand'.   then
#   nosuchcommand; echo $?                                    0
#   insmod nosuchmodule; echo $?                              0
#   while nosuchsleep 1; do ...; done                         goes round without a pause
#   function shout { return 1; }; if shout; ...               else: a function of that name is obeyed
#
# So a retry loop around `sleep` asks a boot server without a pause wherever sleep.mod is not built in and not
# fetched, and a test for a missing command takes the branch of success. A function as a stand-in catches it:
# one stands only where no command of its name does.
#
# Needs Debian 12's package mirror and qemu-system-x86_64 with SeaBIOS. Output seen (the last lines of the
# serial console):
#
#   R1 then
#   R2 status 0
#   R3 status 0
#   R4 round 5
#   R5 else
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

version=2.06-13+deb12u2
apt-get -qq -o APT::Sandbox::User=root download "grub-pc-bin=$version" "grub-common=$version"
for package in ./*.deb; do dpkg-deb --extract "$package" .; done

mkdir memdisk
cat > memdisk/grub.cfg <<'GRUB'
serial --unit=0 --speed=115200
terminal_output serial
if nosuchcommand; then echo "R1 then"; else echo "R1 else"; fi
nosuchcommand
echo "R2 status $?"
insmod nosuchmodule
echo "R3 status $?"
set round=0
while nosuchsleep 1; do
  if [ $round = 0 ]; then set round=1
  elif [ $round = 1 ]; then set round=2
  elif [ $round = 2 ]; then set round=3
  elif [ $round = 3 ]; then set round=4
  else set round=5; break; fi
done
echo "R4 round $round"
function shout { return 1; }
if shout; then echo "R5 then"; else echo "R5 else"; fi
halt
GRUB
tar -C memdisk -cf memdisk.tar grub.cfg
modules=usr/lib/grub/i386-pc
usr/bin/grub-mkimage -O i386-pc -d $modules -m memdisk.tar -p '(memdisk)/' -o core.img \
    memdisk tar normal serial terminal echo halt test
cat $modules/lnxboot.img core.img > grub.lnx
timeout 120 qemu-system-x86_64 -accel tcg -m 128 -nographic -vga none -no-reboot -monitor none \
    -serial file:console -net none -kernel grub.lnx < /dev/null

grep -aoE 'R[1-5] [a-z0-9 ]+' console | tee seen
diff seen - <<'SEEN'
R1 then
R2 status 0
R3 status 0
R4 round 5
R5 else
SEEN
