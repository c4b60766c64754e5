#!/bin/sh
# Installs agentbus: fetches the release for this machine, checks it, and puts one file into PREFIX/bin.
#
#   sh install.sh [--version V] [--prefix DIR] [--base-url URL]
#
# AGENTBUS_VERSION, AGENTBUS_PREFIX and AGENTBUS_BASE_URL say the same. Without a version it is the newest; without a prefix
# /usr/local for root, else ~/.local. Nothing is changed before everything was checked.
set -eu

base_url=${AGENTBUS_BASE_URL:-'@BASE_URL@'}
version=${AGENTBUS_VERSION:-}
prefix=${AGENTBUS_PREFIX:-}
public_keys='@PUBLIC_KEYS@'
work=''

say() { printf '%s\n' "$*"; }
warn() { printf 'install.sh: %s\n' "$*" >&2; }
fail() {
  warn "$*"
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

cleanup() {
  if [ -n "$work" ]; then rm -rf "$work"; fi
}

arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      --version | --prefix | --base-url) [ $# -ge 2 ] || fail "$1 needs a value" ;;
    esac
    case $1 in
      --version) version=$2 && shift 2 ;;
      --prefix) prefix=$2 && shift 2 ;;
      --base-url) base_url=$2 && shift 2 ;;
      *) fail "there is no argument $1: --version V, --prefix DIR and --base-url URL are all" ;;
    esac
  done
  version=${version#v}
  base_url=${base_url%/}
  case $version in
    *[!0-9A-Za-z.-]*) fail "$version is no version: write it like 1.2.3" ;;
  esac
  case $base_url in
    http://* | https://*) ;;
    *) fail 'say where the releases are with --base-url URL or AGENTBUS_BASE_URL' ;;
  esac
  if [ -z "$prefix" ]; then
    if [ "$(id -u)" = 0 ]; then prefix=/usr/local; else prefix=$HOME/.local; fi
  fi
}

# Prints what the archive for this machine is called after.
detect() {
  case $(uname -s) in
    Linux) system=linux ;;
    Darwin) system=darwin ;;
    MINGW* | MSYS* | CYGWIN*) fail 'on Windows, fetch the zip of the release and put agentbus.exe where PATH finds it' ;;
    *) fail "there is no release for $(uname -s): build it from the sources" ;;
  esac
  case $(uname -m) in
    x86_64 | amd64) processor=x64 ;;
    aarch64 | arm64) processor=arm64 ;;
    *) fail "there is no release for a processor of the kind $(uname -m): build it from the sources" ;;
  esac
  # A shell that is translated says it is on Intel.
  if [ "$system" = darwin ] && [ "$(sysctl -n sysctl.proc_translated 2>/dev/null || true)" = 1 ]; then processor=arm64; fi
  libc=''
  if [ "$system" = linux ] && ! getconf GNU_LIBC_VERSION >/dev/null 2>&1; then
    case $(ldd --version 2>&1 || true) in
      *musl*) libc=-musl ;;
    esac
    for loader in /lib/ld-musl-*.so.1; do
      if [ -e "$loader" ]; then libc=-musl; fi
    done
  fi
  say "$system-$processor$libc"
}

# fetch URL FILE: all of it, and from https only by https, or it fails.
fetch() {
  if have curl; then
    case $1 in
      https://*) curl -fsSL --retry 2 --connect-timeout 20 --proto-redir =https -o "$2" "$1" ;;
      *) curl -fsSL --retry 2 --connect-timeout 20 -o "$2" "$1" ;;
    esac
  elif have wget; then
    wget -q -S -T 20 -O "$2" "$1" 2>"$2.told" || {
      grep . "$2.told" >&2
      return 1
    }
    # wget has no word for where redirects may lead, but tells where they led.
    case $1 in
      https://*)
        if grep -qi '^ *location: *http:' "$2.told"; then
          warn "$1 leads from https to http"
          return 1
        fi
        ;;
    esac
  else
    fail 'curl or wget is needed to fetch it'
  fi
}

sha256() {
  if have sha256sum; then
    sha256sum "$1" | cut -d ' ' -f 1
  elif have shasum; then
    shasum -a 256 "$1" | cut -d ' ' -f 1
  elif have openssl; then
    openssl dgst -sha256 -r "$1" | cut -d ' ' -f 1
  else
    fail 'sha256sum, shasum or openssl is needed to check it'
  fi
}

# Whether one of the keys signed the sums. Only OpenSSL 3 can tell, not what older systems call openssl.
check_signature() {
  if [ -z "$public_keys" ]; then
    warn 'this installer knows no release key: the signature is not checked, the SHA-256 is'
    return
  fi
  if ! have openssl || ! openssl pkeyutl -help 2>&1 | grep -q -e -rawin; then
    warn 'there is no openssl 3 here: the signature is not checked, the SHA-256 is'
    return
  fi
  fetch "$releases/SHA256SUMS.sig" "$work/SHA256SUMS.sig" ||
    fail "the release has no signature ($releases/SHA256SUMS.sig): nothing was installed"
  printf '%s\n' "$public_keys" | awk -v "place=$work/key" '
    /BEGIN PUBLIC KEY/ { count++ }
    { print > (place count) }'
  for key in "$work"/key*; do
    if openssl pkeyutl -verify -pubin -inkey "$key" -rawin -in "$work/SHA256SUMS" -sigfile "$work/SHA256SUMS.sig" >/dev/null 2>&1; then
      say 'signature: good'
      return
    fi
  done
  fail 'the signature of the release is not good: nothing was installed. Somebody may have changed it; tell whoever publishes it'
}

# Prints the name of the archive, as the sums have it.
archive() {
  found=$(awk -v "end=-$target.tar.gz" '
    length($2) > length(end) && substr($2, length($2) - length(end) + 1) == end && $2 ~ /^agentbus-[0-9][0-9A-Za-z.-]*$/ { print $2 }' "$work/SHA256SUMS")
  case $found in
    '') fail "the release has nothing for $target: nothing was installed" ;;
    *[[:space:]]*) fail "the release has several archives for $target: nothing was installed" ;;
  esac
  if [ -n "$version" ] && [ "$found" != "agentbus-$version-$target.tar.gz" ]; then
    fail "this is not version $version but $found: nothing was installed"
  fi
  say "$found"
}

hint() {
  case :$PATH: in
    *:"$bin":*) say "start it with: agentbus" ;;
    *)
      case ${SHELL:-} in
        */fish) line="fish_add_path $bin" ;;
        *) line="export PATH=\"$bin:\$PATH\"" ;;
      esac
      say "$bin is not in your PATH. Add this to what your shell reads at its start:"
      say "  $line"
      ;;
  esac
}

main() {
  arguments "$@"
  target=$(detect)
  bin=$prefix/bin
  if [ -n "$version" ]; then releases=$base_url/download/v$version; else releases=$base_url/latest/download; fi
  mkdir -p "$bin" 2>/dev/null || fail "$bin cannot be made: say another place with --prefix DIR, or be root"
  # Beside where it goes, so that it gets there whole, in one step.
  work=$(mktemp -d "$bin/.agentbus-install.XXXXXX" 2>/dev/null) ||
    fail "nothing can be written to $bin: say another place with --prefix DIR, or be root"
  trap cleanup EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP

  fetch "$releases/SHA256SUMS" "$work/SHA256SUMS" || fail "there is no release at $releases: nothing was installed"
  check_signature
  file=$(archive)
  say "fetching $file"
  # The newest may be another one by now.
  of=${file#agentbus-}
  of=${of%-"$target".tar.gz}
  fetch "$base_url/download/v$of/$file" "$work/$file" || fail "$file cannot be fetched: nothing was installed"
  expected=$(awk -v "name=$file" '$2 == name { print $1 }' "$work/SHA256SUMS")
  actual=$(sha256 "$work/$file")
  [ -n "$actual" ] && [ "$actual" = "$expected" ] ||
    fail "$file is not what was published (SHA-256 $actual, not $expected): nothing was installed. Try once more; if it stays, tell whoever publishes it"
  say 'SHA-256: good'

  (cd "$work" && tar -xzf "$file") || fail "$file cannot be unpacked: nothing was installed"
  program=$work/${file%.tar.gz}/agentbus
  chmod 755 "$program"
  if ! told=$("$program" version 2>&1); then
    case $target in
      *-musl) fail "it does not run here: nothing was installed. On Alpine: apk add libstdc++ ($told)" ;;
      *) fail "it does not run here: nothing was installed ($told)" ;;
    esac
  fi
  mv -f "$program" "$bin/agentbus"
  say "$told is $bin/agentbus"
  hint
}

# On the last line: of a script that was fetched in part, nothing runs.
main "$@"
