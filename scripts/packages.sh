#!/usr/bin/env bash
# packages.sh NAME...: installs those of Debian's packages that are missing; as root, or by sudo.
set -euo pipefail

if ! command -v apt-get >/dev/null; then
  echo "set-up: expected Debian or one of its kin, got a system without apt-get; install what this names there: $*" >&2
  exit 1
fi

missing=()
for package in "$@"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "set-up: expected root or sudo to install packages, got neither; as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "set-up: installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes \
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
