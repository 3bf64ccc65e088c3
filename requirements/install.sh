#!/bin/sh
# Make the virtual environment $1 from the lock in this folder, and install the package into it.
# Needs Python 3.11 or later, and either uv or pip. PYTHON chooses the interpreter.
set -eu
venv=$1
here=$(dirname "$0")
say() { printf '%s\n' "$*" >&2; }
die() { say "make: $*"; exit 1; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
python=
if [ -n "${PYTHON:-}" ]; then
    if new_enough "$PYTHON"; then python=$PYTHON; fi
else
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if new_enough "$candidate"; then python=$candidate; break; fi
    done
fi
[ -n "$python" ] || die "the Python found as '${PYTHON:-python3}' is missing or older than 3.11; set PYTHON to one that is 3.11 or later."

uv=$(command -v uv || true)
if [ -z "$uv" ]; then
    uv=.uv/bin/uv
    if [ ! -x "$uv" ]; then
        say "uv is not installed; pip puts it into .uv"
        pip=$python
        if ! "$pip" -m pip --version >/dev/null 2>&1; then
            # A Python without pip may still be able to make an environment that has it.
            "$python" -m venv .uv/pip >/dev/null 2>&1 ||
                die "neither uv nor pip is installed for $python; install one of them (Debian: apt install python3-pip)."
            pip=.uv/pip/bin/python
        fi
        "$pip" -m pip install --quiet --disable-pip-version-check --root-user-action ignore --require-hashes \
            --target .uv --upgrade -r "$here/uv.txt"
    fi
fi

# uv does not read pip's settings; where pip has a folder of wheels, uv may look there too.
UV_FIND_LINKS=${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}
UV_PYTHON_DOWNLOADS=never
export UV_FIND_LINKS UV_PYTHON_DOWNLOADS
[ -n "$UV_FIND_LINKS" ] || unset UV_FIND_LINKS

"$uv" venv --quiet --clear --python "$python" "$venv"
install() { "$uv" pip install --python "$venv" --no-deps "$@"; }
# The files here are complete, so --no-deps leaves nothing out, and everything has a hash.
locked() { install --require-hashes -r "$here/base.txt" "$@"; }

has_gpu() { [ -e /dev/nvidia0 ] || [ -e /proc/driver/nvidia/version ] || nvidia-smi -L >/dev/null 2>&1; }
log=$venv/torch-cpu.log
if ! has_gpu && locked -r "$here/torch-cpu.txt" 2>"$log"; then
    torch=cpu
    say "installed, with torch's CPU build"
else
    has_gpu || say "torch's CPU build could not be installed ($log says why); the CUDA build is: several GB, works without a GPU"
    torch=cuda
    locked -r "$here/torch.txt"
fi
install --quiet --no-build-isolation --editable .

# torchvision's wheel is built for CUDA, and beside the CPU build its import fails unless something is declared before: see
# lib/relevance/base/operators.py, which every Python of this environment imports when it starts.
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
if [ "$torch" = cpu ]; then
    printf '%s\n' 'import contextlib; exec("with contextlib.suppress(ImportError): import relevance.base.operators")' \
        >"$site/relevance-torchvision.pth"
fi

# What runs in the pages comes from npm; a machine without it gets it as a wheel. The book can be printed without.
npm=$(command -v npm || true)
if [ -z "$npm" ]; then
    install --quiet --require-hashes -r "$here/node.txt" && npm=$(cd "$venv" && pwd)/bin/npm
fi
web=$venv/share/relevance-web
mkdir -p "$web"
cp "$here/web/package.json" "$here/web/package-lock.json" "$web"
if (cd "$web" && PATH="$(dirname "$npm"):$PATH" npm ci --ignore-scripts --no-audit --no-fund >npm.log 2>&1); then
    # The packages have builds for everything; one is used.
    find "$web/node_modules" -type f ! -name 'axe.min.js' ! -name 'ort.wasm.min.js' \
        ! -name 'ort-wasm-simd-threaded.mjs' ! -name 'ort-wasm-simd-threaded.wasm' ! -iname 'licen[sc]e*' -delete
    find "$web/node_modules" -depth -type d -empty -delete
else
    say "npm could not fetch what runs in the pages ($web/npm.log says why): the page for drawing will say that it cannot."
fi
