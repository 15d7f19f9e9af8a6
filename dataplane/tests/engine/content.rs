//! Random matches that read the bytes of a packet, and a naive reading of them; the other half of
//! [`spec`](crate::spec).
//!
//! What they are asked of is the packet as it leaves the router: time to live and checksum changed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::chance::Chance;

/// A match as one would say it.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// `xt_limit.c`, so slow that nothing comes back while packets do; with how many it still lets pass.
    Limit { burst: u32, left: Cell<u32> },
    /// `xt_hashlimit.c`, likewise for each net of a source or destination.
    Hashlimit(Keyed),
    /// `xt_statistic.c`: every `every`th, from `packet` on; with how many have come.
    Nth { negated: bool, every: u32, packet: u32, count: Cell<u32> },
    /// `xt_statistic.c`, never or always: what lies between is not to be foretold.
    Sure { negated: bool, always: bool },
    /// `xt_string.c`
    Text { negated: bool, pattern: Vec<u8>, bm: bool, window: (usize, usize), ignore_case: bool },
    /// `xt_u32.c`
    Word { negated: bool, tests: Vec<WordTest> },
}

/// How many packets of each key pass.
#[derive(Debug, Clone)]
pub(crate) struct Keyed {
    name: u32,
    above: bool,
    burst: u32,
    /// Whether packets are counted by windows: then the one that the rate allows comes on top.
    windows: bool,
    source: bool,
    bits: u8,
    come: RefCell<BTreeMap<u32, u32>>,
}

impl Keyed {
    fn draw(chance: &mut Chance) -> Self {
        let name = u32::from_be_bytes(std::array::from_fn(|_| chance.byte()));
        Self {
            name,
            above: chance.percent(50),
            burst: chance.one_of(&[1, 2, 5, 30]),
            windows: chance.percent(30),
            source: chance.percent(50),
            bits: chance.one_of(&[0, 8, 24, 31, 32]),
            come: RefCell::default(),
        }
    }

    fn words(&self) -> String {
        let Self { name, above, burst, source, bits, .. } = self;
        let windows = if self.windows { " --hashlimit-rate-match" } else { "" };
        let (which, end) =
            (if *above { "above" } else { "upto" }, if *source { "src" } else { "dst" });
        format!(
            "-m hashlimit --hashlimit-{which} 1/hour --hashlimit-burst {burst} --hashlimit-mode {end}ip \
             --hashlimit-name t{name:x} --hashlimit-htable-size 16 --hashlimit-htable-max 100 \
             --hashlimit-{end}mask {bits}{windows}"
        )
    }

    fn holds(&self, ip: &[u8]) -> bool {
        let at = if self.source { 12 } else { 16 };
        let address = u32::from_be_bytes(ip[at..at + 4].try_into().expect("four bytes"));
        let key = address & u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
        let mut come = self.come.borrow_mut();
        let come = come.entry(key).or_default();
        *come += 1;
        (*come <= self.burst + u32::from(self.windows)) != self.above
    }
}

/// A place, operations on what is there, and values that will do.
#[derive(Debug, Clone)]
pub(crate) struct WordTest {
    place: u32,
    operations: Vec<(&'static str, u32)>,
    values: Vec<(u32, u32)>,
}

/// Few letters, so that patterns of them are often found in data of them; of small ones and
/// capitals, in Latin-1 too. (Not 0xdf and 0xff: with them the kernel's `bm` misses patterns.)
const LETTERS: [u8; 6] = *b"aAbB\xe0\xc0";

/// Data of a packet, at random or made of [`LETTERS`].
pub(crate) fn data(chance: &mut Chance) -> Vec<u8> {
    let len = chance.below(40);
    if chance.percent(50) {
        return chance.bytes(len);
    }
    (0..len).map(|_| chance.one_of(&LETTERS)).collect()
}

impl Content {
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        match chance.below(10) {
            0 if chance.percent(50) => Self::Hashlimit(Keyed::draw(chance)),
            0 if chance.percent(50) => {
                let burst = chance.one_of(&[1, 2, 5, 30]);
                Self::Limit { burst, left: Cell::new(burst) }
            }
            0 => Self::Sure { negated: chance.percent(50), always: chance.percent(50) },
            1..3 => {
                let every = chance.one_of(&[1, 2, 3, 7, 50, 1000]);
                let packet = chance.one_of(&[0, 0, 1, 5, 49]) % every;
                Self::Nth { negated: chance.percent(25), every, packet, count: Cell::new(0) }
            }
            3..7 => word(chance),
            _ => text(chance),
        }
    }

    /// Whether it depends on the packets before.
    pub(crate) fn counts(&self) -> bool {
        matches!(self, Self::Nth { .. } | Self::Limit { .. } | Self::Hashlimit(_))
    }

    /// As words for iptables, which read the same between quotes or without.
    pub(crate) fn words(&self) -> String {
        let not = |negated: bool| if negated { " !" } else { "" };
        match self {
            Self::Hashlimit(keyed) => keyed.words(),
            Self::Limit { burst, .. } => format!("-m limit --limit 1/hour --limit-burst {burst}"),
            Self::Nth { negated, every, packet, .. } => {
                let not = not(*negated);
                format!("-m statistic --mode nth{not} --every {every} --packet {packet}")
            }
            Self::Sure { negated, always } => {
                let (not, probability) = (not(*negated), u8::from(*always));
                format!("-m statistic --mode random{not} --probability {probability}")
            }
            Self::Word { negated, tests } => {
                let tests: Vec<String> = tests.iter().map(WordTest::words).collect();
                format!("-m u32{} --u32 {}", not(*negated), tests.join("&&"))
            }
            Self::Text { negated, pattern, bm, window: (from, to), ignore_case } => {
                let hex: String = pattern.iter().map(|byte| format!("{byte:02x}")).collect();
                format!(
                    "-m string --algo {}{} --hex-string |{hex}| --from {from} --to {to}{}",
                    if *bm { "bm" } else { "kmp" },
                    not(*negated),
                    if *ignore_case { " --icase" } else { "" },
                )
            }
        }
    }

    /// What it says about an IPv4 packet on its way out; packets that are asked about are counted.
    pub(crate) fn holds(&self, ip: &[u8]) -> bool {
        match self {
            Self::Hashlimit(keyed) => keyed.holds(ip),
            Self::Limit { left, .. } => left.replace(left.get().saturating_sub(1)) > 0,
            Self::Nth { negated, every, packet, count } => {
                let number = count.replace(count.get() + 1);
                (number % every == *packet) != *negated
            }
            Self::Sure { negated, always } => always != negated,
            Self::Word { negated, tests } => tests.iter().all(|test| test.holds(ip)) != *negated,
            Self::Text { negated, pattern, window: (from, to), ignore_case, .. } => {
                let fold = |byte: u8| match byte {
                    b'a'..=b'z' | 0xe0..=0xf6 | 0xf8..=0xfe if *ignore_case => byte - 32,
                    same => same,
                };
                let begins = |at: usize| {
                    ip[at..].len() >= pattern.len()
                        && ip[at..].iter().zip(pattern).all(|(a, b)| fold(*a) == fold(*b))
                };
                let found = (*from..ip.len()).any(|at| at + pattern.len() <= *to && begins(at));
                found != *negated
            }
        }
    }
}

impl WordTest {
    /// Numbers that are likely to lie in the packet, and to be found.
    fn draw(chance: &mut Chance) -> Self {
        let place =
            chance.one_of(&[0, 2, 4, 5, 6, 8, 9, 10, 12, 16, 20, 24, 40, 57, 1000, u32::MAX]);
        let mut operations = Vec::new();
        match chance.below(12) {
            0..3 => operations.push(("&", chance.one_of(&[0xff, 0xffff, 0x3fff, 0xff00, 0x0300]))),
            3..5 => operations.push((">>", chance.one_of(&[0, 1, 8, 16, 24, 28, 31]))),
            // Behind the header.
            5..7 => {
                let offset = chance.one_of(&[0, 2, 4, 8, 12]);
                operations.extend([(">>", 22), ("&", 0x3c), ("@", offset)]);
            }
            // Four bytes on (the version is 4), and as many more as a few bits there say.
            7..9 => {
                let offset = chance.one_of(&[0, 4, 8, 16]);
                operations.extend([(">>", 28), ("@", offset), ("&", 7), ("@", offset)]);
            }
            // What the router changes: time to live and checksum.
            9..11 => return Self::of_router(chance),
            _ => operations.extend([("<<", chance.one_of(&[8, 24])), (">>", 24)]),
        }
        let place = if operations.len() > 2 { 0 } else { place };
        if chance.percent(10) {
            operations.push(("@", chance.one_of(&[0, 4, u32::MAX])));
        }
        let value = |chance: &mut Chance| match chance.below(4) {
            0 => (0, chance.one_of(&[40, 0x7f, 0x7fff, u32::MAX])),
            1 => (chance.one_of(&[0, 63, 0x4000]), chance.one_of(&[63, 0x4500_0040, u32::MAX])),
            2 => (17, 6),
            _ => {
                let one = chance.one_of(&[0, 1, 5, 6, 17, 63, 64, 80, 0x4000, 0x0a00_0202]);
                (one, one)
            }
        };
        let values = (0..1 + chance.below(3)).map(|_| value(chance)).collect();
        Self { place, operations, values }
    }

    /// About the bytes 8, 10 and 11.
    fn of_router(chance: &mut Chance) -> Self {
        let ttl = chance.one_of(&[63, 64]);
        let half = (0, 0x7f);
        let (place, operation, value) = chance.one_of(&[
            (8, (">>", 24), (ttl, ttl)),
            (5, ("&", 0xff), (ttl, ttl)),
            (7, ("&", 0xff_0000), (ttl << 16, ttl << 16)),
            (8, ("&", 0xff), half),
            (10, (">>", 24), half),
            (11, (">>", 24), half),
        ]);
        Self { place, operations: vec![operation], values: vec![value] }
    }

    fn words(&self) -> String {
        let operations = self.operations.iter().map(|(sign, number)| format!("{sign}{number}"));
        let values = self.values.iter().map(|(first, last)| format!("{first}:{last}"));
        let values: Vec<String> = values.collect();
        format!("{}{}={}", self.place, operations.collect::<String>(), values.join(","))
    }

    fn holds(&self, ip: &[u8]) -> bool {
        let read = |at: u64| {
            let at = usize::try_from(at).expect("64 bits");
            let word = ip.get(at..)?.get(..4)?;
            Some(word.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)))
        };
        let mut start = 0_u64;
        let Some(mut value) = read(self.place.into()) else { return false };
        for (sign, number) in &self.operations {
            let number = u64::from(*number);
            match *sign {
                "&" => value &= number,
                "<<" => value = value << number & 0xffff_ffff,
                ">>" => value >>= number,
                _ => {
                    start += value;
                    match read(start + number) {
                        Some(word) => value = word,
                        None => return false,
                    }
                }
            }
        }
        let mut values = self.values.iter();
        values.any(|(first, last)| u64::from(*first) <= value && value <= u64::from(*last))
    }
}

fn word(chance: &mut Chance) -> Content {
    let tests = (0..1 + chance.below(2)).map(|_| WordTest::draw(chance)).collect();
    Content::Word { negated: chance.percent(25), tests }
}

fn text(chance: &mut Chance) -> Content {
    let mut pattern: Vec<u8> = match chance.below(10) {
        // In the header: time to live and protocol, before and after the router; addresses.
        0 => vec![63, chance.one_of(&[1, 6, 17])],
        1 => vec![64, chance.one_of(&[1, 6, 17])],
        2 => vec![10, 0, 2],
        3 => vec![chance.byte()],
        _ => (0..1 + chance.below(4)).map(|_| chance.one_of(&LETTERS)).collect(),
    };
    let header = pattern[0] == 63 || pattern[0] == 64;
    if chance.percent(3) {
        pattern.resize(127, b'a');
    }
    let from = chance.one_of(&[0, 0, 0, 0, 8, 9, 11, 12, 20, 28, 40, 44, 1000]);
    let from = if header && chance.percent(70) { chance.one_of(&[0, 8]) } else { from };
    let to = if header && chance.percent(70) {
        65_535
    } else {
        chance.one_of(&[65_535, 65_535, 65_535, 0, 10, 20, 40, 41, 42, 43, 50, 60, 1000])
    };
    Content::Text {
        negated: chance.percent(25),
        pattern,
        bm: chance.percent(50),
        window: (from, to.max(from)),
        ignore_case: chance.percent(40),
    }
}
