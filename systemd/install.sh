#!/bin/bash
# Installs, upgrades, rolls back or removes the service edge-runner. `install.sh --help` tells the options.
# Nothing that runs is touched before the new version is complete; what is not READY within a minute is put back.
[ "${BASH_VERSION-}" ] || exec bash "$0" "$@" # it was started as `sh install.sh`
set -euo pipefail
umask 022
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # `su` without `-` leaves them out

readonly NAME=edge-runner READY_S=60
readonly ROOT=/opt/$NAME ETC=/etc/$NAME STATE=/var/lib/$NAME COMMAND=/usr/local/bin/edge
readonly UNIT=/etc/systemd/system/$NAME.service RULES=/etc/udev/rules.d/60-$NAME.rules
readonly STEPS=$UNIT.d/10-restart-steps.conf
readonly NEED_MB=700 # a version with its packages, and room for pip to unpack

usage() {
    cat <<'END'
usage: sudo ./systemd/install.sh [OPTION...]

Installs the service edge-runner, or upgrades it, and starts it.
  --wheel FILE     this wheel of edge-runner, instead of the checkout that this script is in
  --offline DIR    take every package from this folder of wheels; nothing is asked of the network
  --extras LIST    what not everybody needs, with commas between: mqtt, prometheus, web, report, parquet, tflite;
                   those of the present version stay; none drops them (none,web: web alone)
  --python PYTHON  the Python to use, 3.9 to 3.13 [/usr/bin/python3]
  --no-start       install and enable, but start nothing
  --upgrade        the same as without it, over what is installed

  --rollback       go back to the version before
  --uninstall      remove everything but the journal and its pictures in /var/lib/edge-runner
  --purge          with --uninstall: those too, and the user edge-runner

  --dry-run        print the commands, change nothing
  --help           this text
END
}

say() { echo "$NAME: $*" 2>/dev/null || true; }
fail() { echo "$NAME: $*" >&2; exit 1; }

run() { # a command that changes something
    if [ "$dry_run" ]; then
        printf '   '
        printf ' %q' "$@"
        echo
    else
        "$@"
    fi
}

put() { # put MODE FILE DESTINATION: whole or not at all
    run install -D -m "$1" -T "$2" "$3.new"
    run mv -f -T "$3.new" "$3"
}

point() { # point LINK TARGET: a symbolic link, switched in one step
    run ln -s -f -n -T "$2" "$1.new"
    run mv -f -T "$1.new" "$1"
}

# ---- what is there ----

running_systemd() { [ -d /run/systemd/system ]; }
target_of() { basename "$(readlink "$ROOT/$1" || true)"; } # of the link `current` or `previous`: a version, or nothing
property() { systemctl show "$NAME" --property "$1" --value; }

check_machine() {
    if [ "$(id -u)" != 0 ] && [ ! "$dry_run" ]; then
        fail "this was started by $(id -un), and only root can install a service: sudo $0 ${arguments[*]}"
    fi
    command -v systemctl >/dev/null || fail "systemctl was not found: the service needs a system with systemd, such as Raspberry Pi OS or Debian."
    running_systemd || [ "$no_start" ] || [ "$dry_run" ] ||
        fail "systemd does not run here, as in a chroot: --no-start installs without starting."
    if grep -qsE '\b(boot=overlay|overlayroot=)' /proc/cmdline; then
        fail "the root file system is an overlay in memory, and what is installed would be gone after the next boot: switch it off first (sudo raspi-config, Performance Options, Overlay File System)."
    fi
    local folder
    for folder in /opt /etc /usr/local/bin /var/lib; do
        [ ! -e "$folder" ] || [ -w "$folder" ] || [ "$(id -u)" != 0 ] ||
            fail "$folder cannot be written: mount it for writing first (sudo mount -o remount,rw /)."
    done
}

check_python() {
    sh "$here/venv.sh" "$python"
    python=$(realpath -s "$(command -v "$python")")
    local advice="give one of the system (--python /usr/bin/python3)."
    case $("$python" -c 'import sys; print(sys.base_prefix)')/ in
        /root/* | /home/* | /run/user/*) fail "$python lives in a home folder, which the service does not see: $advice" ;;
    esac
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid=65534 --regid=65534 --clear-groups "$python" -c 'import venv' 2>/dev/null ||
            fail "$python cannot be run by other users, and the service is one: $advice"
    fi
}

check_space() {
    local folder=/opt free_mb
    [ -d "$ROOT" ] && folder=$ROOT
    [ -d "$folder" ] || folder=/
    free_mb=$(($(stat -f -c '%a * %S / 1048576' "$folder")))
    [ "$free_mb" -ge "$NEED_MB" ] || fail "$folder has $free_mb MB free: expected at least $NEED_MB MB, so make room first."
}

find_source() { # sets source, version and pip_options
    local wheels
    pip_options=(--no-cache-dir)
    if [ "$offline" ]; then
        [ -d "$offline" ] || fail "--offline $offline: expected a folder of wheels, as edge-deploy wheelhouse makes it."
        offline=$(realpath "$offline")
        pip_options+=(--no-index --find-links "$offline")
        if [ ! "$wheel" ]; then
            mapfile -t wheels < <(compgen -G "$offline/edge_runner-*.whl")
            case ${#wheels[@]} in
                0) compgen -G "$offline/setuptools-*.whl" >/dev/null ||
                    fail "$offline holds no edge_runner-*.whl: add it, or name it with --wheel FILE." ;;
                1) wheel=${wheels[0]} ;;
                *) fail "$offline holds ${#wheels[@]} wheels of edge-runner: name one with --wheel FILE." ;;
            esac
        fi
    fi
    if [ "$wheel" ]; then
        [ -f "$wheel" ] || fail "--wheel $wheel: there is no such file."
        source=$(realpath "$wheel")
        [[ $(basename "$source") =~ ^edge_runner-([^-]+)-.*\.whl$ ]] ||
            fail "--wheel $wheel: expected a wheel of edge-runner, edge_runner-VERSION-py3-none-any.whl."
        version=${BASH_REMATCH[1]}
    else
        source=$(dirname "$here")
        [ -f "$source/setup.cfg" ] || fail "$here is not in a checkout of edge-runner: give --wheel FILE."
        version=$(cd "$source" && "$python" -B -c 'import edge; print(edge.__version__)')
    fi
}

provided() { # the names of all extras, with commas between
    "$python" -I - "$source" <<'END'
import configparser, email, os, sys, zipfile

if os.path.isdir(sys.argv[1]):
    settings = configparser.ConfigParser()
    settings.read(os.path.join(sys.argv[1], "setup.cfg"))
    names = settings["options.extras_require"]
else:
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        (facts,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        names = email.message_from_bytes(wheel.read(facts)).get_all("Provides-Extra", [])
print(",".join(names))
END
}

choose_extras() { # sets extras: what is asked for, beside what the present version has
    local name names known kept=''
    if [[ ,$extras, != *,none,* ]] && [ -r "$ROOT/current/extras" ]; then kept=$(<"$ROOT/current/extras"); fi
    IFS=', ' read -r -a names <<<"$kept,$extras"
    extras=''
    for name in "${names[@]}"; do
        case ",$extras,none,," in *",$name,"*) continue ;; esac # twice, or nothing between two commas
        [ "${known-}" ] || known=$(provided 2>/dev/null) || fail "$source cannot be read: expected a wheel of edge-runner."
        [[ ,$known, = *",$name,"* ]] ||
            fail "--extras: edge-runner $version has no $name: expected some of ${known//,/, }, or none to have none of them."
        extras+=${extras:+,}$name
    done
}

choose_folder() { # sets new, the folder of the new version: one that neither link points at
    local number=2
    new=$version
    while [ "$new" = "$(target_of current)" ] || [ "$new" = "$(target_of previous)" ]; do
        new=$version-r$number
        number=$((number + 1))
    done
}

# ---- the steps ----

make_user() {
    if ! id -u "$NAME" >/dev/null 2>&1; then
        say "adding the user $NAME, without a shell"
        local own=--user-group
        if getent group "$NAME" >/dev/null; then own=--gid=$NAME; fi # left because somebody else is in it
        run useradd --system "$own" --home-dir "$STATE" --no-create-home --shell /usr/sbin/nologin "$NAME"
    fi
    local group groups=()
    for group in video render plugdev coral apex; do
        if getent group "$group" >/dev/null; then groups+=("$group"); fi
    done
    [ ${#groups[@]} -gt 0 ] || return 0
    say "putting it into the groups that own cameras and accelerators: ${groups[*]}"
    run usermod --append --groups "$(IFS=,; echo "${groups[*]}")" "$NAME"
}

build() {
    say "making $ROOT/$new"
    run mkdir -p "$ROOT"
    run rm -rf "${ROOT:?}/$new" "$ROOT"/.scratch.* # of an installation that was cut short
    if [ "$dry_run" ]; then
        run sh "$here/venv.sh" "$python" "$ROOT/$new" "${pip_options[@]}" "$source${extras:+[$extras]}"
        run ln -s -T 'lib/pythonX.Y/site-packages/edge/systemd' "$ROOT/$new/systemd"
        return
    fi
    scratch=$(mktemp -d "$ROOT/.scratch.XXXXXX") # /tmp may be in memory
    export TMPDIR=$scratch
    building=$new
    if [ -d "$source" ]; then # a copy, so that nothing of root's stays behind in the checkout
        mkdir "$scratch/source"
        (cd "$source" && cp -R edge deploy models systemd setup.cfg pyproject.toml README.md LICENSE "$scratch/source")
        source=$scratch/source
    fi
    if [ "$offline" ]; then # what pip is set up with, such as a mirror, is not asked either
        local name
        for name in "${!PIP_@}"; do unset "$name"; done
        export PIP_CONFIG_FILE=/dev/null
    fi
    sh "$here/venv.sh" "$python" "$ROOT/$new" "${pip_options[@]}" "$source${extras:+[$extras]}" ||
        fail "the packages could not be installed into $ROOT/$new, as told above: nothing has changed."
    local files
    files=$("$ROOT/$new/bin/python" -I -c 'from edge.resources import shipped; print(shipped("systemd"))')
    ln -s -T "$(realpath --relative-to "$ROOT/$new" "$files")" "$ROOT/$new/systemd"
    echo "$extras" >"$ROOT/$new/extras"
    rm -rf "$scratch"
    scratch=
    sync -f "$ROOT" # before anything points at it: the power may fail
}

configure() {
    local files=$ROOT/$new/systemd
    if [ -e "$ETC/config.yaml" ]; then
        say "keeping $ETC/config.yaml"
    else
        say "writing $ETC/config.yaml"
        [ ! -d "$STATE/configured" ] || say "what was configured before the last --uninstall is in $STATE/configured"
        put 0644 "$files/config.yaml" "$ETC/config.yaml"
    fi
    say "checking it with the new version"
    run runuser -u "$NAME" -- "$ROOT/$new/bin/edge" config check "$ETC/config.yaml" ||
        fail "$new refuses $ETC/config.yaml, as told above: correct it and install again; nothing else has changed."
    put 0644 "$files/config.example.yaml" "$ETC/config.example.yaml"
}

activate() { # activate VERSION: its unit, rules and commands are in force
    local files=$ROOT/$1/systemd group=plugdev systemd
    say "$UNIT, $RULES and $ROOT/current are those of $1"
    put 0644 "$files/$NAME.service" "$UNIT"
    systemd=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
    if [ "$systemd" -ge 254 ]; then
        put 0644 "$files/restart-steps.conf" "$STEPS"
    else
        run rm -f "$STEPS"
    fi
    put 0644 "$files/60-$NAME.rules" "$RULES"
    if ! getent group "$group" >/dev/null; then
        run sed -i "s/GROUP=\"$group\"/GROUP=\"$NAME\"/" "$RULES"
    fi
    point "$ROOT/current" "$1"
    if [ -e "$COMMAND" ] && [ ! -L "$COMMAND" ]; then
        say "leaving $COMMAND alone, which is not this installer's: the command is $ROOT/current/bin/edge"
    else
        point "$COMMAND" "$ROOT/current/bin/edge"
    fi
    tell_system
    run systemctl --quiet enable "$NAME"
}

tell_system() { # of changed units and rules
    if running_systemd; then run systemctl daemon-reload; fi
    if [ -S /run/udev/control ]; then
        run udevadm control --reload
        run udevadm trigger --subsystem-match=usb --subsystem-match=apex
    fi
}

start() {
    say "starting, and waiting up to a minute for the first result"
    run systemctl --no-block start "$NAME"
}

ready() { # whether it is within a minute; else sets state to what it does instead: "waiting" or "failing"
    local waited
    [ ! "$dry_run" ] || return 0
    died=
    for ((waited = 0; waited < READY_S * 2; waited++)); do
        sleep 0.5
        [ "$(property Result)" = success ] || died="$(property Result), exit code $(property ExecMainStatus)"
        case $(property ActiveState) in
            active) died= && return 0 ;;
            failed) break ;;
        esac
        [ "$(property NRestarts)" -lt 3 ] || break
    done
    state=failing
    if [ "$(property SubState)" = start ] && [ "$(property NRestarts)" = 0 ]; then state=waiting; fi
    return 1
}

status_line() { # what the daemon says of itself, or systemd of it
    local text
    text=$(property StatusText)
    echo "${died:-${text:-$(property ActiveState)}}"
}

show_log() { journalctl --unit "$NAME" --lines 12 --no-pager --output cat >&2 || true; }

stop() { # and forget how often it was started again
    running_systemd || return 0
    run systemctl stop "$NAME"
    run systemctl reset-failed "$NAME" 2>/dev/null || true
}

switch_to() { # switch_to VERSION: with the old one put back when the new one does not do its work
    local old was=''
    old=$(target_of current)
    if [ "$old" ] && running_systemd; then
        was=$(property ActiveState)
    fi
    if [ "$no_start" ]; then
        replaced=$old
        activate "$1"
        accept
        remember "$old" "$1"
        say "installed; it starts with the next boot, or with: sudo systemctl start $NAME"
        return
    fi
    replaced=$old
    if [ "$old" ]; then
        stop
    else
        accept # there is nothing to put back, and what does not start is to be looked into
    fi
    activate "$1"
    start
    if ready; then
        accept
        [ "$dry_run" ] || say "READY: $(status_line)"
    elif [ "$state" = waiting ] && [ "$was" != active ]; then
        accept
        say "installed, and it runs, but is not READY yet: $(status_line)"
        say "it goes on by itself as soon as it can (a camera that is plugged in, for example); nothing has to be installed again"
    else
        say "$1 is not READY: $(status_line). The last lines of its log:" >&2
        show_log
        [ "$old" ] ||
            fail "$1 is installed but does not work, as told above: mend it ($ETC/config.yaml, the camera), then: sudo systemctl restart $NAME"
        put_back "$1"
    fi
    remember "$old" "$1"
}

put_back() { # put_back VERSION: that one failed, and the one before it is started
    local old=$replaced
    stop
    activate "$old"
    start
    replaced=
    if ready; then
        fail "$1 did not get READY, so that $old was put back, and is READY."
    fi
    fail "$1 did not get READY, so that $old was put back, which is not READY either: $(status_line)"
}

accept() { building='' replaced=''; } # whatever comes now, what was just built stays

remember() { # remember OLD NEW: the newest two are kept
    if [ "$1" ] && [ "$1" != "$2" ]; then point "$ROOT/previous" "$1"; fi
    [ -d "$ROOT" ] || return 0
    local folder
    for folder in "$ROOT"/*/; do
        folder=$(basename "$folder")
        case $folder in
            "$2" | "$(target_of previous)" | current | previous) ;;
            *)
                say "removing $ROOT/$folder"
                run rm -rf "${ROOT:?}/$folder"
                ;;
        esac
    done
}

# ---- what is asked for ----

install_version() {
    check_python
    find_source
    cd / # Python looks into the present folder too, and a checkout there is not what is installed
    choose_extras
    check_space
    choose_folder
    say "installing $version${extras:+ (extras: ${extras//,/, })} with $("$python" --version), packages from ${offline:-the package index}"
    build
    make_user
    configure
    switch_to "$new"
    say "to see it: edge service status, edge service logs; to configure it: $ETC/config.yaml"
}

roll_back() {
    local version
    version=$(target_of previous)
    [ -d "$ROOT/${version:-none}" ] || fail "there is no version before the present one in $ROOT: install it with --wheel FILE."
    say "going back from $(target_of current) to $version"
    switch_to "$version"
}

uninstall() {
    local folder
    if [ ! -e "$UNIT" ] && [ ! -e "$ROOT" ] && [ ! -e "$ETC" ] &&
        { [ ! "$purge" ] || { [ ! -e "$STATE" ] && ! id -u "$NAME" >/dev/null 2>&1; }; }; then
        say "nothing is installed"
        return
    fi
    if [ -e "$UNIT" ]; then
        say "stopping and disabling $NAME"
        stop
        run systemctl --quiet disable "$NAME"
    fi
    if [ ! "$purge" ] && [ -d "$STATE" ] && own_words; then
        say "keeping what was configured here in $STATE/configured"
        run install -d -m 0700 "$STATE/configured"
        for folder in "$ETC" "$UNIT.d"; do
            [ ! -d "$folder" ] || run cp -a -t "$STATE/configured" "$folder"
        done
    fi
    say "removing $ROOT, $ETC, $UNIT, $RULES and $COMMAND"
    run rm -rf "$ROOT" "$ETC" "$UNIT" "$UNIT.d" "$RULES"
    if [ "$(readlink "$COMMAND")" = "$ROOT/current/bin/edge" ]; then run rm -f "$COMMAND"; fi
    tell_system
    if [ "$purge" ]; then
        say "removing $STATE and the user $NAME"
        run rm -rf "$STATE"
        if id -u "$NAME" >/dev/null 2>&1; then run userdel "$NAME" 2>/dev/null || fail "the user $NAME cannot be removed: does a process of it still run?"; fi
        if getent group "$NAME" >/dev/null; then run groupdel "$NAME"; fi # userdel leaves it to others who are in it
    elif [ -d "$STATE" ]; then
        say "the journal stays in $STATE, and the user $NAME, whose it is; --uninstall --purge removes both"
    fi
}

own_words() { # whether somebody changed the configuration or added a file
    [ -d "$UNIT.d" ] && [ "$(find "$UNIT.d" -type f ! -path "$STEPS")" ] && return
    ! cmp -s "$ETC/config.yaml" "$ROOT/current/systemd/config.yaml"
}

tidy() { # at the end, however it came
    local code=$?
    set +e
    trap '' HUP INT TERM
    if [ "$replaced" ]; then
        say "interrupted: putting $replaced back" >&2
        [ "$no_start" ] || stop
        activate "$replaced"
        [ "$no_start" ] || run systemctl --no-block start "$NAME"
    fi
    if [ "$building" ]; then rm -rf "${ROOT:?}/$building"; fi
    if [ "$scratch" ]; then rm -rf "$scratch"; fi
    exit "$code"
}

main() {
    arguments=("$@")
    here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
    wheel='' offline='' extras='' python=/usr/bin/python3 no_start='' dry_run='' purge='' does=install_version
    replaced='' building='' scratch='' state='' died=''
    [ -x "$python" ] || python=python3
    while [ $# -gt 0 ]; do
        case $1 in
            --wheel=* | --offline=* | --extras=* | --python=*)
                set -- "${1%%=*}" "${1#*=}" "${@:2}"
                continue
                ;;
            --wheel | --offline | --extras | --python)
                [ $# -ge 2 ] || fail "$1 needs a value: ./systemd/install.sh --help"
                printf -v "${1#--}" %s "$2"
                shift
                ;;
            --no-start) no_start=1 ;;
            --dry-run) dry_run=1 ;;
            --purge) purge=1 ;;
            --upgrade) ;;
            --rollback) does=roll_back ;;
            --uninstall) does=uninstall ;;
            -h | --help)
                usage
                exit
                ;;
            *) fail "unknown argument $1: ./systemd/install.sh --help tells which there are." ;;
        esac
        shift
    done
    [ ! "$extras" ] || [ "$does" = install_version ] || fail "--extras goes with an installation or an upgrade only."
    [ ! "$purge" ] || [ "$does" = uninstall ] || fail "--purge goes with --uninstall only."
    check_machine
    if [ ! "$dry_run" ]; then
        exec 9>/run/lock/$NAME-install || fail "/run/lock cannot be written."
        flock -n 9 || fail "another install.sh runs: wait until it has ended."
        trap tidy EXIT
        trap '' PIPE # whoever read what this says may be gone
        trap 'exit 129' HUP
        trap 'exit 130' INT
        trap 'exit 143' TERM
    fi
    "$does"
}

main "$@"
