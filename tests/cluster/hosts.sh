#!/usr/bin/env bash
# Hosts out of kernel namespaces on one machine, each with an address and an ssh server of its own.
#
#   hosts.sh need             what this machine lacks for it; nothing if it can be done
#   hosts.sh up LAB COUNT     hosts 10.77.0.11, 10.77.0.12, ...; state, keys and logs under LAB
#   hosts.sh kill LAB N       host N loses its power
#   hosts.sh down LAB         everything away
#
# A host has its own network (on a bridge that lives in a namespace too, so no packet leaves the machine),
# processes (`ray stop` kills every Ray process that it can see), name, /tmp, /dev/shm and root's home. Shared
# with the machine: everything else, and LAB/shared, which plays the network file system.
set -euo pipefail
NET=10.77.0
PREFIX=angioray
HOME_THERE=/tmp/home

lab() { ip netns exec $PREFIX-lab "$@"; }

need() {
  [ "$(id -u)" = 0 ] || { echo "this needs root"; return; }
  local tool
  for tool in ip unshare ssh sshd rsync ssh-keygen; do
    command -v $tool >/dev/null || [ -x /usr/sbin/$tool ] || { echo "there is no $tool here"; return; }
  done
  ip netns add $PREFIX-try 2>/dev/null || { echo "this machine allows no network namespaces"; return; }
  ip netns del $PREFIX-try
  unshare --pid --fork --mount --uts --ipc --mount-proc true 2>/dev/null || echo "this machine allows no process namespaces"
}

up() {
  local lab_folder=$1 count=$2 n
  mkdir -p "$lab_folder"/{shared,log} /run/sshd
  ssh-keygen -q -t ed25519 -N '' -f "$lab_folder/id"
  ssh-keygen -q -t ed25519 -N '' -f "$lab_folder/hostkey"
  sed "s#^root:.*#root:x:0:0:root:$HOME_THERE:/bin/bash#" /etc/passwd > "$lab_folder/passwd"
  { echo "127.0.0.1 localhost"; for n in $(seq "$count"); do echo "$NET.1$n $PREFIX-n$n"; done; } > "$lab_folder/hosts"
  ip netns add $PREFIX-lab
  lab ip link set lo up
  lab ip link add br0 type bridge
  lab ip addr add $NET.1/24 dev br0
  lab ip link set br0 up
  for n in $(seq "$count"); do
    ip netns add $PREFIX-n"$n"
    lab ip link add v"$n" type veth peer name eth0 netns $PREFIX-n"$n"
    lab ip link set v"$n" master br0 up
    ip -n $PREFIX-n"$n" link set lo up
    ip -n $PREFIX-n"$n" addr add $NET.1"$n"/24 dev eth0
    ip -n $PREFIX-n"$n" link set eth0 up
    # Ray finds its address by asking for the way to the outside; this one ends at the bridge.
    ip -n $PREFIX-n"$n" route add default via $NET.1
    ip netns exec $PREFIX-n"$n" unshare --pid --fork --kill-child --mount --uts --ipc --mount-proc \
      bash "$0" host "$lab_folder" "$n" < /dev/null > "$lab_folder/log/n$n.log" 2>&1 &
    echo $! > "$lab_folder/n$n.pid"
  done
}

# The first process of a host; it stays, and reaps what others leave.
host() {
  local lab_folder=$1 n=$2 root=$1/n$2 kept
  hostname $PREFIX-n"$n"
  mount --make-rprivate /
  mount -t tmpfs -o mode=1777,size=2g tmpfs /dev/shm
  mkdir -p "$root"
  mount -t tmpfs -o mode=1777,size=2g tmpfs "$root"
  mkdir -p "$root/home"
  chmod 700 "$root/home"
  mkdir -p "$root/${lab_folder#/tmp/}"/{shared,log}
  for kept in shared log; do mount --bind "$lab_folder/$kept" "$root/${lab_folder#/tmp/}/$kept"; done
  for kept in id.pub hostkey; do cp -p "$lab_folder/$kept" "$root/${lab_folder#/tmp/}/$kept"; done
  mount --bind "$lab_folder/passwd" /etc/passwd
  mount --bind "$lab_folder/hosts" /etc/hosts
  mount --rbind "$root" /tmp
  cd /
  export HOME=$HOME_THERE
  /usr/sbin/sshd -D -f /dev/null -E "$lab_folder/log/sshd-n$n.log" -h "$lab_folder/hostkey" \
    -o ListenAddress=$NET.1"$n" -o AuthorizedKeysFile="$lab_folder/id.pub" -o PidFile=none -o UsePAM=no \
    -o PermitRootLogin=prohibit-password -o PasswordAuthentication=no -o StrictModes=no -o UseDNS=no \
    -o MaxSessions=50 -o PrintMotd=no &
  wait
}

# The death of `unshare --kill-child` takes the host's first process, and that all others of the host.
kill_host() {
  local file=$1/n$2.pid pid
  [ -e "$file" ] || return 0
  pid=$(cat "$file")
  if grep -qa hosts.sh "/proc/$pid/cmdline" 2>/dev/null; then
    kill -9 "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
  fi
  rm -f "$file"
}

down() {
  local n
  for n in $(seq 9); do kill_host "$1" "$n"; done
  for n in lab $(seq -f n%g 9); do
    if ip netns list | grep -q "^$PREFIX-$n\b"; then ip netns del "$PREFIX-$n"; fi
  done
}

case ${1:-} in
  need) need ;;
  up) up "$2" "$3" ;;
  host) host "$2" "$3" ;;
  kill) kill_host "$2" "$3" ;;
  down) down "$2" ;;
  *) sed -n '2,12p' "$0"; exit 2 ;;
esac
