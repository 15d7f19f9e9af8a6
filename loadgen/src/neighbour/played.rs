//! Which addresses are played on a side.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use crate::packet::{Kind, Space};
use crate::profile::{Choice, Content, Profile, Side};
use crate::users::address::{Address, Range};

/// Who else has addresses on a side's link, and which are ours there beside those of hosts.
#[derive(Clone, Debug, Default)]
pub struct Residents {
    /// Ours: what a box has for a gateway to the hosts that are played, and the kernel's own.
    pub own: Vec<Address>,
    /// The next hops'.
    pub gateways: Vec<Address>,
}

/// The addresses of one side.
#[derive(Clone, Debug, Default)]
pub struct Played {
    ranges: Vec<RangeInclusive<Address>>,
    /// Of recordings: one by one.
    recorded: HashSet<Address>,
    not: Vec<Address>,
}

impl Played {
    /// Those that a profile has on a side, and the residents that are ours.
    #[must_use]
    pub fn of(profile: &Profile, side: Side, residents: &Residents) -> Self {
        let mut played = Self { not: residents.gateways.clone(), ..Self::default() };
        if let Some(users) = &profile.users {
            let (here, shared) = match side {
                Side::Left => (users.clients, users.shared.map(|shared| shared.address)),
                Side::Right => (users.servers, None),
            };
            played.ranges.push(whole(&here));
            played.ranges.extend(shared.map(|address| address..=address));
        }
        for stream in &profile.streams {
            let is_sender = stream.from == side;
            match &stream.content {
                Content::Made(made) if !is_sender => played.ranges.extend(chosen(made.destination)),
                // It says that it comes from the one whom it goes to.
                Content::Made(made) if made.kind == Kind::Land => {}
                Content::Made(made) => played.ranges.extend(chosen(made.source)),
                Content::Replay(replay) => played.recorded.extend(replay.addresses(is_sender)),
            }
        }
        played.ranges.extend(residents.own.iter().map(|&address| address..=address));
        played
    }

    /// Whether an address is one of them.
    #[must_use]
    pub fn contains(&self, address: Address) -> bool {
        let is_played = self.ranges.iter().any(|range| range.contains(&address))
            || self.recorded.contains(&address);
        is_played && !self.not.contains(&address)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.recorded.is_empty()
    }

    /// One of them, of a family, to ask in its name; not the one that is asked for.
    #[must_use]
    pub fn asker(&self, target: Address) -> Option<Address> {
        // The first address of a net is nobody's on some links, the second often the gateway's.
        let ends = self.ranges.iter().flat_map(|range| {
            let first = *range.start();
            [first.following(), first.following().following(), first, *range.end()]
        });
        let mut recorded: Vec<Address> = self.recorded.iter().copied().collect();
        recorded.sort_unstable();
        let mut fitting = ends.chain(recorded).filter(|address| {
            address.is_ipv4() == target.is_ipv4() && *address != target && self.contains(*address)
        });
        fitting.next()
    }
}

/// What a profile sends to from a side: an address of each family, to be asked for where no gateway is named.
pub(super) fn destinations(profile: &Profile, side: Side) -> Vec<Address> {
    let mut all = Vec::new();
    if let Some(users) = &profile.users {
        let there = if side == Side::Left { &users.servers } else { &users.clients };
        all.push(there.address(0));
    }
    for stream in profile.streams.iter().filter(|stream| stream.from == side) {
        match &stream.content {
            Content::Made(made) => {
                all.extend(chosen(made.destination).map(|range| *range.start()));
            }
            Content::Replay(replay) => all.extend(replay.addresses(false).min()),
        }
    }
    let mut families = [true, false]
        .map(|is_ipv4| all.iter().copied().find(|address: &Address| address.is_ipv4() == is_ipv4));
    families.iter_mut().filter_map(Option::take).collect()
}

fn whole(range: &Range) -> RangeInclusive<Address> {
    range.address(0)..=range.address(range.count() - 1)
}

/// The addresses that a stream chooses from, if they are few enough to be somebody's.
fn chosen(choice: Choice) -> Option<RangeInclusive<Address>> {
    match choice.space {
        Space::Anywhere => None,
        space @ Space::Range { .. } => {
            let address = |place| Address::from(std::net::Ipv4Addr::from_bits(space.value(place)));
            Some(address(0)..=address(space.len() - 1))
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
            own: vec![address("198.18.0.2"), address("198.19.0.2")],
            gateways: vec![address("198.18.1.1"), address("198.19.3.1")],
        };
        let has = |side, text: &str| Played::of(&profile, side, &residents).contains(address(text));
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
        let asker = |target| Played::of(&profile, Side::Left, &residents).asker(address(target));
        assert_eq!(asker("198.18.0.1"), Some(address("198.18.1.2")));
        assert_eq!(asker("198.18.1.2"), Some(address("198.18.1.3")));
        assert_eq!(asker("2001:db8::1"), None);
        assert_eq!(destinations(&profile, Side::Left), [address("198.19.1.2")]);
        assert_eq!(destinations(&profile, Side::Right), [address("198.18.1.1")]);
    }

    #[test]
    fn recordings_have_theirs() {
        let profile = Profile::find("replay").unwrap();
        let played = |side| Played::of(&profile, side, &Residents::default());
        assert!(played(Side::Left).contains(address("198.18.0.0")));
        assert!(played(Side::Right).contains(address("198.19.0.2")));
        assert!(!played(Side::Right).contains(address("198.18.0.0")));
        assert_eq!(destinations(&profile, Side::Left), [address("198.19.0.2")]);
    }
}
