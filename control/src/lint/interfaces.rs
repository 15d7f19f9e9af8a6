//! The interfaces that packets come in and leave by, as far as rules tell them apart.

use crate::rule::{InterfacePattern, Negatable, Rule};

/// Names that interfaces can have. A set of them is a number with a bit for each.
#[derive(Debug, Clone)]
pub(super) struct Interfaces {
    names: Vec<Name>,
    /// Whether every pattern is a set of them. Where there are too many names it is not, and patterns
    /// are conditions that are no sets.
    told_apart: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    /// There is none: what is for the machine leaves by none, and what it sends came in by none. The kernel
    /// takes that for a name without letters (`ip_packet_match`, net/ipv4/netfilter/ip_tables.c), which `+`
    /// fits and so does `! eth0`.
    Nothing,
    /// This one.
    Whole(String),
    /// All that begin so and are not told apart further; of the empty beginning, those that no pattern fits.
    Beginning(String),
}

/// More names than these are not told apart.
const NAMES_MAX: usize = u128::BITS as usize;

impl Interfaces {
    /// A packet has no interface there.
    pub(super) const NOTHING: u128 = 1;

    /// Those of a daemon whose ports are known.
    pub(super) fn known(ports: &[String]) -> Self {
        Self::of(ports.iter().cloned().map(Name::Whole).collect())
    }

    /// Those that rules can tell apart: of each name that is mentioned there is one, of each beginning that is
    /// mentioned one more, and one that is none of these.
    pub(super) fn mentioned<'a>(rules: impl Iterator<Item = &'a Rule>) -> Self {
        let mut names = vec![Name::Beginning(String::new())];
        for pattern in rules.flat_map(|rule| [&rule.in_interface, &rule.out_interface]).flatten() {
            let name = match pattern.value.prefix() {
                Some(prefix) => Name::Beginning(prefix.to_owned()),
                None => Name::Whole(pattern.value.as_str().to_owned()),
            };
            if !names.contains(&name) && names.len() < NAMES_MAX {
                names.push(name);
            }
        }
        Self::of(names)
    }

    /// These, and that there is none. One name stands for all if they are too many.
    fn of(mut names: Vec<Name>) -> Self {
        let told_apart = names.len() < NAMES_MAX;
        if !told_apart {
            names = vec![Name::Beginning(String::new())];
        }
        names.insert(0, Name::Nothing);
        Self { names, told_apart }
    }

    /// Every one, and that there is none.
    pub(super) fn all(&self) -> u128 {
        u128::MAX >> (NAMES_MAX - self.names.len())
    }

    /// Every one.
    pub(super) fn ports(&self) -> u128 {
        self.all() & !Self::NOTHING
    }

    /// Whether [`set`](Self::set) says all that a pattern says.
    pub(super) fn told_apart(&self) -> bool {
        self.told_apart
    }

    /// Those that a condition holds for, and perhaps more if they are not told apart.
    pub(super) fn set(&self, pattern: Option<&Negatable<InterfacePattern>>) -> u128 {
        let Some(Negatable { value, negated }) = pattern else { return self.all() };
        let holds = |name: &Name| match name {
            Name::Nothing => value.matches("") != *negated,
            _ if !self.told_apart => true,
            Name::Whole(name) => value.matches(name) != *negated,
            Name::Beginning(begin) => {
                value.prefix().is_some_and(|prefix| begin.starts_with(prefix)) != *negated
            }
        };
        let names = self.names.iter().enumerate();
        names.fold(0, |set, (bit, name)| set | u128::from(holds(name)) << bit)
    }

    /// One of a set, in words; `None` if that is nothing, or it is not known which.
    pub(super) fn example(&self, set: u128) -> Option<String> {
        let bit = usize::try_from((set & self.ports()).trailing_zeros()).ok()?;
        match self.names.get(bit)? {
            Name::Nothing => None,
            Name::Whole(name) => Some(name.clone()),
            Name::Beginning(begin) if begin.is_empty() => Some("any other".to_owned()),
            Name::Beginning(begin) => Some(format!("any other {begin}+")),
        }
    }
}
