/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * early_drop: sources whose packets end in the driver, before anybody has looked at them.
 *
 * Two hands write the lists (src/early_drop): the operator (`weirctl blocklist`), whose entries
 * drop everything from a source, and the flood limiter, which pushes down sources that it holds
 * at its floor. Of what the limiter pushes no packet may be lost that its rule lets pass, so such
 * an entry names a condition, and only packets that meet it are thrown for, with the rule's
 * probability at its limit: of a faster flood that lets more through than the rule lets pass,
 * and Weir throws away the rest. A packet of which that cannot be said for certain here
 * (fragments, options, extension headers, a TTL that ends) is left to Weir.
 *
 *   source --> exact entry (hash) --> prefix entry (LPM trie) --> allowlist (LPM trie)
 *              IPv4: a table before it                            only if one of them was found
 *
 * The maps are those of all ports together: user space makes them once and every port's program
 * is loaded with them. Which of them hold anything stands in `early_lists`; a program whose lists
 * are empty reads one word.
 *
 * An entry ends by itself (CLOCK_MONOTONIC), so those of a daemon that died die too. Packets and
 * bytes are counted in `early_counts`, not in the entry: replacing an entry must not lose what
 * another CPU is just counting. Each CPU counts for itself: of 10,000 sources nearly every packet's
 * count is far from the CPU, and an atomic addition would wait for it, twice.
 *
 * Never dropped: what is not IP (ARP, LLDP ...), VLAN tags included, which are Weir's to refuse;
 * and neighbour discovery, the ARP of IPv6. Only the link can send that (hop limit 255, RFC 4861
 * 11.2), and without it a blocked router would be unreachable even for the machine's own packets.
 */

/* Both stand in src/program/early_maps.rs, too; a program is not loaded with maps of other sizes. */
#define EARLY_CONDITIONS_MAX 16
#define EARLY_BLOCK_SLOTS 64

/* What a word is multiplied by to be spread: 2^32 over the golden ratio. */
#define SPREAD 0x9e3779b1U

/* Bits of `early_lists`. */
#define EARLY_SOURCES_V4 (1 << 0)
#define EARLY_SOURCES_V6 (1 << 1)
#define EARLY_PREFIXES_V4 (1 << 2)
#define EARLY_PREFIXES_V6 (1 << 3)
#define EARLY_ALLOWED_V4 (1 << 4)
#define EARLY_ALLOWED_V6 (1 << 5)

/* Behind them: by how much a spread address is shifted to be its place in `early_front_v4`. */
#define EARLY_FRONT_SHIFT 8

/* `until_ns` of an entry that stays. */
#define EARLY_FOR_EVER (~0ULL)

struct early_entry {
	/* CLOCK_MONOTONIC; it may end a tick of the kernel's late, some milliseconds. */
	__u64 until_ns;
	/* Passed if a random number of 32 bits is below: 0 drops everything. */
	__u32 acceptance;
	/* Where it counts. */
	__u32 slot;
	/* The condition it belongs to, from 1; 0 for the operator's, which has none. */
	__u32 condition;
	__u32 reserved;
};

/*
 * Before the hash of IPv4 stands a table that is looked into without a call, and calls are what is
 * dear here: one of the hash costs more than all the rest of a drop. Each address has one cell in it.
 * Who comes first gets it; others of the same cell stand in the hash alone, where all stand, and the
 * cell says that there are more. User space writes a cell twice when it gets a new owner: what is not
 * valid is not looked at, so nobody sees half of it.
 */
#define EARLY_CELL_VALID (1 << 0)
#define EARLY_CELL_MORE (1 << 1)

struct early_cell {
	struct early_entry entry;
	__be32 source;
	__u32 tags;
};

/* Where a packet must be bound for, as in enum nf_inet_hooks. */
#define EARLY_HOOK_INPUT 1
#define EARLY_HOOK_FORWARD 2

#define EARLY_PROTOCOL_ANY 0

struct early_condition {
	/* The device it came by; 0 for any. */
	__u32 ifindex;
	/* In host byte order, both ends included. */
	__u16 source_port_min;
	__u16 source_port_max;
	__u16 destination_port_min;
	__u16 destination_port_max;
	__u8 hook;
	__u8 protocol;
	/* Of the sixth word's second byte in a TCP header; a mask of 0 for any. */
	__u8 tcp_mask;
	__u8 tcp_flags;
	/* In network byte order; IPv4 has the first word. */
	__be32 destination[4];
	__be32 destination_mask[4];
};

struct early_prefix_v4 {
	__u32 length;
	__be32 address;
};

struct early_prefix_v6 {
	__u32 length;
	struct in6_addr address;
};

/* Sizes are user space's: what stands here is for a program that is loaded without lists. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} early_lists SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct early_cell);
} early_front_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __be32);
	__type(value, struct early_entry);
} early_sources_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct in6_addr);
	__type(value, struct early_entry);
} early_sources_v6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct early_prefix_v4);
	__type(value, struct early_entry);
} early_prefixes_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct early_prefix_v6);
	__type(value, struct early_entry);
} early_prefixes_v6 SEC(".maps");

/* The value is when the entry ends. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct early_prefix_v4);
	__type(value, __u64);
} early_allowed_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct early_prefix_v6);
	__type(value, __u64);
} early_allowed_v6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, EARLY_CONDITIONS_MAX);
	__type(key, __u32);
	__type(value, struct early_condition);
} early_conditions SEC(".maps");

/*
 * The counts of some slots that follow each other. In blocks there are few places of memory for each
 * CPU, whose addresses are at hand, and user space reads all of them with few calls.
 */
struct early_block {
	struct count slots[EARLY_BLOCK_SLOTS];
};

/*
 * Of each CPU, no atomics. They only ever grow; user space adds them up, and remembers from where.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct early_block);
} early_counts SEC(".maps");

/* What each CPU has at hand, so as not to call for it. */
struct early_at_hand {
	/* The time, and the tick in which it was read: so old it is at most. */
	__u64 now_ns;
	__u64 jiffies;
	__u32 drawn;
	__u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct early_at_hand);
} early_at_hand SEC(".maps");

static __always_inline int early_is_over(__u64 until_ns)
{
	__u32 zero = 0;
	struct early_at_hand *here;
	__u64 jiffies;

	if (until_ns == EARLY_FOR_EVER)
		return 0;
	here = bpf_map_lookup_elem(&early_at_hand, &zero);
	if (!here)
		return bpf_ktime_get_ns() >= until_ns;
	jiffies = bpf_jiffies64();
	if (here->jiffies != jiffies) {
		here->jiffies = jiffies;
		here->now_ns = bpf_ktime_get_ns();
	}
	return here->now_ns >= until_ns;
}

/*
 * A number of 32 bits: Marsaglia's xorshift, begun by the kernel's generator. It says which packets of
 * a flood are the one in a hundred that passes; nobody sees more of it than whether his own have.
 */
static __always_inline __u32 early_throw(void)
{
	__u32 zero = 0, drawn;
	struct early_at_hand *here = bpf_map_lookup_elem(&early_at_hand, &zero);

	if (!here)
		return bpf_get_prandom_u32();
	drawn = here->drawn;
	if (!drawn)
		drawn = bpf_get_prandom_u32() | 1;
	drawn ^= drawn << 13;
	drawn ^= drawn >> 17;
	drawn ^= drawn << 5;
	here->drawn = drawn;
	return drawn;
}

/*
 * The one of two entries that decides: what drops everything comes before what drops some. (User
 * space puts no conditional prefix below an unconditional one, for a trie finds the longest only.)
 */
static __always_inline const struct early_entry *early_decider(const struct early_entry *exact,
							       const struct early_entry *prefix)
{
	if (exact && early_is_over(exact->until_ns))
		exact = NULL;
	if (prefix && early_is_over(prefix->until_ns))
		prefix = NULL;
	if (!exact || (prefix && exact->condition && !prefix->condition))
		return prefix;
	return exact;
}

static __always_inline const struct early_entry *early_find_exact_v4(__be32 source, __u32 lists)
{
	__u32 place = bpf_ntohl(source) * SPREAD >> (lists >> EARLY_FRONT_SHIFT);
	const struct early_cell *cell = bpf_map_lookup_elem(&early_front_v4, &place);

	if (cell && cell->source == source && cell->tags & EARLY_CELL_VALID)
		return &cell->entry;
	if (cell && !(cell->tags & EARLY_CELL_MORE))
		return NULL;
	return bpf_map_lookup_elem(&early_sources_v4, &source);
}

static __always_inline const struct early_entry *early_find_v4(__be32 source, __u32 lists)
{
	struct early_prefix_v4 key = { .length = 32, .address = source };
	const struct early_entry *exact = NULL, *prefix = NULL, *found;
	const __u64 *allowed_until_ns;

	if (lists & EARLY_SOURCES_V4)
		exact = early_find_exact_v4(source, lists);
	if (lists & EARLY_PREFIXES_V4)
		prefix = bpf_map_lookup_elem(&early_prefixes_v4, &key);
	found = early_decider(exact, prefix);
	if (!found || !(lists & EARLY_ALLOWED_V4))
		return found;
	allowed_until_ns = bpf_map_lookup_elem(&early_allowed_v4, &key);
	return allowed_until_ns && !early_is_over(*allowed_until_ns) ? NULL : found;
}

static __always_inline const struct early_entry *early_find_v6(const struct in6_addr *source,
							       __u32 lists)
{
	struct early_prefix_v6 key = { .length = 128, .address = *source };
	const struct early_entry *exact = NULL, *prefix = NULL, *found;
	const __u64 *allowed_until_ns;

	if (lists & EARLY_SOURCES_V6)
		exact = bpf_map_lookup_elem(&early_sources_v6, &key.address);
	if (lists & EARLY_PREFIXES_V6)
		prefix = bpf_map_lookup_elem(&early_prefixes_v6, &key);
	found = early_decider(exact, prefix);
	if (!found || !(lists & EARLY_ALLOWED_V6))
		return found;
	allowed_until_ns = bpf_map_lookup_elem(&early_allowed_v6, &key);
	return allowed_until_ns && !early_is_over(*allowed_until_ns) ? NULL : found;
}

/* ICMPv6 types 133 to 137 (RFC 4861), as only the link can have sent them. */
static __always_inline int early_is_discovery(const struct ipv6hdr *ip, const void *end)
{
	const __u8 *type = (const void *)(ip + 1);

	return ip->nexthdr == IPPROTO_ICMPV6 && ip->hop_limit == 255 &&
	       (const void *)(type + 1) <= end && *type >= 133 && *type <= 137;
}

/* The entry that says what becomes of a packet; nothing of most. */
static __always_inline const struct early_entry *early_find(const void *data, const void *end)
{
	const struct ethhdr *eth = data;
	const void *payload = eth + 1;
	__u32 zero = 0;
	const __u32 *lists = bpf_map_lookup_elem(&early_lists, &zero);

	if (!lists || !*lists || payload > end)
		return NULL;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		const struct iphdr *ip = payload;

		if ((const void *)(ip + 1) > end)
			return NULL;
		return early_find_v4(ip->saddr, *lists);
	}
	if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		const struct ipv6hdr *ip = payload;

		if ((const void *)(ip + 1) > end || early_is_discovery(ip, end))
			return NULL;
		return early_find_v6(&ip->saddr, *lists);
	}
	return NULL;
}

/* Ports and flags, at the begin of a transport header of `length` bytes that is in the packet. */
static __always_inline int early_meets_transport(const struct early_condition *condition,
						 __u8 protocol, const __u8 *header, __u32 length,
						 const void *end)
{
	__u16 source, destination;

	if (condition->protocol != EARLY_PROTOCOL_ANY && condition->protocol != protocol)
		return 0;
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return condition->source_port_min == 0 && condition->source_port_max == 0xffff &&
		       condition->destination_port_min == 0 &&
		       condition->destination_port_max == 0xffff && !condition->tcp_mask;
	/* Cut off: the rules have a verdict of their own for that. */
	if (length < 8 || (const void *)(header + 8) > end)
		return 0;
	source = header[0] << 8 | header[1];
	destination = header[2] << 8 | header[3];
	if (source < condition->source_port_min || source > condition->source_port_max ||
	    destination < condition->destination_port_min ||
	    destination > condition->destination_port_max)
		return 0;
	if (protocol == IPPROTO_UDP)
		return !condition->tcp_mask;
	if (length < 20 || (const void *)(header + 20) > end)
		return 0;
	return (header[13] & condition->tcp_mask) == condition->tcp_flags;
}

static __always_inline int early_meets_v4(const struct early_condition *condition,
					  const struct iphdr *ip, const void *end)
{
	__u32 length;

	if ((const void *)(ip + 1) > end || *(const __u8 *)ip != 0x45 || ip->ttl <= 1 ||
	    ip->frag_off & bpf_htons(0x3fff))
		return 0;
	length = bpf_ntohs(ip->tot_len);
	if (length < sizeof(*ip) || length > (__u64)(end - (const void *)ip))
		return 0;
	if ((ip->daddr & condition->destination_mask[0]) != condition->destination[0])
		return 0;
	return early_meets_transport(condition, ip->protocol, (const void *)(ip + 1),
				     length - sizeof(*ip), end);
}

/* Extension headers are not followed. */
static __always_inline int early_meets_v6(const struct early_condition *condition,
					  const struct ipv6hdr *ip, const void *end)
{
	__u32 length;

	if ((const void *)(ip + 1) > end || *(const __u8 *)ip >> 4 != 6 || ip->hop_limit <= 1 ||
	    (ip->nexthdr != IPPROTO_TCP && ip->nexthdr != IPPROTO_UDP &&
	     ip->nexthdr != IPPROTO_ICMPV6))
		return 0;
	length = bpf_ntohs(ip->payload_len);
	if (length > (__u64)(end - (const void *)(ip + 1)))
		return 0;
	for (int i = 0; i < 4; i++)
		if ((ip->daddr.s6_addr32[i] & condition->destination_mask[i]) !=
		    condition->destination[i])
			return 0;
	return early_meets_transport(condition, ip->nexthdr, (const void *)(ip + 1), length, end);
}

/* Whether a packet that is bound for `hook` meets an entry's condition. */
static __always_inline int early_meets(const struct early_entry *entry, __u8 hook, __u32 ifindex,
				       const void *data, const void *end)
{
	const struct ethhdr *eth = data;
	__u32 number = entry->condition - 1;
	const struct early_condition *condition;

	condition = bpf_map_lookup_elem(&early_conditions, &number);
	if (!condition || condition->hook != hook || (const void *)(eth + 1) > end ||
	    eth->h_dest[0] & 1)
		return 0;
	if (condition->ifindex && condition->ifindex != ifindex)
		return 0;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return early_meets_v4(condition, (const void *)(eth + 1), end);
	return early_meets_v6(condition, (const void *)(eth + 1), end);
}

/* Throws for a packet; counts it if it is to be dropped. */
static __always_inline int early_drops(const struct early_entry *entry, __u64 bytes)
{
	__u32 slot = entry->slot, number = slot / EARLY_BLOCK_SLOTS;
	struct early_block *block;

	if (entry->acceptance && early_throw() < entry->acceptance)
		return 0;
	block = bpf_map_lookup_elem(&early_counts, &number);
	if (block) {
		struct count *count = &block->slots[slot % EARLY_BLOCK_SLOTS];

		count->packets++;
		count->bytes += bytes;
	}
	return 1;
}
