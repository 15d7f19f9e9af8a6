//! Which addresses are played on a side.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::address::{Address, Range};
use crate::packet::{Kind, Space, Tag};
use crate::profile::{Choice, Content, Profile, Side};

/// Who else has addresses on a side's link, and which are ours there beside those of hosts.
#[derive(Clone, Debug, Default)]
pub struct Residents {
    /// Ours: what a box has for a gateway to the hosts that are played.
    pub own: Vec<Address>,
    /// Those that the kernel answers for when we do not.
    pub kernel: Vec<Address>,
    /// The next hops'.
    pub gateways: Vec<Address>,
}

/// The addresses of one side, with the tags that their frames bear.
#[derive(Clone, Debug, Default)]
pub struct Played {
    ranges: Vec<(RangeInclusive<Address>, Option<Tag>)>,
    /// Of recordings: one by one.
    recorded: BTreeMap<Address, Option<Tag>>,
    own: Vec<Address>,
    kernel: Vec<Address>,
    not: Vec<Address>,
}

impl Played {
    /// Those that a profile has on a side, and the residents that are ours.
    #[must_use]
    pub fn of(profile: &Profile, side: Side, residents: &Residents) -> Self {
        let Residents { own, kernel, gateways: not } = residents.clone();
        let mut played = Self { own, kernel, not, ..Self::default() };
        if let Some(users) = &profile.users {
            let (here, shared) = match side {
                Side::Left => (users.clients, users.shared.map(|shared| shared.address)),
                Side::Right => (users.servers, None),
            };
            let tag = users.tags[side.index()];
            played.ranges.push((whole(&here), tag));
            played.ranges.extend(shared.map(|address| (address..=address, tag)));
        }
        for stream in &profile.streams {
            let (is_sender, tag) = (stream.from == side, stream.tag);
            let chosen = |choice| chosen(choice).map(|range| (range, tag));
            match &stream.content {
                Content::Made(made) if !is_sender => played.ranges.extend(chosen(made.destination)),
                // It says that it comes from the one whom it goes to.
                Content::Made(made) if made.kind == Kind::Land => {}
                Content::Made(made) => played.ranges.extend(chosen(made.source)),
                Content::Replay(replay) => {
                    let addresses = replay.addresses(is_sender);
                    played.recorded.extend(addresses.map(|address| (address, tag)));
                }
            }
        }
        played
    }

    /// The tag of an answer to who asks for an address, if it is one of them. A stream that comes in a VLAN may have
    /// left in another, so it is first the question's that counts; and where the question has lost its tag on the
    /// way into the socket (a veth keeps tags beside frames), that of the address.
    #[must_use]
    pub fn answers(&self, address: Address, asked_in: Option<Tag>) -> Option<Option<Tag>> {
        let ranges = || self.ranges.iter().filter(|(range, _)| range.contains(&address));
        let tag = match (ranges().next(), self.recorded.get(&address)) {
            (Some((_, tag)), _) | (None, Some(tag)) => *tag,
            (None, None) if self.own.contains(&address) || self.kernel.contains(&address) => {
                self.tags().next().flatten()
            }
            (None, None) => return None,
        };
        (!self.not.contains(&address)).then(|| asked_in.or(tag))
    }

    /// The tags of all of them.
    fn tags(&self) -> impl Iterator<Item = Option<Tag>> {
        self.ranges.iter().map(|(_, tag)| *tag).chain(self.recorded.values().copied())
    }

    /// One of them, of a family and a VLAN, to ask in its name; not the one that is asked for.
    #[must_use]
    pub fn asker(&self, target: Address, tag: Option<Tag>) -> Option<Address> {
        // The first address of a net is nobody's on some links, the second often the gateway's.
        let ends = self.ranges.iter().filter(|(_, own)| *own == tag).flat_map(|(range, _)| {
            let first = *range.start();
            [first.following(), first.following().following(), first, *range.end()]
        });
        let recorded = self.recorded.iter().filter(|(_, own)| **own == tag);
        let own = self.own.iter().copied();
        let mut fitting =
            own.chain(ends).chain(recorded.map(|(address, _)| *address)).filter(|address| {
                address.is_ipv4() == target.is_ipv4()
                    && *address != target
                    && self.answers(*address, None).is_some()
            });
        fitting.next()
    }
}

/// What a profile sends to from a side: an address of each family and VLAN, to be asked for where no gateway is named.
pub(super) fn destinations(profile: &Profile, side: Side) -> Vec<(Address, Option<Tag>)> {
    let mut all: Vec<(Address, Option<Tag>)> = Vec::new();
    if let Some(users) = &profile.users {
        let there = if side == Side::Left { &users.servers } else { &users.clients };
        all.push((there.address(0), users.tags[side.index()]));
    }
    for stream in profile.streams.iter().filter(|stream| stream.from == side) {
        let first = match &stream.content {
            Content::Made(made) => chosen(made.destination).map(|range| *range.start()),
            Content::Replay(replay) => replay.addresses(false).min(),
        };
        all.extend(first.map(|address| (address, stream.tag)));
    }
    let mut found: Vec<(Address, Option<Tag>)> = Vec::new();
    for (address, tag) in all {
        let is_known = |(other, other_tag): &(Address, Option<Tag>)| {
            other.is_ipv4() == address.is_ipv4() && other_tag.map(|t| t.id) == tag.map(|t| t.id)
        };
        if !found.iter().any(is_known) {
            found.push((address, tag));
        }
    }
    found
}

fn whole(range: &Range) -> RangeInclusive<Address> {
    range.address(0)..=range.address(range.count() - 1)
}

/// The addresses that a stream chooses from, if they are few enough to be somebody's.
fn chosen(choice: Choice) -> Option<RangeInclusive<Address>> {
    match choice.space {
        Space::Anywhere => None,
        Space::Range { .. } => {
            let (first, last) = choice.ends();
            Some(first..=last)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::path::Path;

    use super::*;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn a_side_has_its_own_hosts_and_what_the_other_sends_to() {
        let text = "[users]\nrate = 1\nclients = \"198.18.1.0/28\"\nservers = \"198.19.1.2\"\n\
                    shared_address = \"198.18.2.1\"\nshared_share = 0.5\n\
                    [[stream]]\nname = \"a\"\nkind = \"udp\"\nrate = 1\nsource = \"198.18.3.1\"\n\
                    destination = \"198.19.3.0-198.19.3.9\"\n\
                    [[stream]]\nname = \"b\"\nkind = \"land\"\nrate = 1\ndestination = \"198.19.4.1\"\n\
                    [[stream]]\nname = \"c\"\nkind = \"tcp-syn\"\nrate = 1\nsource = \"anywhere\"\n\
                    destination = \"198.19.5.1\"\n\
                    [[stream]]\nname = \"d\"\nfrom = \"right\"\nkind = \"udp\"\nrate = 1\n\
                    source = \"198.19.6.1\"\ndestination = \"198.18.6.1\"";
        let profile = Profile::parse("p", "p", text, Path::new(".")).unwrap();
        let residents = Residents {
            own: vec![address("198.18.0.2")],
            kernel: vec![address("198.19.0.2")],
            gateways: vec![address("198.18.1.1"), address("198.19.3.1")],
        };
        let has = |side, text: &str| {
            Played::of(&profile, side, &residents).answers(address(text), None).is_some()
        };
        let left = ["198.18.1.2", "198.18.1.14", "198.18.2.1", "198.18.3.1", "198.18.6.1"];
        let right =
            ["198.19.1.2", "198.19.3.0", "198.19.3.9", "198.19.4.1", "198.19.5.1", "198.19.6.1"];
        let both = ["198.18.0.2", "198.19.0.2"];
        for (here, there, texts) in
            [(Side::Left, Side::Right, &left[..]), (Side::Right, Side::Left, &right[..])]
        {
            assert!(texts.iter().all(|text| has(here, text) && !has(there, text)), "{here}");
            assert!(both.iter().all(|text| has(here, text)));
        }
        // The gateways, what is beside the ranges, what only says that it comes from there.
        for text in
            ["198.18.1.1", "198.19.3.1", "198.18.1.15", "198.19.3.10", "8.8.8.8", "2001:db8::1"]
        {
            assert!(!has(Side::Left, text) && !has(Side::Right, text), "{text}");
        }
        let own = Played::of(&profile, Side::Left, &residents);
        assert_eq!(own.asker(address("198.18.0.1"), None), Some(address("198.18.0.2")));
        let residents = Residents { own: Vec::new(), ..residents };
        let asker =
            |target| Played::of(&profile, Side::Left, &residents).asker(address(target), None);
        assert_eq!(asker("198.18.0.1"), Some(address("198.18.1.2")));
        assert_eq!(asker("198.18.1.2"), Some(address("198.18.1.3")));
        assert_eq!(asker("2001:db8::1"), None);
        assert_eq!(destinations(&profile, Side::Left), [(address("198.19.1.2"), None)]);
        assert_eq!(destinations(&profile, Side::Right), [(address("198.18.1.1"), None)]);
    }

    #[test]
    fn recordings_have_theirs() {
        let profile = Profile::find("replay").unwrap();
        let played = |side| Played::of(&profile, side, &Residents::default());
        let has = |side, text: &str| played(side).answers(address(text), None).is_some();
        assert!(has(Side::Left, "198.18.0.0") && has(Side::Right, "198.19.0.2"));
        assert!(!has(Side::Right, "198.18.0.0"));
        assert_eq!(destinations(&profile, Side::Left), [(address("198.19.0.2"), None)]);
    }

    #[test]
    fn what_is_in_a_vlan_is_answered_for_there() {
        let text = "[users]\nrate = 1\nclients = \"2001:db8:1::/120\"\nservers = \"2001:db8:2::2\"\nvlan = 100\n\
                    server_vlan = 200\nvlan_priority = 5\n\
                    [[stream]]\nname = \"a\"\nkind = \"udp\"\nrate = 1\nsource = \"198.18.3.1\"\n\
                    destination = \"198.19.3.1\"";
        let profile = Profile::parse("p", "p", text, Path::new(".")).unwrap();
        let residents = Residents { own: vec![address("2001:db8:2::9")], ..Residents::default() };
        let tag = |id| Some(Tag { id, priority: 5 });
        let right = Played::of(&profile, Side::Right, &residents);
        let answers = |text: &str, asked_in| right.answers(address(text), asked_in);
        assert_eq!(answers("2001:db8:2::2", None), Some(tag(200)));
        assert_eq!(answers("2001:db8:2::2", tag(7)), Some(tag(7)));
        assert_eq!(answers("2001:db8:2::9", None), Some(tag(200)));
        assert_eq!(answers("198.19.3.1", None), Some(None));
        assert_eq!(answers("2001:db8:2::3", tag(200)), None);
        let left = Played::of(&profile, Side::Left, &Residents::default());
        let gateway = address("2001:db8:1::1");
        assert_eq!(left.asker(gateway, tag(100)), Some(address("2001:db8:1::2")));
        assert_eq!(left.asker(gateway, None), None);
        let expected = [(address("2001:db8:2::2"), tag(100)), (address("198.19.3.1"), None)];
        assert_eq!(destinations(&profile, Side::Left), expected);
    }
}
