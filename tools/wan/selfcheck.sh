#!/bin/bash
# Checks the emulator against other people's tools. Root. Needs: iperf3 curl python3 iputils-ping iproute2. About 75 s.
# Usage: ./selfcheck.sh [path/to/wanlink]
W=${1:-${CARGO_TARGET_DIR:-$(dirname "$0")/../../target}/release/wanlink}
[ -x "$W" ] || { echo "no $W: cargo build --release -p packhorse-wan"; exit 2; }
W=$(realpath "$W"); T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T" || exit 2
bad=0
ok() { # name, value, low, high
  if python3 -c "import sys;v,l,h=map(float,sys.argv[1:]);sys.exit(not l<=v<=h)" "$2" "$3" "$4" 2>/dev/null
  then printf 'ok    %-52s %s in [%s, %s]\n' "$1" "$2" "$3" "$4"
  else printf 'FAIL  %-52s %s not in [%s, %s]\n' "$1" "$2" "$3" "$4"; bad=$((bad+1)); fi; }
js() { python3 -c "import json,sys;d=json.load(open(sys.argv[1]));print(eval(sys.argv[2]))" "$1" "$2"; }
run() { "$W" run --json o.json --server-log srv.log "$@" 2>>err.log; }
iperf() { # link options -- client options
  local l=(); while [ "$1" != -- ]; do l+=("$1"); shift; done; shift
  run "${l[@]}" --wait-port 5201 -- iperf3 -s -1 ::: iperf3 -J -c 10.77.0.1 -R "$@" > i.json; }

# the median: a single late wake-up on a busy machine moves the mean of 25 (the mean is printed with it)
rtts() { python3 -c "
import re,statistics as s;v=[float(x) for x in re.findall(r'time=([0-9.]+)',open('p').read())];print(s.median(v) if '$1'=='med' else round(s.mean(v),3))"; }
for rtt in 0.2 20 100 300; do
  run --rtt ${rtt}ms -- ping -c 25 -i 0.03 10.77.0.1 > p
  ok "ping RTT, $rtt ms asked (ms, median; mean $(rtts mean))" "$(rtts med)" $rtt "$(python3 -c "print($rtt+0.6)")"
done
run --ab delay=10ms --ba delay=70ms -- ping -c 25 -i 0.03 10.77.0.1 > p
ok "ping RTT, 10 ms one way and 70 ms back" "$(rtts med)" 80 80.6

# a small rate and a big socket buffer: on a busy machine iperf3 itself would lose packets
iperf --rtt 10ms --ab loss=5% -- -u -b 20M -w 4M -l 500 -t 5
ok "iperf3 UDP loss, 5 % asked (%)" "$(js i.json 'd["end"]["sum"]["lost_percent"]')" 4.5 5.5
ok "   by the emulator's own count (%)" "$(js o.json '100*d["a_to_b"]["drop_loss"]/d["a_to_b"]["in_packets"]')" 4.6 5.4
iperf --rtt 10ms --ab ge=0.5%:20%:90% -- -u -b 20M -w 4M -l 500 -t 5
ok "iperf3 UDP burst loss, 2.2 % asked (%)" "$(js i.json 'd["end"]["sum"]["lost_percent"]')" 1.7 2.7
iperf --rtt 10ms --rate 50mbit --queue 100kB -- -u -b 100M -w 4M -l 1472 -t 4
ok "UDP at twice the rate: Mbit/s of IP that got through" "$(js o.json 'd["a_to_b"]["out_mbit_s"]')" 49 50.5
ok "   its queue never over the limit (bytes)" "$(js o.json 'd["a_to_b"]["queue_max_bytes"]')" 98500 100000
ok "   its queueing delay (ms)" "$(js o.json 'd["a_to_b"]["queue_delay_max_ms"]')" 15.5 16
# No `iperf3 -O`: it credits data held behind a hole to the time after the omitted second and then
# reports more than the line can carry. The bytes on B's device, over 3 s in mid-transfer, are the judge.
cat > rx.py <<'P'
import json, subprocess, sys, time
def rx():
    return next(int(l.split(':')[1].split()[0]) for l in open('/proc/self/net/dev') if l.strip().startswith('wan0:'))
p = subprocess.Popen(['iperf3', '-J', '-c', '10.77.0.1', '-R', '-t', '5'], stdout=subprocess.PIPE, text=True)
time.sleep(1.5); t, b = time.monotonic(), rx()
time.sleep(3); r = (rx() - b) * 8 / (time.monotonic() - t) / 1e6
print(json.dumps({"rx": r, "goodput": json.loads(p.communicate()[0])["end"]["sum_received"]["bits_per_second"] / 1e6}))
P
for r in 20 200 900; do
  run --rtt 10ms --rate ${r}mbit --queue 1.5MB --cc cubic --wait-port 5201 -- iperf3 -s -1 ::: python3 rx.py > i.json
  ok "TCP cubic, $r Mbit/s asked: on the device (Mbit/s)" "$(js i.json 'd["rx"]')" "$(python3 -c "print($r*.95)")" "$(python3 -c "print($r*1.003)")"
  ok "   goodput, at most 1448/1500 of it (Mbit/s)" "$(js i.json 'd["goodput"]')" "$(python3 -c "print($r*.85)")" "$(python3 -c "print($r*1448/1500)")"
done
ok "   fidelity ok at 900 Mbit/s (1 = yes)" "$(js o.json 'd["fidelity"]=="ok"' | sed 's/True/1/;s/False/0/')" 1 1

run --rtt 10ms --ab dup=20% -- ping -c 300 -i 0.004 10.77.0.1 > p
ok "duplicates of 300 pings, 20 % asked" "$(grep -c 'DUP!' p)" 40 80
run --rtt 4ms --ab reorder=20%,reorder-by=30ms -- ping -c 300 -i 0.004 10.77.0.1 > p
ok "overtaken pings of 300, 20 % asked" "$(sed -n 's/.*icmp_seq=\([0-9]*\) .*/\1/p' p | awk '$1<m{n++}$1>m{m=$1}END{print n+0}')" 30 75
for i in 1 2 3; do
  run --rtt 4ms --loss 10% --seed $((i/3+5)) -- ping -c 300 -i 0.004 10.77.0.1 | sed -n 's/.*icmp_seq=\([0-9]*\) .*/\1/p' > s$i
done
ok "same seed, same packets lost (1 = yes)" "$(cmp -s s1 s2 && echo 1 || echo 0)" 1 1
ok "another seed, others (1 = yes)" "$(cmp -s s1 s3 && echo 0 || echo 1)" 1 1

mkdir w; head -c 20000000 /dev/urandom > w/f; want=$(sha256sum < w/f)
get() { run "$@" --wait-port 8000 --timeout 60s -- python3 -m http.server -b 10.77.0.1 -d w 8000 ::: curl -s -o g http://10.77.0.1:8000/f; }
get --rtt 4ms --corrupt 1%
ok "1 % of packets damaged, file whole (1 = yes)" "$([ "$(sha256sum < g)" = "$want" ] && echo 1 || echo 0)" 1 1
ok "   packets damaged" "$(js o.json 'd["a_to_b"]["corrupted"]')" 80 250
get --rtt 4ms --corrupt-silent 0.1%
ok "0.1 % damaged with mended checksum: bytes that differ" "$(cmp -l w/f g | wc -l)" 3 40
ok "   length is right" "$(stat -c %s g)" 20000000 20000000

names() { ls /run/netns 2>/dev/null | grep -c '^wl-'; }
before=$(names)
for i in 1 2 3; do "$W" run --rtt 20ms --json m$i.json -- ping -q -c 20 -i 0.02 10.77.0.1 > m$i 2>/dev/null & p[$i]=$!; done; wait ${p[1]} ${p[2]} ${p[3]}
ok "three links at once: packets that came back" "$(cat m1 m2 m3 | sed -n 's/.* \([0-9]*\) received.*/\1/p' | paste -sd+ | bc 2>/dev/null || cat m1 m2 m3 | awk '/received/{n+=$4}END{print n}')" 60 60
for sig in INT TERM KILL; do
  "$W" run --json k.json -- sh -c 'setsid sleep 4321 & sleep 4321' ::: sh -c 'setsid sleep 4322 & exec sleep 4322' 2>/dev/null & k=$!
  sleep 1; ok "running before SIG$sig" "$(pgrep -fc '^sleep 432[12]$')" 4 4
  kill -$sig $k; wait $k 2>/dev/null; sleep 0.5
  ok "left running after SIG$sig" "$(pgrep -fc '^sleep 432[12]$')" 0 0
  for q in $(pgrep -f '^sleep 432[12]$'); do kill $q; done
done
"$W" up > u 2>/dev/null & k=$!; sleep 1; n=$(awk '{print $2}' u)
ok "up: ping from a named namespace" "$(ip netns exec "$n" ping -q -c 3 -i 0.1 10.77.0.2 | awk '/received/{print $4}')" 3 3
kill $k; wait $k 2>/dev/null
"$W" up > u 2>/dev/null & k=$!; sleep 1; kill -KILL $k; wait $k 2>/dev/null; sleep 0.5
ok "no namespace left (1 = yes)" "$([ "$before" = "$(names)" ] && echo 1 || echo 0)" 1 1
[ $bad = 0 ] && echo "all ok" || { echo "$bad failed"; tail -5 err.log; exit 1; }
