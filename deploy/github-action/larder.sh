#!/bin/bash
# What the action does. `larder.sh setup` and `larder.sh push` read their inputs from the environment, and keep what
# the second needs of the first in $RUNNER_TEMP. Stock Nix alone is needed, not Larder.
set -euo pipefail

mode=$1
cache=${LARDER_CACHE%/}
state=$RUNNER_TEMP/larder
netrc=$state/netrc

fail() {
  echo "::error title=Larder::$1" >&2
  exit 1
}

# Nix's own configuration takes root, where Nix was installed for all users.
as_owner() {
  if [ -w "$(dirname "$1")" ]; then "${@:2}"; else sudo "${@:2}"; fi
}

# Every path there is, one a line.
list_paths() {
  nix --extra-experimental-features nix-command path-info --all | sort
}

public_keys() {
  if [ -n "${LARDER_PUBLIC_KEYS:-}" ]; then
    echo "$LARDER_PUBLIC_KEYS"
    return
  fi
  # The token goes over standard input: the list of processes is for all to read.
  local base=${cache%/*} name=${cache##*/} answer
  answer=$(printf '%s' "${LARDER_TOKEN:+header = \"Authorization: Bearer $LARDER_TOKEN\"}" |
    curl --silent --show-error --fail --retry 3 --config - "$base/api/v1/caches/$name") ||
    fail "cannot read the keys of $cache: is the URL right, and may the token read it? Or give public-keys."
  tr -d '\n ' <<<"$answer" | sed -E 's/.*"publicKeys":\[([^]]*)\].*/\1/' | tr -d '"' | tr ',' ' '
}

# The token, as Nix reads it: a host without its port, and a password.
write_netrc() {
  local host=${cache#*://}
  host=${host%%/*}
  (umask 077 && printf 'machine %s\nlogin larder\npassword %s\n' "${host%:*}" "$LARDER_TOKEN" >"$netrc")
}

setup() {
  command -v nix >/dev/null || fail "install Nix first, for example with cachix/install-nix-action"
  local conf keys
  conf=${NIX_CONF_DIR:-/etc/nix}/nix.conf
  keys=$(public_keys)
  {
    echo "extra-substituters = $cache"
    echo "extra-trusted-public-keys = $keys"
  } >"$state/nix.conf"
  if [ -n "${LARDER_TOKEN:-}" ]; then
    write_netrc
    echo "netrc-file = $netrc" >>"$state/nix.conf"
  fi
  as_owner "$conf" mkdir -p "$(dirname "$conf")"
  as_owner "$conf" tee -a "$conf" <"$state/nix.conf" >/dev/null
  # A daemon reads its configuration when it starts.
  if command -v systemctl >/dev/null && systemctl is-active --quiet nix-daemon 2>/dev/null; then
    sudo systemctl restart nix-daemon
  fi
  list_paths >"$state/before"
  echo "Larder: fetching from $cache"
}

# Paths that this job built: new ones, made here and not fetched, and not derivations.
built_paths() {
  list_paths >"$state/after"
  comm -13 "$state/before" "$state/after" | grep -v '\.drv$' >"$state/new" || true
  [ -s "$state/new" ] || return 0
  # "ultimate" is how Nix marks what it built itself.
  xargs nix --extra-experimental-features nix-command path-info --sigs <"$state/new" |
    awk '$2 == "ultimate" { print $1 }'
}

push() {
  local paths=()
  if [ -n "${LARDER_PATHS:-}" ]; then
    read -r -a paths <<<"$(tr '\n' ' ' <<<"$LARDER_PATHS")"
  else
    [ -e "$state/before" ] || fail 'nothing is known of what was here before: run the action with mode "setup" first, or give paths'
    mapfile -t paths < <(built_paths)
  fi
  echo "pushed=${#paths[@]}" >>"$GITHUB_OUTPUT"
  if [ ${#paths[@]} = 0 ]; then
    echo "Larder: nothing was built"
    return
  fi
  if [ -n "${LARDER_TOKEN:-}" ]; then
    write_netrc
  elif [ ! -e "$netrc" ]; then
    fail "a token that may push is needed: give it as token"
  fi
  printf '%s\n' "${paths[@]}" |
    xargs nix --extra-experimental-features nix-command --option netrc-file "$netrc" copy --to "$cache"
  echo "Larder: pushed ${#paths[@]} paths and what they refer to, to $cache"
}

mkdir -p "$state"
chmod 700 "$state"
case $mode in
  setup) setup ;;
  push) push ;;
  *) fail "mode must be setup or push, and is '$mode'" ;;
esac
