// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * weir_xdp: the program that Weir puts on a device. (Behind it stands weir_egress, for the
 * machine's own traffic.)
 *
 * It is the fork in the road. Every packet that a device receives comes here first, before the
 * kernel's network stack, and leaves in one of four directions:
 *
 *                                 +--> nowhere: its source is blocked (early_drop.h)
 *     NIC, rx queue q --> weir_xdp+--> up: the kernel's stack (XDP_PASS)
 *                                 +--> Weir: the AF_XDP socket of queue q (XDP_REDIRECT)
 *                                 +--> nowhere, or up: queue q has no socket (on_exit)
 *
 * What goes up. Weir forwards; the machine stays a normal host, whose kernel answers ARP, keeps
 * neighbours, runs ssh and routing daemons. So these belong to the kernel, whether Weir lives
 * or not:
 *   - ARP (RFC 826).
 *   - IPv4 to one of the addresses in `local_v4` (user space mirrors the machine's own and its
 *     broadcast addresses there), to 255.255.255.255 (RFC 919), and to 224.0.0.0/4 (RFC 5771):
 *     IGMP, OSPF, VRRP, DHCP are the host's business.
 *   - IPv6 to one of the addresses in `local_v6`, to ff00::/8 and to fe80::/10 (RFC 4291, 2.7
 *     and 2.5.6). With these go neighbour discovery and router advertisements, the "ARP" of
 *     IPv6.
 *   - LLDP, LACP and the other slow protocols, and EAPOL, when sent to the group addresses
 *     01:80:c2:00:00:00 to 0f, which no bridge may forward (IEEE 802.1Q, table 8-1).
 * Only the destination is looked at, in the first 54 bytes. A malformed packet to a local
 * address goes up too: the kernel drops it and counts it, as on any host. A packet that carries
 * our address but another station's MAC goes up and is dropped there (PACKET_OTHERHOST). Weir
 * does not route multicast; that is why all of it may go up.
 *
 * With host = "firewalled" IPv4 to the machine's own unicast addresses goes to Weir instead,
 * which puts it before chain INPUT and hands it to the kernel by a device of its own. Where the
 * queue has no socket it goes up whatever `on_exit` says: nobody is to lose his machine with the
 * daemon. Broadcast and multicast go up as ever. With ipv6 = "forward" the same holds of IPv6,
 * anycast addresses included; what is for an address of the link, and neighbour discovery, goes up.
 *
 * Who plays hosts of his own behind a port (weirgen) also answers for them: with
 * `discovery_redirected` ARP, neighbour solicitations and advertisements go to the sockets, too.
 *
 * What goes to Weir: everything else, without exception. VLAN tags, unknown EtherTypes,
 * truncated headers: a firewall counts what it does not understand, it does not let it slip
 * past. So a new protocol is blocked until somebody writes a rule for it.
 *
 * Without a socket. The socket map has no entry for the packet's queue while Weir starts, after
 * it has gone (the kernel removes a closed socket from the map by itself, SIGKILL included),
 * and for a queue that has none. Then `on_exit` decides: drop (the firewall fails closed) or
 * pass (the kernel forwards as if Weir had never been there). It is a constant, set before
 * loading, so nobody can change the fate of a running system by writing to a map.
 * bpf_redirect_map() takes the fallback in the low bits of its flags (kernel 5.3).
 *
 * Caveats. `redirected` counts packets handed to a socket; one that finds the socket's fill
 * ring empty is lost after this program and shows in the socket's XDP_STATISTICS
 * (rx_fill_ring_empty_descs, rx_dropped). A VLAN tag that the NIC or the sender keeps in skb
 * metadata is invisible here. The program is not multi-buffer (no "xdp.frags"), so drivers
 * refuse it on MTUs whose frames do not fit a page (about 3,500).
 *
 * Counters are per CPU: no atomics, user space adds them up.
 */
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Limits, repeated in src/program/mod.rs and checked against the loaded maps by its tests. */
#define QUEUES_MAX 64
#define LOCAL_ADDRESSES_MAX 1024

/*
 * What user space says before loading, and what tells a later Weir that this program is its
 * own. The mark comes first, and neither it nor the order ever changes: what is new stands at
 * the end. So every version recognises every other one.
 */
struct weir_settings {
	__u8 mark[8];
	__u32 on_exit_pass;
	__u32 host_firewalled;
	__u32 discovery_redirected;
};

const volatile struct weir_settings settings = {
	.mark = { 'w', 'e', 'i', 'r', '-', 'x', 'd', 'p' },
	.on_exit_pass = 0,
	.host_firewalled = 0,
	.discovery_redirected = 0,
};

/* The ways out of this program, a counter each, in the order of src/program/counters.rs. */
enum way_out {
	ARP_PASSED,
	HOST_PASSED,
	CONTROL_PASSED,
	REDIRECTED,
	NO_SOCKET_DROPPED,
	NO_SOCKET_PASSED,
	EARLY_DROPPED,
	WAYS_OUT,
};

struct count {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WAYS_OUT);
	__type(key, __u32);
	__type(value, struct count);
} counters SEC(".maps");

#include "early_drop.h"

/* Sockets by rx queue. A socket only ever receives from the device and queue it is bound to. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, QUEUES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

/*
 * What an address of the machine is (UNICAST, BROADCAST in src/program/mod.rs). Those of IPv6 that
 * are the kernel's in any case stand there as broadcast.
 */
#define LOCAL_UNICAST 1
#define LOCAL_BROADCAST 2

/* The machine's own addresses, in network byte order. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LOCAL_ADDRESSES_MAX);
	__type(key, __be32);
	__type(value, __u8);
} local_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LOCAL_ADDRESSES_MAX);
	__type(key, struct in6_addr);
	__type(value, __u8);
} local_v6 SEC(".maps");

/*
 * Before those two, since most packets are for others and a look into a hash is a call: a bit for each
 * of 4,096 kinds of addresses. Where it is not set no address of that kind is the machine's.
 */
#define LOCAL_FILTER_WORDS 64

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LOCAL_FILTER_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} local_v4_kinds SEC(".maps"), local_v6_kinds SEC(".maps");

/* Whether a map of kinds has the kind of an address, which is given as one word. */
static __always_inline int may_be_local(void *kinds, __be32 folded)
{
	__u32 spread = bpf_ntohl(folded) * SPREAD;
	__u32 place = spread >> 26;
	const __u64 *word = bpf_map_lookup_elem(kinds, &place);

	return !word || *word >> (spread >> 20 & 63) & 1;
}

static __always_inline int is_reserved_group_mac(const __u8 *mac)
{
	return mac[0] == 0x01 && mac[1] == 0x80 && mac[2] == 0xc2 && mac[3] == 0x00 &&
	       mac[4] == 0x00 && mac[5] <= 0x0f;
}

/* To Weir, but up where no socket is. Stands beside the ways out, and is none. */
#define TO_HOST_CHAINS WAYS_OUT

static __always_inline __u32 classify_v4(const struct iphdr *ip, const void *end)
{
	const __u8 *local;
	__be32 destination;

	if ((const void *)(ip + 1) > end)
		return REDIRECTED;
	destination = ip->daddr;
	if (destination == bpf_htonl(0xffffffff))
		return HOST_PASSED;
	if ((destination & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000))
		return HOST_PASSED;
	if (!may_be_local(&local_v4_kinds, destination))
		return REDIRECTED;
	local = bpf_map_lookup_elem(&local_v4, &destination);
	if (!local)
		return REDIRECTED;
	return settings.host_firewalled && *local == LOCAL_UNICAST ? TO_HOST_CHAINS : HOST_PASSED;
}

/* fe80::/10 */
static __always_inline int is_of_link(const struct in6_addr *address)
{
	return address->s6_addr[0] == 0xfe && (address->s6_addr[1] & 0xc0) == 0x80;
}

/* Neighbour solicitation and advertisement (RFC 4861, 4.3 and 4.4). */
static __always_inline int is_neighbour_message(const struct ipv6hdr *ip, const void *end)
{
	const __u8 *type = (const void *)(ip + 1);

	return early_is_discovery(ip, end) && (const void *)(type + 1) <= end &&
	       (*type == 135 || *type == 136);
}

static __always_inline __u32 classify_v6(const struct ipv6hdr *ip, const void *end)
{
	struct in6_addr destination;
	const __u8 *local;

	if ((const void *)(ip + 1) > end)
		return REDIRECTED;
	if (settings.discovery_redirected && is_neighbour_message(ip, end))
		return REDIRECTED;
	destination = ip->daddr;
	if (destination.s6_addr[0] == 0xff || is_of_link(&destination))
		return HOST_PASSED;
	if (!may_be_local(&local_v6_kinds, destination.s6_addr32[0] ^ destination.s6_addr32[1] ^
						   destination.s6_addr32[2] ^
						   destination.s6_addr32[3]))
		return REDIRECTED;
	local = bpf_map_lookup_elem(&local_v6, &destination);
	if (!local)
		return REDIRECTED;
	if (!settings.host_firewalled || *local != LOCAL_UNICAST || early_is_discovery(ip, end))
		return HOST_PASSED;
	return TO_HOST_CHAINS;
}

/* Where the packet belongs, sockets apart: REDIRECTED stands for "to Weir". */
static __always_inline __u32 classify(const void *data, const void *end)
{
	const struct ethhdr *eth = data;

	if ((const void *)(eth + 1) > end)
		return REDIRECTED;

	switch (eth->h_proto) {
	case bpf_htons(ETH_P_ARP):
		return settings.discovery_redirected ? REDIRECTED : ARP_PASSED;
	case bpf_htons(ETH_P_IP):
		return classify_v4((const void *)(eth + 1), end);
	case bpf_htons(ETH_P_IPV6):
		return classify_v6((const void *)(eth + 1), end);
	case bpf_htons(ETH_P_SLOW):
	case bpf_htons(ETH_P_PAE):
	case bpf_htons(ETH_P_LLDP):
		return is_reserved_group_mac(eth->h_dest) ? CONTROL_PASSED : REDIRECTED;
	default:
		return REDIRECTED;
	}
}

/* The chain that a packet is bound for, of which a condition may be; 0 for none. */
static __always_inline __u8 hook_of(__u32 way)
{
	if (way == REDIRECTED)
		return EARLY_HOOK_FORWARD;
	return way == TO_HOST_CHAINS ? EARLY_HOOK_INPUT : 0;
}

/* Where the packet goes, sockets apart, and whether it ends here. */
static __always_inline __u32 way_of(const struct xdp_md *ctx, const void *data, const void *end)
{
	const struct early_entry *entry = early_find(data, end);
	__u32 way;

	if (entry && !entry->condition && early_drops(entry, end - data))
		return EARLY_DROPPED;
	way = classify(data, end);
	if (entry && entry->condition &&
	    early_meets(entry, hook_of(way), ctx->ingress_ifindex, data, end) &&
	    early_drops(entry, end - data))
		return EARLY_DROPPED;
	return way;
}

SEC("xdp")
int weir_xdp(struct xdp_md *ctx)
{
	const void *data = (const void *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	__u32 fallback = settings.on_exit_pass ? XDP_PASS : XDP_DROP;
	__u32 way = way_of(ctx, data, end);
	int action = XDP_PASS;
	struct count *count;

	if (way == EARLY_DROPPED) {
		action = XDP_DROP;
	} else if (way == TO_HOST_CHAINS) {
		action = bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
		way = action == XDP_REDIRECT ? REDIRECTED : HOST_PASSED;
	} else if (way == REDIRECTED) {
		action = bpf_redirect_map(&xsks, ctx->rx_queue_index, fallback);
		if (action != XDP_REDIRECT)
			way = action == XDP_PASS ? NO_SOCKET_PASSED : NO_SOCKET_DROPPED;
	}

	count = bpf_map_lookup_elem(&counters, &way);
	if (count) {
		count->packets++;
		count->bytes += end - data;
	}
	return action;
}

/* "Nothing to say": on with the next program, or out (`TCX_NEXT` of linux/bpf.h, Linux 6.6). */
#define TCX_NEXT_PROGRAM -1

/* The device of the machine's own traffic, which Weir reads, for IPv4 and IPv6; 0 where there is none. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} host_device SEC(".maps");

static __always_inline int is_left_alone_v4(struct __sk_buff *skb)
{
	__be32 destination;

	if (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct iphdr, daddr), &destination,
			       sizeof(destination)))
		return 1;
	return (destination & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000);
}

static __always_inline int is_left_alone_v6(struct __sk_buff *skb)
{
	struct {
		struct ipv6hdr ip;
		__u8 type;
	} start;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &start.ip, sizeof(start.ip)))
		return 1;
	if (start.ip.daddr.s6_addr[0] == 0xff || is_of_link(&start.ip.daddr) ||
	    is_of_link(&start.ip.saddr))
		return 1;
	/* Cut off, it is none. */
	if (bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(start.ip), &start.type, sizeof(start.type)))
		return 0;
	return early_is_discovery(&start.ip, &start + 1);
}

/*
 * weir_egress, with host = "firewalled" on what the kernel sends out of a port: the machine's own
 * IPv4, and IPv6 if that passes through Weir, goes to Weir's device instead. Routing leads it there
 * already; this is for what was sent past the routing table, by a socket that is bound to the
 * port's interface or that asked for no gateway (SO_BINDTODEVICE, SO_DONTROUTE). Else those would
 * pass chain OUTPUT by.
 *
 * Left alone: ARP, neighbour discovery and addresses of the link; multicast and broadcast, as on
 * their way in; what came in by another interface and is forwarded by the kernel. What Weir sends
 * itself does not come here: AF_XDP sockets go past traffic control. If the device is gone or
 * down, the packet is dropped.
 */
SEC("tc")
int weir_egress(struct __sk_buff *skb)
{
	__u32 six = skb->protocol == bpf_htons(ETH_P_IPV6);
	const __u32 *device = bpf_map_lookup_elem(&host_device, &six);
	__u8 group;

	if (!six && skb->protocol != bpf_htons(ETH_P_IP))
		return TCX_NEXT_PROGRAM;
	if (!device || !*device || skb->ingress_ifindex ||
	    bpf_skb_load_bytes(skb, 0, &group, sizeof(group)) || (group & 1))
		return TCX_NEXT_PROGRAM;
	if (six ? is_left_alone_v6(skb) : is_left_alone_v4(skb))
		return TCX_NEXT_PROGRAM;
	return bpf_redirect(*device, 0);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
