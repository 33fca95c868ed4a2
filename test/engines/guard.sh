#!/bin/sh
# usage: guard.sh DIRECTORY SIGNAL COMMAND ARGUMENT…
# Runs COMMAND until it ends by itself or standard input closes (then SIGNAL ends it), then removes DIRECTORY. The other end of standard
# input is held by the test process: it closes when that is done, or dead by whatever cause (kill -9 included).
directory=$1 signal=$2
shift 2
exec 3<&0 </dev/null
"$@" &
command=$!
(
  cat <&3 >/dev/null
  kill -s "$signal" "$command" 2>/dev/null
) &
watch=$!
wait "$command"
status=$?
kill "$watch" 2>/dev/null
rm -rf "$directory"
exit "$status"
