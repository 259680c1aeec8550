#!/usr/bin/env bash
# Starts a SLURM of one machine for the tests, as root or with sudo; what already runs is left alone.
# It lives in one folder with ports of its own, apart from any cluster that this machine belongs to.
set -euo pipefail
home="${1:-/tmp/dsrl-slurm}"
export SLURM_CONF="$home/slurm.conf" PATH="$PATH:/usr/sbin:/sbin"  # not in the PATH of every user
sudo=""
[ "$(id -u)" -eq 0 ] || sudo="sudo -n"

fail() {
  echo "start.sh: $1" >&2
  $sudo tail -n 20 "$home"/*.log /var/log/munge/munged.log >&2 2>/dev/null || true
  exit 1
}

wait_for() { # what it is, then the condition
  local what="$1" deadline=$((SECONDS + 30))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || fail "$what after 30 s"
    sleep 0.2
  done
}

usable() { sinfo --noheader --format=%T | grep -qE '^(idle|mixed|allocated)$'; }

for program in munged slurmctld slurmd sinfo; do
  command -v "$program" >/dev/null || fail "$program is missing; apt-get install slurm-wlm munge"
done

[ ! -f "$SLURM_CONF" ] || ! usable 2>/dev/null || exit 0

if ! munge --no-input >/dev/null 2>&1; then
  $sudo install -d -o munge -g munge -m 755 /run/munge
  $sudo install -d -o munge -g munge -m 700 /etc/munge /var/log/munge /var/lib/munge
  # --force: containers often have a root folder that munged finds too open
  $sudo runuser -u munge -- munged --force 2>/dev/null || fail "munged does not start"
  wait_for "munge does not answer" munge --no-input
fi

$sudo install -d -m 755 "$home" "$home/state" "$home/spool"
host="$(hostname -s)"
$sudo tee "$SLURM_CONF" >/dev/null <<CONF
ClusterName=dsrl-test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5          # also how long a requeued job waits before it may start again; 120 by default
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides  # CPUs below are promised, not counted
SchedulerParameters=sched_min_interval=100000,sched_interval=1,bf_interval=1,batch_sched_delay=0
JobRequeue=1
ReturnToService=2
MailProg=/bin/true
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd.pid
SlurmctldLogFile=$home/slurmctld.log
SlurmdLogFile=$home/slurmd.log
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 RealMemory=$(free --mega | awk '/^Mem/ {print int($2 * 0.9)}') State=UNKNOWN
PartitionName=short Nodes=$host Default=YES MaxTime=INFINITE State=UP
PartitionName=long Nodes=$host MaxTime=INFINITE State=UP
CONF

scontrol ping 2>/dev/null | grep -q "is UP" || $sudo env SLURM_CONF="$SLURM_CONF" /usr/sbin/slurmctld || fail "slurmctld does not start"
wait_for "slurmctld does not answer" bash -c 'scontrol ping | grep -q "is UP"'
$sudo env SLURM_CONF="$SLURM_CONF" /usr/sbin/slurmd || fail "slurmd does not start"
wait_for "the node is not idle" usable
