#!/bin/sh
# The baseline: the work of one fully cached deploy, done by hand with the engines' own tools. Everything is prepared but the work:
# the builder's image is in containerd, its cache volume is warm. Prints "<step> <milliseconds>" for each step.
#
# usage: raw.sh BIN CONTAINERD_SOCKET NAMESPACE BUILDER_IMAGE CACHE_DIR SOURCE_DIR WORK_DIR PORT
set -eu
bin=$1 socket=$2 ns=$3 builder=$4 cache=$5 source=$6 work=$7 port=$8
ctr="$bin/ctr -a $socket -n $ns"
runc="--runc-binary $bin/runc --runc-root $work/runc"
export PATH="$bin:$PATH"

now() { date +%s%N; }
step() { echo "$1 $(( ($(now) - t) / 1000000 ))"; t=$(now); }

t=$(now)
$ctr run -d --privileged --net-host $runc \
  --mount "type=bind,src=$cache,dst=/var/lib/buildkit,options=rbind:rw" \
  --mount "type=bind,src=$work,dst=/work,options=rbind:rw" \
  "$builder" raw-builder /usr/bin/buildkitd --config /work/buildkitd.toml --addr unix:///work/buildkitd.sock --oci-worker=true --containerd-worker=false
until "$bin/buildctl" --addr "unix://$work/buildkitd.sock" debug info >/dev/null 2>&1; do sleep 0.02; done
step wake

"$bin/buildctl" --addr "unix://$work/buildkitd.sock" build --progress quiet --frontend dockerfile.v0 \
  --local context="$source" --local dockerfile="$source" \
  --output "type=oci,name=raw.local/app:1,dest=$work/image.tar,compression=zstd,compression-level=1" >/dev/null
step build

$ctr images import "$work/image.tar" >/dev/null
step import

$ctr run -d --net-host $runc raw.local/app:1 raw-app >/dev/null
until curl -fsS -o /dev/null "http://127.0.0.1:$port/"; do sleep 0.02; done
step rollout
