#!/bin/sh
# Tells whether the scheduler of this node asks kubesteer, and what is in the way. Reads and asks; changes nothing.
# Run it as root on a node of the control plane. It needs curl and openssl, and ends with the number of faults.
set -u

manifest=/etc/kubernetes/manifests/kube-scheduler.yaml
config=/etc/kubernetes/kubesteer/scheduler-config.yaml
scheduler=https://127.0.0.1:10259
two_weeks_s=1209600

usage() {
  echo "usage: $0 [--manifest FILE] [--config FILE] [--scheduler URL]"
  echo "defaults: $manifest, $config, $scheduler"
}

while [ $# -gt 0 ]; do
  case $1 in
    --manifest | --config | --scheduler)
      [ $# -gt 1 ] || { usage >&2; exit 64; }
      case $1 in
        --manifest) manifest=$2 ;;
        --config) config=$2 ;;
        --scheduler) scheduler=$2 ;;
      esac
      shift 2 ;;
    --help) usage; exit 0 ;;
    *) usage >&2; exit 64 ;;
  esac
done

faults=0

# say STATUS WHAT FIX: one line, and the fix below where STATUS is not 0.
say() {
  if [ "$1" -eq 0 ]; then
    echo "ok    $2"
  else
    echo "FAULT $2"
    echo "      $3"
    faults=$((faults + 1))
  fi
}

# setting NAME: the first value of that name in the configuration.
setting() {
  sed -n "s/^[ -]*$1:[[:space:]]*//p" "$config" 2>/dev/null | sed "s/[[:space:]]*#.*//; s/[\"']//g; q"
}

[ -r "$config" ]
say $? "$config can be read" "write it (step 3), or name another with --config"

grep -Eq "^[[:space:]]*-[[:space:]]*[\"']?--config=$config[\"']?[[:space:]]*$" "$manifest" 2>/dev/null
say $? "$manifest gives it to the scheduler" "add --config=$config to the command (step 5)"

grep -Eq "mountPath:[[:space:]]*[\"']?$(dirname "$config")[\"']?" "$manifest" 2>/dev/null
say $? "its folder is mounted" "add the volume and its mount (step 5)"

[ "$(setting ignorable)" = true ]
say $? "ignorable is true" "set it: else no pod is placed while kubesteer is away"

[ "$(setting nodeCacheCapable)" = true ]
say $? "nodeCacheCapable is true" "set it: full nodes are slow, and since 1.33 spoil the scheduler's own scores"

ca=$(setting caFile) cert=$(setting certFile) key=$(setting keyFile) url=$(setting urlPrefix) name=$(setting serverName)
for file in "$ca" "$cert" "$key"; do
  [ -n "$file" ] && [ -r "$file" ]
  say $? "${file:-caFile, certFile or keyFile} can be read" "copy it from the Secret kubesteer-scheduler-client (step 2)"
done

openssl x509 -in "$cert" -noout -checkend $two_weeks_s >/dev/null 2>&1
say $? "${cert:-certFile} is good for two weeks" "copy it from the Secret kubesteer-scheduler-client again (step 2)"

# The scheduler connects to the URL's address and expects serverName's certificate, so curl does.
host=${url#https://} path=
case $host in */*) path=/${host#*/} host=${host%%/*} ;; esac
port=${host##*:} address=${host%:*}
name=${name:-$address}
answer=$(curl --silent --show-error --max-time 5 --cacert "$ca" --cert "$cert" --key "$key" \
  --connect-to "$name:$port:$address:$port" --header "Content-Type: application/json" \
  --data '{"Pod": {"metadata": {"name": "check", "namespace": "kubesteer"}, "spec": {"containers": []}}, "NodeNames": []}' \
  "https://$name:$port$path/filter" 2>&1)
case $answer in
  *'"NodeNames"'*'"Error":""'*) say 0 "$url/filter answers" "" ;;
  *) say 1 "$url/filter answers" "${answer:-no answer}; is that the address of the Service kubesteer-extender?" ;;
esac

health=$(curl --silent --show-error --insecure --max-time 5 "$scheduler/healthz" 2>&1)
[ "$health" = ok ]
say $? "the scheduler is up at $scheduler" "${health:-no answer}; its log: crictl logs, or /var/log/pods/kube-system_kube-scheduler*"

[ "$faults" -eq 0 ] && echo "the scheduler of this node asks kubesteer"
exit "$faults"
