#!/bin/sh
# usage: restarting.sh PID_FILE PAUSE COMMAND ARGUMENT…
# Runs COMMAND, and again PAUSE seconds after it ended, as a supervisor does; its process id is in PID_FILE. On TERM it
# ends COMMAND by QUIT (KILL, should that not do) and itself.
pid_file=$1 pause=$2
shift 2
child=
stop() {
  trap - TERM
  [ -z "$child" ] && exit 0
  kill -s QUIT "$child" 2>/dev/null
  (sleep 5 && kill -s KILL "$child") 2>/dev/null &
  wait "$child"
  exit 0
}
trap stop TERM
while :; do
  "$@" &
  child=$!
  echo "$child" >"$pid_file"
  wait "$child"
  child=
  sleep "$pause" &
  wait $!
done
