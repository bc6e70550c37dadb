#!/bin/sh
# The role of the nodes: it owns nothing.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$(cat /run/secrets/db_password)" -U "$POSTGRES_USER" -d "$POSTGRES_DB" <<'SQL'
CREATE ROLE stateward LOGIN PASSWORD :'password';
SQL
