#!/bin/sh
# Make the development CA and the certificates of both hosts that conf/gateway.toml names. What is there is kept.
set -eu
cd "$(dirname "$0")"

if [ -n "${MTLS_GATEWAY:-}" ]; then
    gateway=$MTLS_GATEWAY
elif [ -x ../.venv/bin/mtls-gateway ]; then
    gateway=../.venv/bin/mtls-gateway
else
    gateway=mtls-gateway
fi
organisation=${1:-Demo Shinkumi}

if [ ! -e ca/state.json ]; then
    $gateway ca init --directory ca --organisation "$organisation"
else
    $gateway ca crl --directory ca
fi
for host in ib.localhost cert.ib.localhost; do
    if [ ! -e "hosts/$host.cert.pem" ]; then
        $gateway ca server --directory ca --out hosts "$host" localhost 127.0.0.1 ::1
    fi
done
