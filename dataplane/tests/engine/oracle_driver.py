"""The kernel's end of oracle.rs: a router with three devices in the network namespace it runs in (a
fresh one: the caller starts it by `unshare -n`), asked line by line. Packets are IPv4 packets and the
devices TUN; with the argument "tap" they are Ethernet frames and the devices TAP, with the MAC addresses
and neighbours of world.rs. With "tun 6" all of it is IPv6, with the addresses of six.rs.

  rules HEX        an iptables-restore text -> "ok"
  sets HEX         an ipset-restore text in place of all rules and sets -> "ok"
  packets N:HEX..  each written to device N -> for each the device it came out of, "-" if none did
  answers N:HEX..  the same -> for each what came out, N:HEX,N:HEX.., "-" if nothing did
  log WORD N:HEX.. the same -> the lines of the kernel's log with that word in them, in HEX
  flows            -> the TCP connections that are tracked: SPORT:STATE:TIMEOUT..
  entries          -> all flows: PROTOCOL:SRC:DST:A:B:MARK:PACKETS:BYTES:PACKETS:BYTES.., A and B the ports, or ID and
                      TYPE of ICMP; both directions' packets
  forget           -> no flow is tracked any more; "ok"
  judged N:HEX..   each written to device N, and whatever comes out thrown away -> "ok"
  paced MS N:HEX.. as packets, with so many milliseconds after each
  clock            -> nanoseconds of a clock that only goes forward
  pause MS         -> "ok", so many milliseconds later
  recent NAME      -> what `-m recent` knows by that name: ADDRESS=TTL=PACKETS..
  set PATH VALUE   of a file below /proc/sys/net -> "ok"
  ip WORDS..       the ip command -> "ok"
  set PATH VALUE   a setting below /proc/sys/net -> "ok"
  counters         -> "PACKETS:BYTES" of chain FORWARD's policy, then of each rule of all chains
  raw              -> the same of table raw, and chain PREROUTING
"""

import fcntl
import os
import re
import struct
import subprocess
import sys
import time

NAMES = ["east", "west", "wan0"]
TUNSETIFF, IFF_TUN, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0001, 0x0002, 0x1000
FRAMES = sys.argv[1:] == ["tap"]
SIX = sys.argv[2:] == ["6"]
TABLES = "ip6tables-legacy" if SIX else "iptables-legacy"
HEADER_BYTES = 14 if FRAMES else 0
NEIGHBOURS = {"east": ["10.0.1.2"], "west": ["10.0.2.2"], "wan0": ["10.0.3.2", "10.70.3.4"]}


def run(*words, **options):
    done = subprocess.run(words, capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stderr}")
    return done.stdout


def setting(path, value):
    with open(f"/proc/sys/net/{path}", "w", encoding="ascii") as file:
        file.write(value)


def device(name, number):
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    kind = IFF_TAP if FRAMES else IFF_TUN
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), kind | IFF_NO_PI))
    if FRAMES:
        run("ip", "link", "set", name, "address", f"02:00:00:00:00:{number - 1:02x}")
    setting(f"ipv6/conf/{name}/disable_ipv6", "0" if SIX else "1")
    if SIX:
        run("ip", "address", "add", f"2001:db8:{number}::1/64", "dev", name, "nodad")
        run("ip", "link", "set", name, "up", "txqueuelen", "10000")
        return tun
    setting(f"ipv4/conf/{name}/rp_filter", "0")
    setting(f"ipv4/conf/{name}/send_redirects", "0")
    run("ip", "address", "add", f"10.0.{number}.1/24", "dev", name)
    run("ip", "link", "set", name, "up", "txqueuelen", "10000")
    for host in NEIGHBOURS[name] if FRAMES else []:
        mac = "06:00:" + ":".join(f"{int(octet):02x}" for octet in host.split("."))
        run("ip", "neighbour", "replace", host, "lladdr", mac, "dev", name, "nud", "permanent")
    return tun


def is_error(packet):
    """Whether it is one of the kernel's own ICMP errors: they have network control precedence."""
    return packet[1] & 0xC0 == 0xC0 and packet[9] == 1 and packet[20] in (3, 5, 11, 12)


def label(packet):
    """What packets of a test are told apart by: the identification; of IPv6 the flow label, which no packet of the
    kernel's own has."""
    if SIX:
        return bytes([packet[1] & 15]) + packet[2:4]
    return packet[4:6]


def is_noise(packet):
    """Whether it is one that the kernel sends unasked, to its neighbours."""
    return SIX and (packet[8:10] == b"\xfe\x80" or packet[8:24] == bytes(16))


def arrived(tuns):
    """What came out: pairs of device and identification."""
    found = []
    for number, tun in enumerate(tuns):
        while True:
            try:
                packet = os.read(tun, 65536)
            except BlockingIOError:
                break
            # Of Ethernet, IPv4 only: the kernel may ask for a neighbour.
            if FRAMES and packet[12:14] != b"\x08\x00":
                continue
            packet = packet[HEADER_BYTES:]
            own = label(packet) == bytes(3) if SIX else is_error(packet)
            if not own:
                found.append((number, label(packet)))
    return found


def came_out(tuns):
    """All that came out, whole."""
    found = []
    for number, tun in enumerate(tuns):
        while True:
            try:
                packet = os.read(tun, 65536)
            except BlockingIOError:
                break
            if not is_noise(packet):
                found.append(f"{number}:{packet.hex()}")
    return ",".join(found) or "-"


def answers(tuns, asked):
    lines = []
    for one in asked:
        number, packet = one.split(":")
        os.write(tuns[int(number)], bytes.fromhex(packet))
        lines.append(came_out(tuns))
    return " ".join(lines)


def logged(tuns, word, asked):
    """What the kernel says in its log about each packet."""
    log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    os.lseek(log, 0, os.SEEK_END)
    answers(tuns, asked)
    lines = []
    while True:
        try:
            record = os.read(log, 8192)
        except BlockingIOError:
            return " ".join(lines) or "-"
        # "priority,sequence,time,flags;text", and lines about devices that begin with a blank.
        text = record.split(b";", 1)[1].split(b"\n")[0]
        if word.encode() in text:
            lines.append(text.hex())


def flows():
    text = run("conntrack", "-L", "-p", "tcp", *(["-f", "ipv6"] if SIX else []))
    found = re.findall(r"^tcp +6 (\d+) (\w+) .*?sport=(\d+)", text, re.M)
    return " ".join(f"{sport}:{state}:{timeout}" for timeout, state, sport in found)


def entries():
    found = []
    for line in run("conntrack", "-L").splitlines():
        name = lambda field, default="0": (re.findall(rf"\b{field}=(\d\S*)", line) or [default])[0]
        ports = (name("id"), name("type")) if " type=" in line else (name("sport"), name("dport"))
        protocol = line.split()[1]
        counts = re.findall(r"(?:packets|bytes)=(\d+)", line)
        found.append(":".join([protocol, name("src"), name("dst"), *ports, name("mark"), *counts]))
    return " ".join(sorted(found)) or "-"


def recent(name):
    try:
        with open(f"/proc/net/xt_recent/{name}", encoding="ascii") as file:
            lines = file.readlines()
    except FileNotFoundError:
        return "-"
    known = re.compile(r"src=(\S+) ttl: (\d+) last_seen: \d+ oldest_pkt: \d+ (.*)")
    found = [known.match(line).groups() for line in lines]
    return " ".join(sorted(f"{a}={ttl}={len(times.split(','))}" for a, ttl, times in found)) or "-"


def main():
    for place in ("all", "default"):
        setting(f"ipv4/conf/{place}/rp_filter", "0")
        setting(f"ipv4/conf/{place}/send_redirects", "0")
    setting("ipv4/ip_forward", "1")
    setting("netfilter/nf_conntrack_acct", "1")
    # No ICMP error is one too many.
    setting("ipv4/icmp_ratemask", "0")
    if SIX:
        setting("ipv6/conf/all/forwarding", "1")
        setting("ipv6/icmp/ratemask", "200")
        setting("ipv6/auto_flowlabels", "0")
    tuns = [device(name, number) for number, name in enumerate(NAMES, 1)]
    if SIX:
        run("ip", "route", "add", "2001:db8:70::/48", "dev", "wan0")
    else:
        run("ip", "route", "add", "10.70.0.0/16", "dev", "wan0")
    arrived(tuns)
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "rules":
            run(f"{TABLES}-restore", input=bytes.fromhex(rest[0]).decode())
            answer = "ok"
        elif word == "sets":
            run(f"{TABLES}", "-F")
            run("ipset", "flush")
            run("ipset", "destroy")
            run("ipset", "restore", input=bytes.fromhex(rest[0]).decode())
            answer = "ok"
        elif word in ("packets", "paced"):
            pause = int(rest.pop(0)) / 1000 if word == "paced" else 0
            if pause:
                # The kernel throws out what ended on this core at once, what ended on others later.
                os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
            ways = []
            for asked in rest:
                number, packet = asked.split(":")
                packet = bytes.fromhex(packet)
                os.write(tuns[int(number)], packet)
                # The kernel forwards within the write: what is not there now was dropped.
                out = arrived(tuns)
                sent = label(packet[HEADER_BYTES:])
                if any(found != sent for _, found in out) or len(out) > 1:
                    sys.exit(f"{asked}: strange packets came out: {out}")
                ways.append(str(out[0][0]) if out else "-")
                time.sleep(pause)
            answer = " ".join(ways)
        elif word == "clock":
            answer = str(time.monotonic_ns())
        elif word == "pause":
            time.sleep(int(rest[0]) / 1000)
            answer = "ok"
        elif word == "recent":
            answer = recent(rest[0])
        elif word == "answers":
            answer = answers(tuns, rest)
        elif word == "log":
            answer = logged(tuns, rest[0], rest[1:])
        elif word == "flows":
            answer = flows()
        elif word == "entries":
            answer = entries()
        elif word == "forget":
            run("conntrack", "-F")
            answer = "ok"
        elif word == "judged":
            for asked in rest:
                number, packet = asked.split(":")
                os.write(tuns[int(number)], bytes.fromhex(packet))
            arrived(tuns)
            answer = "ok"
        elif word == "set":
            setting(*rest)
            answer = "ok"
        elif word == "ip":
            run("ip", *rest)
            answer = "ok"
        else:
            table, chain = ("raw", "PREROUTING") if word == "raw" else ("filter", "FORWARD")
            text = run(f"{TABLES}-save", "-c", "-t", table)
            policy = re.search(rf"^:{chain} \w+ \[(\d+:\d+)\]", text, re.M).group(1)
            rules = re.findall(r"^\[(\d+:\d+)\] -A ", text, re.M)
            answer = " ".join([policy, *rules])
        print(answer, flush=True)


main()
