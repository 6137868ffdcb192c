# What the scripts that install into .tools/ share. Sourced; the caller sets NAME, the name it speaks under.
#
# A tool is put together in a folder that ends with $UNFINISHED and renamed when it is whole, with a copy of its pin inside:
# an interrupted setup leaves nothing that passes for installed, and a changed pin is installed by the next setup.

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly PINS=$PWD/scripts/requirements
readonly TOOLS=$PWD/.tools
# The nats CLI and Ollama ask for this Go.
readonly GO_MAJOR=1 GO_MINOR=26
locked=

say() { printf '%s: %s\n' "$NAME" "$*" >&2; }

die() {
  say "$*"
  exit 1
}

# field NAME JSON: that member of the document.
field() {
  python3 -c 'import json, sys; print(json.loads(sys.argv[2])[sys.argv[1]])' "$1" "$2"
}

# go_module PIN: downloads what the pin names, and prints the folder of its source. Inside it, its own go.sum, under the
# pinned checksum, pins all it depends on, so the checksum database of Go has nothing to add and may be out of reach.
go_module() {
  local module version sum found got
  read -r module version sum < <(grep -v '^#' "$PINS/$1.txt")
  found=$(cd / && go mod download -json "$module@$version") || die "cannot download $module $version: $found"
  got=$(field Sum "$found")
  [ "$got" = "$sum" ] || die "$module $version has the checksum $got, but $sum is pinned"
  field Dir "$found"
}

# The version of a Go module's pin, without the v.
go_module_version() { sed -n '/^#/!s/^[^ ]* v\([^ ]*\) .*/\1/p' "$PINS/$1.txt"; }

# Sets Go up as found on the PATH, or brings one into the folder; what the environment says of builds does not count.
ready_go() {
  unset GOOS GOARCH GOEXPERIMENT
  export GOTOOLCHAIN=local GO111MODULE=on GOWORK=off GOSUMDB=off GOFLAGS='-mod=readonly -modcacherw'
  go_is_new_enough || bring_go "$1"
}

go_is_new_enough() {
  local found
  found=$(go env GOVERSION 2>/dev/null) || return 1
  [[ $found =~ ^go([0-9]+)\.([0-9]+) ]] || return 1
  ((BASH_REMATCH[1] > GO_MAJOR || (BASH_REMATCH[1] == GO_MAJOR && BASH_REMATCH[2] >= GO_MINOR)))
}

# Go and its caches in a folder that goes when the build is done; a Go that was there keeps using its own caches.
bring_go() {
  local scratch=$1
  say "bringing Go for the build, as none from $GO_MAJOR.$GO_MINOR on is on the PATH, 70 MB to download, about 10 s"
  pip_install go "$scratch"
  unset GOROOT
  export PATH="$scratch/go/bin:$PATH" GOPATH="$scratch/modules" GOCACHE="$scratch/cache"
}

# pip_install PIN FOLDER: what the pin names, wheels alone, each with a pinned checksum, executables in FOLDER/bin.
pip_install() {
  # A pip that is set to install for the user, or in virtual environments alone, would refuse the folder.
  PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet \
    --disable-pip-version-check --no-compile --no-deps --only-binary :all: --require-hashes \
    --requirement "$PINS/$1.txt" --target "$2" ||
    die "pip could not install $1: it needs a package index in reach, and Linux x86_64, Linux aarch64 or macOS arm64"
}

need_pip() {
  command -v python3 >/dev/null || die 'Python 3 is missing; on Debian and Ubuntu: apt-get install python3 python3-pip'
  python3 -m pip --version >/dev/null 2>&1 || die 'pip is missing; on Debian and Ubuntu: apt-get install python3-pip'
}

# Lets one setup of this kind work at a time. The lock lies on file descriptor 9, which all that is started from here
# shares, so it lasts as long as anything is still writing, also when this script was killed, and never longer.
lock() {
  if [ -n "$locked" ]; then return; fi
  mkdir -p "$TOOLS"
  exec 9>"$TOOLS/$LOCK"
  python3 - "$NAME" <<'PYTHON'
import fcntl, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print(f"{sys.argv[1]}: waiting for another setup that is at work", file=sys.stderr)
    fcntl.flock(9, fcntl.LOCK_EX)
PYTHON
  locked=yes
  trap remove_unfinished EXIT
  remove_unfinished
}

remove_unfinished() { rm -rf "$TOOLS"/*"$UNFINISHED"; }
