#!/usr/bin/env bash
# A worker of psql alone: what it does stands in worker.sql, and its tasks in handlers.sql. This keeps psql going round, has a
# second one renew, and tells both when to stop. One job at a time: for more, start more of them.
#
# Connects as psql does: by PGHOST, PGUSER, PGDATABASE, …, or `worker.sh postgresql://…`; its role needs dtsched_worker.
# DTSCHED_WORKER_NAME, QUEUES (default; with commas), LEASE and POLL (30 and 1: seconds).
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
lease=${LEASE:-30}
stopping= renewing=
psql=(psql -XqAt -v ON_ERROR_STOP=0 "$@")
set -m # a signal for this shell is none for psql, which has to finish what runs

coproc ROUNDS {
  exec "${psql[@]}" -v name="${DTSCHED_WORKER_NAME:-$(hostname)-$$}" -v queues="${QUEUES:-default}" -v lease="$lease"
}
exec {to}>&"${ROUNDS[1]}" {from}<&"${ROUNDS[0]}"

renew() {
  [[ -n $renewing ]] && kill -TERM "$renewing"
  "${psql[@]}" -v worker="$1" -v pid="$2" -v every="$(awk "BEGIN {print $lease / 5}")" -f "$here/renew.sql" >/dev/null {to}>&- &
  renewing=$!
}

leave() {
  echo "select dtsched.deregister_worker(:'worker');" >&"$to"
  echo '\q' >&"$to"
  [[ -n $renewing ]] && kill -TERM "$renewing"
  wait
}

trap 'stopping=yes' TERM INT
echo '\o /dev/null' >&"$to"
while [[ -z $stopping ]]; do
  echo "\\ir $here/worker.sql" >&"$to"
  said= word=
  until [[ $said == round ]]; do
    if read -r said word rest <&"$from"; then
      [[ $said == worker ]] && renew "$word" "$rest"
    elif (($? <= 128)); then
      echo "psql has ended" >&2
      exit 1
    fi
  done
  if [[ $word == idle && -z $stopping ]]; then
    sleep "${POLL:-1}" &
    wait $!
  fi
done
leave
