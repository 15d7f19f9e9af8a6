//! Sequences written by hand, one for each special case, with what the kernel says to them: `cases/`.

use crate::chance::Chance;
use crate::grid::{EAST, WEST};
use crate::play::{Course, DEFAULTS};
use crate::seen::{Seen, Verdict};
use crate::shot::{Body, Checksum, Ends, Event, Header, Sequence, Shot, Side, Tcp};

/// One case: packets, and what is expected of each.
pub(crate) struct Case {
    pub(crate) sequence: Sequence,
    pub(crate) settings: Vec<(&'static str, u32)>,
    /// State and entries, as words.
    expected: Vec<String>,
}

/// All cases.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let texts = [include_str!("cases/tcp.txt"), include_str!("cases/others.txt")];
    for line in texts.iter().flat_map(|text| text.lines()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] | ["//", ..] => {}
            ["#", ..] => cases.push(Case {
                sequence: Sequence { name: words[1..].join(" "), events: Vec::new() },
                settings: Vec::new(),
                expected: Vec::new(),
            }),
            _ => {
                let case = cases.last_mut().expect("a name first");
                case.line(&words).unwrap_or_else(|| panic!("what is this? {line}"));
            }
        }
    }
    cases
}

impl Case {
    fn line(&mut self, words: &[&str]) -> Option<()> {
        match *words {
            ["pause"] => self.sequence.events.push(Event::Pause),
            ["set", setting] => {
                let (name, value) = setting.split_once('=')?;
                let (name, _) = DEFAULTS.iter().find(|(known, _)| *known == name)?;
                self.settings.push((name, value.parse().ok()?));
            }
            [side, ref rest @ ..] => {
                let from = Side::BOTH[[">", "<"].iter().position(|sign| *sign == side)?];
                let equal = rest.iter().position(|word| *word == "=")?;
                let shot = self.shot(from, &rest[..equal])?;
                self.sequence.events.push(Event::Shot(shot));
                self.expected.push(rest[equal + 1..].join(" "));
            }
            [] => return None,
        }
        Some(())
    }

    fn shot(&self, from: Side, words: &[&str]) -> Option<Shot> {
        let has = |word: &str| words.contains(&word);
        let value = |name: &str| {
            let found = words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            found.and_then(|text| text.parse::<u32>().ok())
        };
        let small = |name: &str| value(name).and_then(|value| u16::try_from(value).ok());
        let body = match *words {
            ["udp", len, ..] => Body::Udp {
                ports: [small("port").unwrap_or(4000), small("port").unwrap_or(53)],
                len: len.parse().ok()?,
                claimed: small("claims"),
                checksum: match () {
                    () if has("badsum") => Checksum::Bad,
                    () if has("nosum") => Checksum::Absent,
                    () if has("sumofall") => Checksum::OfAll,
                    () => Checksum::Good,
                },
            },
            ["icmp", kind, ..] => Body::Icmp {
                kind: kind.parse().ok()?,
                code: u8::try_from(small("code").unwrap_or(0)).ok()?,
                id: small("id").unwrap_or(7),
                len: small("len").unwrap_or(8),
                bad_checksum: has("badsum"),
            },
            ["error", kind, ..] => Body::Error {
                kind: kind.parse().ok()?,
                code: u8::try_from(small("code").unwrap_or(1)).ok()?,
                quoted: Box::new(self.quoted(value("of")?, has("turned"))?),
                bytes: usize::from(small("bytes").unwrap_or(8)),
                header: match () {
                    () if has("fragment") => Header::Fragment,
                    () if has("first") => Header::First,
                    () if has("options") => Header::Options(3),
                    () => Header::Plain,
                },
                bad_checksum: has("badsum"),
            },
            ["protocol", number, ..] => Body::Other {
                protocol: number.parse().ok()?,
                bytes: Chance::new(1).bytes(usize::from(small("len").unwrap_or(16))),
            },
            _ => Body::Tcp(tcp(from, words)?),
        };
        let ends = match () {
            () if has("stranger") => Ends::Stranger,
            () if has("tostranger") => Ends::ToStranger,
            () if has("land") => Ends::Land,
            () => Ends::Hosts,
        };
        Some(Shot { from, ends, header: Header::Plain, body, dropped: has("DROPPED") })
    }

    /// The packet of this number, counted from 1; or as if the other side had sent it.
    fn quoted(&self, number: u32, turned: bool) -> Option<Shot> {
        let number = usize::try_from(number).ok()?.checked_sub(1)?;
        let mut quoted = self.sequence.shots().nth(number)?.clone();
        quoted.from = if turned { quoted.from.other() } else { quoted.from };
        Some(quoted)
    }

    /// What the kernel said otherwise than is written.
    pub(crate) fn unexpected(&self, course: &Course) -> Vec<String> {
        let shots = self.sequence.shots();
        (shots.zip(&self.expected).zip(&course.seen))
            .filter(|((_, expected), (kernel, _))| !meets(kernel, expected))
            .map(|((shot, expected), (kernel, _))| {
                let line = crate::script::shot(shot, crate::script::Bases([EAST, WEST]));
                format!("{line} = {} instead of {expected}", plain(kernel))
            })
            .collect()
    }
}

/// What a case's line says of TCP.
fn tcp(from: Side, words: &[&str]) -> Option<Tcp> {
    let [own, other] = if from == Side::East { [EAST, WEST] } else { [WEST, EAST] };
    let is_number = |word: &&&str| **word == "zero" || !word.starts_with(char::is_alphabetic);
    let numbers: Vec<&&str> = words[1..].iter().take_while(is_number).collect();
    let (seq, len) = numbers.first()?.split_once('+').unwrap_or((numbers.first()?, "0"));
    let ack = numbers.get(1);
    let relative =
        |text: &str, base: u32| text.parse().ok().map(|far| base.wrapping_add_signed(far));
    let value = |name: &str| {
        let found = words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found.and_then(|text| text.parse::<u32>().ok())
    };
    let byte = |name: &str| value(name).and_then(|value| u8::try_from(value).ok());
    let mut options = Vec::new();
    if words.contains(&"sackok") {
        options.extend([4, 2]);
    }
    if let Some(scale) = byte("scale") {
        options.extend([3, 3, scale]);
    }
    if let Some(right) = value("sack") {
        options.extend([5, 10]);
        options.extend(other.wrapping_add(right - 1).to_be_bytes());
        options.extend(other.wrapping_add(right).to_be_bytes());
    }
    Some(Tcp {
        ports: [40_000, 80],
        seq: if seq == "zero" { 0 } else { relative(seq, own)? },
        ack: ack.map_or(Some(0), |ack| relative(ack, other))?,
        flags: crate::script::flags_of(words[0])?,
        window: value("win").map_or(Some(1000), |value| u16::try_from(value).ok())?,
        options,
        len: len.parse().ok()?,
        doff: byte("doff"),
        bad_checksum: words.contains(&"badsum"),
        cut: value("cut").and_then(|cut| usize::try_from(cut).ok()),
    })
}

/// State and direction; entries without what only the kernel tells.
fn plain(seen: &Seen) -> String {
    let verdict = seen.verdict.map_or("(never came)".into(), |verdict| {
        Verdict { seen_reply: false, assured: false, confirmed: true, ..verdict }.to_string()
    });
    let mut text = verdict;
    if seen.entries.is_empty() {
        text += " -";
    }
    let mut entries = seen.entries.clone();
    entries.sort_by_key(|entry| format!("{:?}", entry.original));
    for (number, mut entry) in entries.into_iter().enumerate() {
        entry.internals.clear();
        text += if number == 0 { " " } else { " + " };
        text += &entry.to_string();
    }
    text
}

/// Equal but for times, which are up to two seconds older.
fn meets(kernel: &Seen, expected: &str) -> bool {
    let said = plain(kernel);
    let (said, expected): (Vec<_>, Vec<_>) =
        (said.split_whitespace().collect(), expected.split_whitespace().collect());
    let number = |word: &str| word.parse::<u64>().ok();
    said.len() == expected.len()
        && said.iter().zip(&expected).all(|(said, expected)| {
            let near = number(said).zip(number(expected));
            said == expected
                || near.is_some_and(|(said, expected)| said <= expected && said + 2 >= expected)
        })
}
