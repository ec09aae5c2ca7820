#!/bin/sh
# Build a Linux 6.1 that runs as a process (user-mode Linux) with vivid, vimc, v4l2loopback and cgroup v2 from Debian's
# source packages, below $EDGE_VM: uml/linux and uml/modules. What is built is used again until uml.fragment changes.
# Usage: uml-kernel.sh     Needs: Debian's apt, gcc make flex bison bc libelf-dev kmod xz-utils; 3 to 15 minutes.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
vm=${EDGE_VM:-/var/tmp/edge-vm}/uml
stamp=$(cat "$here/uml.fragment" "$0" | sha256sum | cut -c1-16)
[ "$(cat "$vm/kernel.stamp" 2>/dev/null)" != "$stamp" ] || exit 0
mkdir -p "$vm/source"
cd "$vm/source"
if [ ! -f linux/Makefile ]; then
    apt-get download linux-source-6.1
    dpkg-deb -x linux-source-6.1_*.deb unpacked
    mkdir -p linux
    tar xf unpacked/usr/src/linux-source-6.1.tar.xz -C linux --strip-components=1
    rm -rf unpacked linux-source-6.1_*.deb
fi
if [ ! -d v4l2loopback ]; then
    apt-get download v4l2loopback-dkms
    dpkg-deb -x v4l2loopback-dkms_*.deb unpacked
    mv unpacked/usr/src/v4l2loopback-* v4l2loopback
    rm -rf unpacked v4l2loopback-dkms_*.deb
fi
build=$vm/build
make -s -C linux ARCH=um O="$build" defconfig
(cd "$build" && ../source/linux/scripts/kconfig/merge_config.sh -m .config "$here/uml.fragment" >/dev/null)
make -s -C linux ARCH=um O="$build" olddefconfig
sed -n 's/^CONFIG_\(.*\)=[ym]$/\1/p' "$here/uml.fragment" | while read -r wanted; do
    grep -q "^CONFIG_$wanted=" "$build/.config" || { echo "the kernel cannot have CONFIG_$wanted" >&2; exit 1; }
done
make -s -C linux ARCH=um O="$build" -j"$(nproc)" linux modules
rm -rf "$vm/modules"
make -s -C linux ARCH=um O="$build" INSTALL_MOD_STRIP=1 INSTALL_MOD_PATH="$vm/modules" modules_install
make -s -C "$build" ARCH=um M="$vm/source/v4l2loopback" modules
for release in "$vm"/modules/lib/modules/*; do
    mkdir -p "$release/extra"
    cp v4l2loopback/v4l2loopback.ko "$release/extra/"
    rm -f "$release/build" "$release/source"
    depmod -b "$vm/modules" "$(basename "$release")"
done
strip -s -o "$vm/linux" "$build/linux"
echo "$stamp" >"$vm/kernel.stamp"
