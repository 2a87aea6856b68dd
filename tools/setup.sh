#!/bin/sh
# Finds the Python to set tabgrad up with and hands over to tools/setup.py, which does the rest.
# In shell, because its task is to say in one line what to do where there is no such Python.
# It runs no other program, so it says so even where PATH holds nothing.
set -eu
case $0 in */*) cd "${0%/*}/.." ;; *) cd .. ;; esac

probe='import sys
version = "%d.%d" % sys.version_info[:2]
try:
    import ensurepip, venv
    answer = "ok"
except ImportError:
    answer = "no-venv"
print(("old" if sys.version_info < (3, 11) else answer) + " " + version)'

# The environment of an earlier run, or one that was there before, is used as it is if it works.
if .venv/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    exec .venv/bin/python tools/setup.py "$@"
fi

found=
for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 python; do
    answer=$("$candidate" -c "$probe" 2>/dev/null) || continue
    case $answer in
        ok\ *) exec "$candidate" tools/setup.py "$@" ;;
        no-venv\ *) found=$answer ;;
        old\ *) found=${found:-$answer} ;;
    esac
done

case $found in
    no-venv\ *)
        version=${found#no-venv }
        echo "tabgrad: Python $version is here without its venv module; Debian: sudo apt-get install -y python$version-venv; macOS: brew install python" ;;
    old\ *)
        echo "tabgrad: needs Python >= 3.11 and found ${found#old }; Debian: sudo apt-get install -y python3 python3-venv; macOS: brew install python" ;;
    *)
        echo "tabgrad: needs Python >= 3.11 and found none; Debian: sudo apt-get install -y python3 python3-venv; macOS: brew install python" ;;
esac >&2
exit 1
