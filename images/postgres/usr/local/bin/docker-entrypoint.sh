#!/bin/bash
# Makes the database at the first start, with the variables that the official image knows, then serves it.
set -euo pipefail
export PGDATA=${PGDATA:-/var/lib/postgresql/data}
user=${POSTGRES_USER:-postgres}
[[ ${1:-postgres} == postgres ]] || exec "$@"
if [[ ! -s $PGDATA/PG_VERSION ]]; then
    : "${POSTGRES_PASSWORD:?is needed at the first start}"
    mkdir -p "$PGDATA"
    chmod 700 "$PGDATA"
    initdb --username="$user" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") --auth-local=trust \
        --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-instructions
    printf '%s\n' "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    if [[ ${POSTGRES_DB:-$user} != postgres ]]; then
        printf 'CREATE DATABASE "%s";\n' "${POSTGRES_DB:-$user}" | postgres --single -j -D "$PGDATA" postgres >/dev/null
    fi
fi
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp "${@:2}"
