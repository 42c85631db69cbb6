#!/bin/sh
# Makes .venv with the pinned dependencies, and installs ngspice where that is missing and allowed.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "setup: $*" >&2; }

# Runs a command as root: directly, or by a sudo that asks for no password; fails where neither is possible.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

apt_updated=no
apt_install() {
    command -v apt-get >/dev/null 2>&1 || return 1
    as_root true || return 1
    if [ "$apt_updated" = no ]; then
        say "apt-get update"
        as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >/dev/null 2>&1 || return 1
        apt_updated=yes
    fi
    say "apt-get install $*"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1
}

find_python() {
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    say "Python 3.11 or newer is needed, found $(python3 --version 2>&1 || echo none);" \
        "install it, or name it: make PYTHON=/path/to/python3"
    exit 1
}

make_venv() {
    # One that works is kept, whoever made it.
    if [ -x .venv/bin/python ] && .venv/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
    then
        return
    fi
    say "making .venv with $("$1" --version)"
    "$1" -m venv --clear .venv >/dev/null 2>&1 && return
    # Debian keeps the venv module in a package of its own.
    apt_install python3-venv || true
    "$1" -m venv --clear .venv >&2 && return
    say "$1 could not make .venv; where its venv module is missing, install it, on Debian with: apt install python3-venv"
    exit 1
}

install_python_packages() {
    python=$(find_python)
    # The editable install refers to this folder, so a copied tree needs an environment of its own.
    wanted=$({ "$python" --version; pwd; cat pyproject.toml constraints.txt; } | cksum)
    if [ -f .venv/setup-stamp ] && [ "$(cat .venv/setup-stamp)" = "$wanted" ]; then
        return
    fi
    make_venv "$python"
    say "installing the packages of constraints.txt"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]' || {
        say "pip could not install them; its message is above"
        exit 1
    }
    printf '%s' "$wanted" >.venv/setup-stamp
}

install_ngspice() {
    [ -n "${ANALOG_EP_NGSPICE:-}" ] && return
    command -v ngspice >/dev/null 2>&1 && return
    if apt_install ngspice; then
        # The shared library serves some of the tests only.
        apt_install libngspice0 || true
    else
        say "ngspice is not installed and cannot be installed from here; get it with \"apt install ngspice\" (Debian," \
            "Ubuntu), \"brew install ngspice\" (macOS) or from ngspice.sourceforge.io; going on with PyTorch alone"
    fi
}

# A second simulator, for the tests alone; Debian keeps the elements it knows in a package of their own.
install_gnucap() {
    if command -v gnucap >/dev/null 2>&1 && ! gnucap -b /dev/null 2>&1 | grep -q 'plugin not found'; then
        return
    fi
    apt_install gnucap gnucap-default-plugins0 || true
}

install_python_packages
install_ngspice
install_gnucap
