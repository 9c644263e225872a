#!/usr/bin/env bash
# Set-up for the Makefile: everything between a fresh Debian or Ubuntu and a working .venv.
#   setup.sh system          the libraries that Qt, OpenGL and a screenless display need: installs them when it may, names them when not
#   setup.sh venv gui,test   .venv with napari-diffseg, editable, at the tested versions (PYTHON may name the interpreter)
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv

# file that the package brings, as ldconfig names it, and the Debian/Ubuntu package.
window_libraries='
libGL.so.1 libgl1
libEGL.so.1 libegl1
libxcb-cursor.so.0 libxcb-cursor0
libxcb-icccm.so.4 libxcb-icccm4
libxcb-image.so.0 libxcb-image0
libxcb-keysyms.so.1 libxcb-keysyms1
libxcb-randr.so.0 libxcb-randr0
libxcb-render-util.so.0 libxcb-render-util0
libxcb-shape.so.0 libxcb-shape0
libxcb-xkb.so.1 libxcb-xkb1
libxkbcommon-x11.so.0 libxkbcommon-x11-0
libdbus-1.so.3 libdbus-1-3
libfontconfig.so.1 libfontconfig1
libglib-2.0.so.0 libglib2.0-0'
# Only where there is no screen: Mesa draws in software (it brings libgl1-mesa-dri), and xvfb-run needs xauth without saying so.
virtual_display_libraries='
libGLX_mesa.so.0 libglx-mesa0'
virtual_display_programs='
Xvfb xvfb
xvfb-run xvfb
xauth xauth'

fail() {
    printf 'napari-diffseg: %s\n' "$1" >&2
    exit 1
}

# Runs a command quietly; when it fails, its output is the explanation.
quietly() {
    local log
    log=$(mktemp)
    if "$@" >"$log" 2>&1 </dev/null; then
        rm -f "$log"
    else
        cat "$log" >&2
        rm -f "$log"
        return 1
    fi
}

missing_packages() {
    local known file package
    known=$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p)
    while read -r file package; do
        [ -z "$file" ] || grep -qF "$file (" <<<"$known" || echo "$package"
    done <<<"$window_libraries$([ -n "${DISPLAY:-}" ] || echo "$virtual_display_libraries")"
    [ -z "${DISPLAY:-}" ] || return 0
    while read -r file package; do
        [ -z "$file" ] || command -v "$file" >/dev/null || echo "$package"
    done <<<"$virtual_display_programs"
}

apt_install() {
    echo "Installing with apt-get: $*"
    export DEBIAN_FRONTEND=noninteractive
    # An index that cannot be refreshed is no reason to stop: the install below says what is really missing.
    quietly apt-get -o DPkg::Lock::Timeout=120 update || true
    quietly apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "$@"
}

may_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null
}

set_up_system() {
    [ "$(uname -s)" = Linux ] || return 0
    local missing
    missing=$(missing_packages | sort -u | tr '\n' ' ')
    missing=${missing% }
    [ -n "$missing" ] || return 0
    local advice="install them with: sudo apt-get update && sudo apt-get install -y --no-install-recommends $missing"
    may_install || fail "these system packages are missing for napari's window: $missing; $advice"
    # The words are package names from the tables above.
    # shellcheck disable=SC2086
    apt_install $missing || fail "apt-get could not install: $missing (its output is above); $advice"
}

recent_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if recent_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer as ${PYTHON:-python3}: install one and name it, as in: make demo PYTHON=python3.12"
}

# Debian splits venv off from Python: without it, a virtual environment is made half and has no pip.
ensure_venv_module() {
    local package
    "$1" -c 'import ensurepip, venv' 2>/dev/null && return
    package=$("$1" -c 'import sys; print("python{}.{}-venv".format(*sys.version_info))')
    may_install || fail "$1 cannot make virtual environments; install $package with: sudo apt-get install -y $package"
    apt_install "$package" || fail "apt-get could not install $package (its output is above), which $1 needs to make .venv"
}

set_up_venv() {
    local extras=$1 python pip="$venv/bin/python -m pip"
    if ! { [ -x $venv/bin/python ] && recent_enough $venv/bin/python && $pip --version >/dev/null 2>&1; }; then
        python=$(find_python)
        ensure_venv_module "$python"
        echo "Making $venv with $($python --version)"
        "$python" -m venv --clear $venv
    fi
    echo "Installing napari-diffseg[$extras] into $venv (the first time: a few minutes)"
    local options="--quiet --no-input --disable-pip-version-check --constraint constraints.txt"
    # torch first and alone: by far the largest, and a failed download of it should not look like one of ours.
    # shellcheck disable=SC2086
    quietly $pip install $options torch || fail "pip could not install torch; its reason is above"
    # shellcheck disable=SC2086
    quietly $pip install $options --editable ".[$extras]" || fail "pip could not install napari-diffseg[$extras]; its reason is above"
}

case "${1:-}" in
    system) set_up_system ;;
    venv) set_up_venv "${2:?name the extras, as in: setup.sh venv gui,test}" ;;
    *) fail "usage: scripts/setup.sh system | venv EXTRAS" ;;
esac
