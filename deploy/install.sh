#!/bin/sh
# mtls-gateway on one Debian machine: users, folders, the program below /opt, units. Run as root from an unpacked source:
#   deploy/install.sh
# It can be run again: what is there stays, configuration and state above all. A newer version is installed beside the
# one that runs, and is taken at the next `mtls-gateway upgrade` or `systemctl restart mtls-gateway`.
set -eu

prefix=/opt/mtls-gateway
here=$(cd "$(dirname "$0")" && pwd)
source=$(dirname "$here")

say() { printf 'install: %s\n' "$*"; }
die() {
  printf 'install: %s\n' "$*" >&2
  exit 1
}

[ "$(id -u)" -eq 0 ] || die "run as root"
for program in systemd-sysusers systemd-tmpfiles; do
  command -v "$program" >/dev/null || die "$program is missing; this is for Debian with systemd"
done
[ -x "${PYTHON:-/usr/bin/python3}" ] || die "no Python: apt-get install python3 python3-venv"
"${PYTHON:-/usr/bin/python3}" -c 'import venv, ensurepip' 2>/dev/null || die "no venv module: apt-get install python3-venv"

say "users and folders"
install -D -m 0644 "$here/systemd/mtls-gateway.sysusers.conf" /usr/lib/sysusers.d/mtls-gateway.conf
install -D -m 0644 "$here/systemd/mtls-gateway.tmpfiles.conf" /usr/lib/tmpfiles.d/mtls-gateway.conf
systemd-sysusers /usr/lib/sysusers.d/mtls-gateway.conf
systemd-tmpfiles --create /usr/lib/tmpfiles.d/mtls-gateway.conf

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$source/mtls_gateway/__init__.py")
[ -n "$version" ] || die "$source is not the source of mtls-gateway"
release=$prefix/$version
if [ -x "$release/bin/mtls-gateway" ]; then
  say "$version is installed in $release already"
else
  say "installing $version in $release"
  # What a run that was broken off has left is no release.
  rm -rf "$release"
  install -d -m 0755 "$prefix"
  if ! (umask 022 && sh "$here/venv.sh" "$release"); then
    rm -rf "$release"
    die "$version could not be installed; nothing was changed"
  fi
fi
# In one step: whoever starts meanwhile finds the one or the other.
ln -sfn "$version" "$prefix/current.new"
mv -T "$prefix/current.new" "$prefix/current"

say "units"
for unit in "$here"/systemd/*.service "$here"/systemd/*.timer "$here"/systemd/*.socket; do
  install -D -m 0644 "$unit" "/usr/lib/systemd/system/$(basename "$unit")"
done
for page in runbook deployment; do
  install -D -m 0644 "$source/docs/$page.md" "/usr/share/doc/mtls-gateway/$page.md"
done
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi

say "done; what is next stands in docs/deployment.md:"
if [ ! -e /etc/mtls-gateway/gateway.toml ]; then
  say "  write /etc/mtls-gateway/gateway.toml (owner root, group mtls-gateway, mode 0640)"
fi
say "  sudo -u mtls-gateway $prefix/current/bin/mtls-gateway --config /etc/mtls-gateway/gateway.toml check-config"
say "  systemctl enable --now mtls-gateway"
