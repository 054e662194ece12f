#!/bin/sh
# pykickstart's ksvalidator, of the version that the tests were written with: no Debian has it in a package, so it comes
# from PyPI into a folder of its own, once. Prints the program's path.
set -eu
version=3.78
venv=${BOOTWRIGHT_TEST_ROOTS:-/usr/local/lib/bootwright-tests}/pykickstart-$version

if [ ! -x "$venv/bin/ksvalidator" ]; then
    "$(dirname "$0")/install-packages.sh" python3-venv >&2
    rm -rf "$venv"
    python3 -m venv "$venv" >&2
    "$venv/bin/pip" --quiet --disable-pip-version-check install "pykickstart==$version" >&2
fi
echo "$venv/bin/ksvalidator"
