#!/usr/bin/env bash
# Checks what a Docker engine needs of the dockerd that docker-up.sh started.
# Prints one line per check; about 45 seconds. "privileged" fails where the
# machine lacks CAP_SYS_RESOURCE.
#   SOCK  the daemon's socket                 (default /tmp/testbed/tbdk/docker.sock)
#   PUB   address to publish a port at        (default 0.0.0.0)
#   ADDR  where a published port is reached   (default 10.204.0.2)
set -u
SOCK=${SOCK:-/tmp/testbed/tbdk/docker.sock} PUB=${PUB:-0.0.0.0} ADDR=${ADDR:-10.204.0.2}
export DOCKER_HOST=unix://$SOCK
P=${P:-tbchk}
ok=0; bad=0
r() { if [ "$2" = 0 ]; then echo "works  $1 ${3:-}"; ok=$((ok+1)); else echo "FAILS  $1 ${3:-}"; bad=$((bad+1)); fi; }
cleanup() { docker ps -aq --filter label=$P | xargs -r docker rm -fv >/dev/null 2>&1; docker network rm $P-net >/dev/null 2>&1; docker volume rm $P-vol >/dev/null 2>&1; [ -n "${EVP:-}" ] && kill $EVP 2>/dev/null; }
trap cleanup EXIT; cleanup
run() { docker run -d --label $P "$@"; }
(docker events --format '{{.Type}} {{.Action}}' >/tmp/testbed/$P.events 2>&1 & echo $! >/tmp/testbed/$P.evp; wait) & sleep 0.3; EVP=$(cat /tmp/testbed/$P.evp)
# 1 memory limit
c=$(run --memory 64m --memory-swap 64m --cpus 0.5 --pids-limit 50 localtest/busybox:1 sleep 300)
docker exec $c sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes' | grep -qx 67108864; r "memory limit (cgroup file in the container)" $?
docker exec $c cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us | grep -qx 50000; r "cpu limit 0.5 (cfs quota)" $?
docker exec $c sh -c 'cat /sys/fs/cgroup/pids/pids.max' | grep -qx 50; r "pids limit" $?
docker update --memory 128m --memory-swap 128m $c >/dev/null && docker exec $c cat /sys/fs/cgroup/memory/memory.limit_in_bytes | grep -qx 134217728; r "update limit on a live container" $?
o=$(run --memory 16m --memory-swap 16m localtest/busybox:1 sh -c 'tail /dev/zero'); docker wait $o >/tmp/testbed/$P.rc; docker inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' $o | grep -qx 'true 137'; r "OOM kill reported" $? "$(docker inspect -f 'OOMKilled={{.State.OOMKilled}} exit={{.State.ExitCode}}' $o)"
b=$(run --cpus 0.25 localtest/busybox:1 sh -c 'while :; do :; done'); sleep 2; s=$(docker stats --no-stream --format '{{.CPUPerc}}' $b); python3 - "$s" <<'PY'
import sys; v=float(sys.argv[1].rstrip('%')); sys.exit(0 if 15<v<35 else 1)
PY
r "cpu limit in force" $? "(stats: $s of 25%)"; docker rm -f $b >/dev/null
# network with DNS aliases
docker network create --label $P $P-net >/dev/null; r "user network" $?
w=$(run --network $P-net --network-alias frontend --name $P-web localtest/web:1); sleep 1
docker run --rm --label $P --network $P-net localtest/busybox:1 timeout 3 wget -qO- http://frontend:8080/ | grep -q 'web v1'; r "DNS alias on user network" $?
docker run --rm --label $P --network $P-net localtest/busybox:1 timeout 3 wget -qO- http://$P-web:8080/ | grep -q 'web v1'; r "DNS by container name" $?
p=$(run -p $PUB:0:8080 localtest/web:2); port=$(docker port $p 8080 | head -1 | cut -d: -f2); sleep 0.5; curl -sm 3 http://$ADDR:$port/ | grep -q 'web v2'; r "published port" $?
docker network connect --alias second $P-net $p && docker exec $w timeout 3 wget -qO- http://second:8080/ | grep -q v2; r "connect a running container to a network" $?
ip=$(docker inspect -f '{{.NetworkSettings.IPAddress}}' $p); curl -sm 3 http://$ip:8080/ | grep -q v2; r "container IP from the host" $?
# health check
h=$(run --health-cmd 'wget -qO- http://127.0.0.1:8080/' --health-interval 1s --health-retries 2 --health-timeout 2s localtest/web:1); for i in 1 2 3 4 5 6 7 8; do [ "$(docker inspect -f '{{.State.Health.Status}}' $h)" = healthy ] && break; sleep 0.5; done; [ "$(docker inspect -f '{{.State.Health.Status}}' $h)" = healthy ]; r "health check becomes healthy" $?
docker exec $h sh -c 'kill $(pidof httpd) 2>/dev/null; true'
h2=$(run --health-cmd 'exit 1' --health-interval 1s --health-retries 2 localtest/web:1); sleep 4; [ "$(docker inspect -f '{{.State.Health.Status}}' $h2)" = unhealthy ]; r "health check becomes unhealthy" $?
# restart policies
k=$(run --restart on-failure:3 localtest/busybox:1 sh -c 'exit 3'); sleep 4; [ "$(docker inspect -f '{{.RestartCount}}' $k)" = 3 ]; r "restart on-failure:3" $? "(count $(docker inspect -f '{{.RestartCount}}' $k))"
a=$(run --restart always localtest/busybox:1 sleep 300); p1=$(docker inspect -f '{{.State.Pid}}' $a); kill -9 $p1; sleep 2; p2=$(docker inspect -f '{{.State.Pid}}' $a); [ "$p1" != "$p2" ] && [ "$p2" != 0 ]; r "restart always after kill -9" $?
# volumes
mkdir -p /tmp/testbed/$P-bind; echo hi > /tmp/testbed/$P-bind/f; docker run --rm -v /tmp/testbed/$P-bind:/data:ro localtest/busybox:1 cat /data/f | grep -qx hi; r "bind mount (read only)" $?
docker run --rm -v /tmp/testbed/$P-bind:/data:ro localtest/busybox:1 touch /data/x 2>/dev/null; [ $? != 0 ]; r "read-only bind refuses writes" $?
docker volume create --label $P $P-vol >/dev/null; docker run --rm -v $P-vol:/data localtest/busybox:1 sh -c 'echo v >/data/f'; docker run --rm -v $P-vol:/data localtest/busybox:1 cat /data/f | grep -qx v; r "named volume keeps data" $?
docker run --rm --tmpfs /t:size=1m localtest/busybox:1 sh -c 'df /t | grep -q tmpfs'; r "tmpfs mount" $?
# exec, logs, stats
echo ping | docker exec -i $c sh -c 'read x; echo got-$x' | grep -qx got-ping; r "exec with stdin attached" $?
script -qec "docker exec -it $c sh -c 'tty; echo done'" /dev/null </dev/null 2>/dev/null | grep -q /dev/pts; r "exec with a terminal" $?
docker exec $c sh -c 'exit 7'; [ $? = 7 ]; r "exec exit code" $?
l=$(run localtest/busybox:1 sh -c 'i=0; while [ $i -lt 20 ]; do echo out$i; echo err$i >&2; i=$((i+1)); sleep 0.2; done'); timeout 3 docker logs -f $l >/tmp/testbed/$P.o 2>/tmp/testbed/$P.e; [ $(grep -c out /tmp/testbed/$P.o) -ge 5 ] && [ $(grep -c err /tmp/testbed/$P.e) -ge 5 ]; r "logs follow, stdout and stderr apart" $?
docker logs --tail 2 --timestamps $l 2>/dev/null | grep -qE '^[0-9]{4}-.*Z out'; r "logs tail + timestamps" $?
curl -sN -m 4 --unix-socket $SOCK "http://d/v1.41/containers/$c/stats?stream=true" >/tmp/testbed/$P.stats; [ $(wc -l </tmp/testbed/$P.stats) -ge 2 ]; r "stats stream" $? "($(wc -l </tmp/testbed/$P.stats) samples in 4 s)"
python3 - /tmp/testbed/$P.stats <<'PY'
import sys,json
l=[json.loads(x) for x in open(sys.argv[1]) if x.strip().endswith('}')]
s=l[-1]; print("       stats has:",sorted(s), "mem", s['memory_stats'].get('usage'), s['memory_stats'].get('limit'), "net", list(s.get('networks',{})), "blkio", bool(s['blkio_stats'].get('io_service_bytes_recursive')))
PY
docker run --rm --user 1000:1000 localtest/busybox:1 id -u | grep -qx 1000; r "user switching" $?
docker run --rm --cap-drop ALL --read-only --security-opt no-new-privileges localtest/busybox:1 sh -c '! touch /x 2>/dev/null'; r "read-only root, cap-drop, no-new-privileges" $?
docker run --rm --device /dev/null:/dev/mynull localtest/busybox:1 test -c /dev/mynull; r "device mapping" $?
docker run --rm --privileged localtest/busybox:1 mount -t tmpfs x /tmp; r "privileged" $?
docker run --rm --init localtest/busybox:1 sh -c 'ps | head -2 | grep -q init' ; r "init process (--init)" $?
docker stop -t 2 $c >/dev/null; docker start $c >/dev/null; docker pause $c >/dev/null; [ "$(docker inspect -f '{{.State.Status}}' $c)" = paused ]; r "stop, start, pause" $?; docker unpause $c >/dev/null
docker cp /tmp/testbed/$P-bind/f $c:/tmp/f && docker exec $c cat /tmp/f | grep -qx hi; r "copy into a container" $?
docker commit $c $P-commit:1 >/dev/null && docker rmi $P-commit:1 >/dev/null; r "commit + remove image" $?
printf 'FROM localtest/busybox:1\nRUN echo built > /built\nCMD cat /built\n' | DOCKER_BUILDKIT=0 docker build -q -t $P-built:1 - >/dev/null 2>&1; r "docker build (classic builder) with RUN" $?; docker rmi $P-built:1 >/dev/null 2>&1
t=$(docker top $c | wc -l); [ $t -ge 2 ]; r "top" $?
docker rm -f $c >/dev/null; sleep 0.3; kill $EVP; for e in create start die oom kill destroy health_status; do grep -q "container $e" /tmp/testbed/$P.events || { echo "       no event: $e"; miss=1; }; done; [ -z "${miss:-}" ]; r "events stream (create start die oom kill destroy health_status)" $?
echo "$ok passed, $bad failed"
