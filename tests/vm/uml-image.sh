#!/bin/sh
# Make the disk for the user-mode Linux of uml-kernel.sh: Debian trixie (systemd 257, Python 3.13, libcamera) with
# picamera2, below $EDGE_VM: uml/disk.ext4 and uml/key, with which root is reached. Runs write to a copy-on-write layer.
# Usage: uml-image.sh      Needs: root, debootstrap, Debian's archive, PyPI, ssh-keygen; 3 to 10 minutes.
set -eu
vm=${EDGE_VM:-/var/tmp/edge-vm}/uml
stamp=$(cat "$vm/kernel.stamp" "$0" | sha256sum | cut -c1-16)
[ "$(cat "$vm/disk.stamp" 2>/dev/null)" != "$stamp" ] || exit 0
root=$vm/root
packages=systemd,systemd-sysv,dbus,udev,kmod,iproute2,procps,openssh-server,v4l-utils
packages=$packages,python3,python3-venv,python3-numpy,python3-pil,python3-jsonschema,python3-libarchive-c,python3-prctl
packages=$packages,python3-tqdm,python3-libcamera,libcamera-ipa
if [ ! -e "$vm/root.done" ]; then
    rm -rf "$root"
    debootstrap --variant=minbase --include="$packages" trixie "$root"
    # picamera2 comes from apt on Raspberry Pi OS only; where apt would put it, the installer finds it in the same way.
    python3 -m pip install --quiet --no-deps --only-binary=:all: --python-version 3.13 --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 \
        --target "$root/usr/lib/python3/dist-packages" --upgrade \
        picamera2==0.3.38 videodev2 piexif simplejpeg OpenEXR
    touch "$vm/root.done"
fi
# Stand-ins for what picamera2 imports and does not use here: kms++ draws to a screen and is not in Debian, PiDNG writes
# raw files and has no wheel.
modules=$root/usr/lib/python3/dist-packages
mkdir -p "$modules/pidng"
echo 'Picamera2Camera = PICAM2DNG = None' | tee "$modules/pidng/camdefs.py" >"$modules/pidng/core.py"
cat >"$modules/pykms.py" <<'END'
class _AnyName(type):
    def __getattr__(cls, name):
        return name


class PixelFormat(metaclass=_AnyName):
    pass
END
[ -f "$vm/key" ] || ssh-keygen -q -t ed25519 -N '' -f "$vm/key"
mkdir -p "$root/root/.ssh"
chmod 700 "$root/root/.ssh"
cp "$vm/key.pub" "$root/root/.ssh/authorized_keys"
mkdir -p "$root/usr/lib/modules" "$root/mnt/host"
cp -a "$vm"/modules/lib/modules/* "$root/usr/lib/modules/"
: >"$root/etc/fstab"
: >"$root/etc/machine-id"
echo edge-uml >"$root/etc/hostname"
cat >"$root/etc/systemd/network/vec0.network" <<'END'
[Match]
Name=vec0
[Network]
Address=10.99.0.2/24
LinkLocalAddressing=no
IPv6AcceptRA=no
END
# As Raspberry Pi OS has it: libcamera's buffers, under the name that picamera2 knows, for the group video.
echo 'SUBSYSTEM=="dma_heap", KERNEL=="system", SYMLINK+="dma_heap/linux,cma", GROUP="video", MODE="0660", OPTIONS+="string_escape=none"' \
    >"$root/etc/udev/rules.d/60-dma-heap.rules"
in_units=$root/etc/systemd/system
mkdir -p "$in_units/multi-user.target.wants"
ln -sf /usr/lib/systemd/system/systemd-networkd.service "$in_units/multi-user.target.wants/"
for unit in getty.target console-getty.service systemd-networkd-wait-online.service; do
    ln -sf /dev/null "$in_units/$unit"
done
rm -f "$root"/var/cache/apt/archives/*.deb "$vm/disk.ext4"
truncate -s 4G "$vm/disk.ext4"
mkfs.ext4 -q -F -E root_owner=0:0 -d "$root" "$vm/disk.ext4"
echo "$stamp" >"$vm/disk.stamp"
