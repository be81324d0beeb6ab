#!/usr/bin/env bash
# A worker over HTTP, of bash, curl and jq. One job at a time: for more, start more of them. A task is a function of the name
# task_NAME below, which reads the job's args as JSON and writes its result as JSON; docs/http-workers.md describes the rest.
#
# Exit status of a task: 0 completes the job, 64 fails it for good, anything else has it retried; what it wrote to standard
# error is the message. `progress 40 "40 of 100"` tells how far it is.
#
# DTSCHED_URL (http://127.0.0.1:8000), DTSCHED_KEY, DTSCHED_WORKER_NAME, QUEUES (default; with commas).
set -uo pipefail
set -m # each task is a process group of its own, which a cancellation ends as a whole

task_echo() { jq -c .value; }

task_sleep() {
  sleep "$(jq -r .seconds)"
  echo null
}

task_fibonacci() {
  local n a=0 b=1
  n=$(jq -r .n)
  [[ $n =~ ^[0-9]+$ && ${#n} -le 2 && $n -le 92 ]] || refuse "n must be 0 to 92, which is what bash can count to, not $n"
  for ((; n > 0; n--)); do read -r a b <<<"$b $((a + b))"; done
  echo "$a"
}

task_prime_factorization() {
  local n
  n=$(jq -r .n)
  [[ $n =~ ^[1-9][0-9]*$ ]] || refuse "n must be a whole number from 1 on, not $n"
  factor "$n" | cut -d: -f2 | jq -cR '[splits(" +") | select(. != "") | tonumber]'
}

refuse() {
  echo "$1" >&2
  exit 64
}

url=${DTSCHED_URL:-http://127.0.0.1:8000}
name=${DTSCHED_WORKER_NAME:-$(hostname)-$$}
tasks=$(compgen -A function task_ | sed s/^task_// | jq -Rn '[inputs]')
dir=$(mktemp -d)
stopping= worker= lease= secret= beating=

say() { echo "$(date -u +%FT%TZ) $1" >&2; }

# call METHOD PATH FILE: the status; the answer is in $answer. The key and the secrets stand in no list of processes.
answer=$dir/answer
call() {
  curl -s -m "${4:-10}" -X "$1" -H 'Content-Type: application/json' --data-binary "@$3" -o "${5:-$answer}" -w '%{http_code}' \
    -K <([ -z "${DTSCHED_KEY:-}" ] || printf 'header = "Authorization: Bearer %s"\n' "$DTSCHED_KEY") "$url$2"
}

# The same, again and again until there is an answer that means something; a worker that is to end gives up a registration.
persist() {
  local status pause=0
  until status=$(call "$@") && [[ $status != 5* && $status != 429 ]]; do
    [[ $2 == /v1/workers && -n $stopping ]] && return 1
    sleep "$((pause = pause < 5 ? pause + 1 : 5))"
  done
  echo "$status"
}

register() {
  jq -n --arg name "$name" --arg queues "${QUEUES:-default}" --argjson tasks "$tasks" \
    '{name: $name, queues: ($queues | split(",")), tasks: $tasks, slots: 1, labels: {language: "bash"}}' >"$dir/body"
  local status lease_seconds
  status=$(persist POST /v1/workers "$dir/body") || return 1
  [[ $status == 201 ]] || { say "registration was refused: $(jq -r .detail "$answer")"; exit 1; }
  worker=$(jq -r .id "$answer")
  say "registered as $worker"
  lease_seconds=$(jq -r .lease_seconds "$answer") # now: the next answer takes the place of this one
  beat "$lease_seconds" &
  beating=$!
}

# In the background, five times in a lease; "running" names the lease and the process group of its task, "over" says why that
# was ended: cancelled, or lost.
beat() {
  trap - TERM INT
  local status cpu memory disk lease group
  # $$ is the shell that claims: if it was killed, its jobs are to be given to others
  while sleep "$(jq -n "$1 / 5")" && kill -0 $$ 2>/dev/null; do
    lease= group=
    [[ -e $dir/running ]] && read -r lease group <"$dir/running"
    cpu=$(awk '/^cpu /{t = 0; for (i = 2; i <= 8; i++) t += $i; printf "%.1f", 100 - 100 * ($5 + $6) / t}' /proc/stat)
    memory=$(awk '/^MemTotal/{t = $2} /^MemAvailable/{a = $2} END {printf "%.1f", 100 - 100 * a / t}' /proc/meminfo)
    disk=$(df -P . | awk 'NR == 2 {sub("%", "", $5); print $5}')
    jq -n --arg cpu "$cpu" --arg memory "$memory" --arg disk "$disk" --arg lease "$lease" \
      '{system_info: {cpu_usage: ($cpu | tonumber?), memory_usage: ($memory | tonumber?), disk_usage: ($disk | tonumber?)},
        leases: [$lease | tonumber?]}' >"$dir/beat"
    status=$(call PUT "/v1/workers/$worker/heartbeat" "$dir/beat" 5 "$dir/beaten") || continue
    case $status in
      200)
        [[ -n $lease ]] || continue
        jq -e --argjson lease "$lease" '.cancelled | index($lease)' "$dir/beaten" >/dev/null && end_task cancelled "$group"
        jq -e --argjson lease "$lease" '.lost | index($lease)' "$dir/beaten" >/dev/null && end_task lost "$group"
        ;;
      404 | 409)
        end_task lost "$group"
        touch "$dir/anew"
        return
        ;;
    esac
  done
}

end_task() {
  [[ -n $2 ]] || return
  echo "$1" >"$dir/over"
  kill -TERM -- "-$2" 2>/dev/null
}

progress() {
  jq -n --arg secret "$secret" --argjson percent "$1" --arg message "${2:-}" \
    '{secret: $secret, progress: {percent: $percent, message: $message}}' >"$dir/progress"
  call POST "/v1/workers/$worker/leases/$lease/progress" "$dir/progress" 10 /dev/null >/dev/null
}

# Waits for a child although signals come in between; returns its exit status.
await() {
  local status
  while wait "$1"; status=$?; ((status > 128)) && kill -0 "$1" 2>/dev/null; do
    [[ -n $stopping && ${2:-} == interruptible ]] && kill -TERM -- "-$1" 2>/dev/null
  done
  return "$status"
}

claim() {
  echo '{"limit": 1, "wait": 30}' >"$dir/body"
  call POST "/v1/workers/$worker/claim" "$dir/body" 45 >"$dir/status" &
  await $! interruptible
  case $(cat "$dir/status") in
    200) jq -e '.jobs[0]' "$answer" >"$dir/job" ;;
    401 | 403) say "claim failed: $(jq -r .detail "$answer")"; sleep 2; return 1 ;;
    *) [[ -n $stopping ]] || sleep 1; return 1 ;;
  esac
}

run() {
  local task seconds status pid
  task=$(jq -r .task "$dir/job")
  lease=$(jq -r .lease_id "$dir/job")
  secret=$(jq -r .secret "$dir/job")
  seconds=$(jq -r '.timeout_seconds // 0' "$dir/job")
  jq -c .args "$dir/job" >"$dir/args"
  rm -f "$dir/over"
  (trap - TERM INT; "task_$task" <"$dir/args" >"$dir/result" 2>"$dir/error") &
  pid=$!
  echo "$lease $pid" >"$dir/running"
  if [[ $seconds != 0 ]]; then
    (trap - TERM INT; sleep "$seconds" && end_task timeout "$pid") &
    local timer=$!
  fi
  await "$pid"
  status=$?
  [[ $seconds != 0 ]] && kill -TERM -- "-$timer" 2>/dev/null
  finish "$status" "$seconds"
  rm -f "$dir/running"
}

finish() {
  local over status
  over=$(cat "$dir/over" 2>/dev/null)
  [[ $over == lost ]] && return
  if [[ $over == cancelled ]]; then
    jq -n --arg secret "$secret" '{secret: $secret, outcome: "cancel"}' >"$dir/body"
  elif [[ $over == timeout ]]; then
    jq -n --arg secret "$secret" --arg seconds "$2" '{secret: $secret, outcome: "retry",
      error: {type: "timeout", message: "still running after \($seconds) s"}}' >"$dir/body"
  elif [[ $1 == 0 ]] && jq -es 'length == 1' "$dir/result" >/dev/null 2>>"$dir/error"; then
    # as it is: jq would round large numbers
    { printf '{"secret": "%s", "outcome": "complete", "result": ' "$secret"; cat "$dir/result"; echo '}'; } >"$dir/body"
  else
    jq -n --arg secret "$secret" --arg status "$1" --rawfile error "$dir/error" '{secret: $secret,
      outcome: (if $status == "64" then "fail" else "retry" end),
      error: {type: "Exit\($status)", message: $error[-4000:]}}' >"$dir/body"
  fi
  # the same body until it is answered: repeated, it counts once
  status=$(persist POST "/v1/workers/$worker/leases/$lease/finish" "$dir/body")
  case $status in
    200 | 404) ;;
    409) say "lease $lease is somebody else's by now" ;;
    *)
      jq -n --arg secret "$secret" --rawfile refusal "$answer" '{secret: $secret, outcome: "fail",
        error: {type: "RefusedOutcome", message: $refusal[:4000]}}' >"$dir/body"
      persist POST "/v1/workers/$worker/leases/$lease/finish" "$dir/body" >/dev/null
      ;;
  esac
}

leave() {
  kill -TERM -- "-$beating" 2>/dev/null
  echo '{}' >"$dir/body"
  [[ -n $worker && ! -e $dir/anew ]] && call DELETE "/v1/workers/$worker" "$dir/body" >/dev/null
  rm -rf "$dir"
}

trap 'stopping=yes' TERM INT
trap leave EXIT
register || exit 0
while [[ -z $stopping ]]; do
  if [[ -e $dir/anew ]]; then
    rm -f "$dir/anew"
    register || break
  fi
  claim && run
done
exit 0
