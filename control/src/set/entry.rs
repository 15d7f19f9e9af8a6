//! One entry of a set, as it is added, asked for, saved and listed.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::LazyLock;

use super::error::SetLineErrorKind;
use super::number::number;
use super::ports::{self, Ports};
use super::{Addresses, SET_COMMENT_BYTES_MAX, SET_TIMEOUT_S_MAX, SetForm, SetKind, SetName, To};
use crate::rule::Names;

/// The names by which entries travel, whatever files either side has. Made once: there may be a million.
static WIRE: LazyLock<Names> = LazyLock::new(Names::builtin);

/// What is in a set, or may be put into it at once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Element {
    /// Of `hash:ip` and `hash:net`.
    Addresses(Addresses),
    /// Of `hash:ip,port`.
    Ports {
        /// The addresses.
        addresses: Addresses,
        /// The protocol's number.
        protocol: u8,
        /// Its first port; for ICMP type and code, for protocols without ports 0.
        first: u16,
        /// Its last port, which may be the lower of the two.
        last: u16,
    },
    /// Of `list:set`.
    Set {
        /// The set in the list.
        name: SetName,
        /// Where in the list.
        beside: Option<Beside>,
    },
}

/// A place in a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Beside {
    /// `before NAME`
    Before(SetName),
    /// `after NAME`
    After(SetName),
}

impl Element {
    /// One address with a port.
    pub fn port(address: impl Into<IpAddr>, protocol: u8, port: u16) -> Self {
        let addresses = Addresses::one(address);
        Self::Ports { addresses, protocol, first: port, last: port }
    }

    /// A member of a list.
    pub fn set(name: SetName) -> Self {
        Self::Set { name, beside: None }
    }

    fn parse(form: SetForm, text: &str, names: &Names) -> Result<Self, SetLineErrorKind> {
        let owned = || text.to_owned();
        let kind = form.kind;
        match kind {
            SetKind::HashIp | SetKind::HashNet => match text.contains(',') {
                false => Addresses::parse(text, form).map(Self::Addresses),
                true => Err(SetLineErrorKind::Separator { text: owned(), kind }),
            },
            SetKind::HashIpPort => {
                let (first, second) = text.split_once(',').unwrap_or((text, ""));
                if first.is_empty() || second.is_empty() {
                    return Err(SetLineErrorKind::SecondMissing { text: owned() });
                }
                if second.contains(',') {
                    return Err(SetLineErrorKind::TwoSeparators { text: owned(), kind });
                }
                let addresses = Addresses::parse(first, form)?;
                let Ports { protocol, first, last } = ports::parse(second, form.family, names)?;
                Ok(Self::Ports { addresses, protocol, first, last })
            }
            SetKind::ListSet => {
                let mut parts = text.splitn(3, ',');
                let name = parts.next().unwrap_or_default().parse()?;
                let beside = match (parts.next(), parts.next()) {
                    (None, _) => None,
                    (Some("before"), Some(other)) => Some(Beside::Before(other.parse()?)),
                    (Some("after"), Some(other)) => Some(Beside::After(other.parse()?)),
                    _ => return Err(SetLineErrorKind::BesideForm),
                };
                Ok(Self::Set { name, beside })
            }
        }
    }

    fn print(&self, names: &Names) -> String {
        match self {
            Self::Addresses(addresses) => addresses.to_string(),
            Self::Ports { addresses, protocol, first, last } => {
                let ports = Ports { protocol: *protocol, first: *first, last: *last };
                format!("{addresses},{}", ports::print(ports, names))
            }
            Self::Set { name, beside: None } => name.to_string(),
            Self::Set { name, beside: Some(Beside::Before(other)) } => {
                format!("{name} before {other}")
            }
            Self::Set { name, beside: Some(Beside::After(other)) } => {
                format!("{name} after {other}")
            }
        }
    }
}

/// An entry with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// What is in the set.
    pub element: Element,
    /// `timeout`: after so many seconds it is gone; 0 for never. `None` where nothing is said.
    pub timeout_s: Option<u32>,
    /// `nomatch`: an exception to larger nets.
    pub nomatch: bool,
    /// `comment`; an empty one is kept by no set, but only those with comments take it.
    pub comment: Option<String>,
}

impl Entry {
    /// Without options.
    pub fn new(element: Element) -> Self {
        Self { element, timeout_s: None, nomatch: false, comment: None }
    }

    /// Reads an entry of a set of that form.
    ///
    /// # Errors
    /// What is wrong, and with which of the words.
    pub fn parse(
        form: SetForm,
        words: &[String],
        names: &Names,
    ) -> Result<Self, (usize, SetLineErrorKind)> {
        let (first, options) = words.split_first().ok_or((0, SetLineErrorKind::EntryMissing))?;
        let element = Element::parse(form, first, names).map_err(|error| (0, error))?;
        let (mut entry, mut seen) = (Self::new(element), Vec::new());
        let mut place = 0;
        while let Some(option) = options.get(place) {
            let at = |error| (place + 1, error);
            let rest = &options[place + 1..];
            let value = || {
                let missing = || SetLineErrorKind::ValueMissing { option: option.clone() };
                rest.first().map(|text| (place + 2, text.as_str())).ok_or_else(|| at(missing()))
            };
            if seen.contains(&option.as_str()) {
                return Err(at(SetLineErrorKind::Repeated { option: option.clone() }));
            }
            seen.push(option);
            match (option.as_str(), form.kind) {
                ("timeout", _) => {
                    let (at, text) = value()?;
                    let seconds =
                        number(text, 0, SET_TIMEOUT_S_MAX).map_err(|error| (at, error))?;
                    entry.timeout_s = Some(seconds);
                }
                ("comment", _) => {
                    let (at, text) = value()?;
                    entry.comment = Some(comment(text).map_err(|error| (at, error))?);
                }
                ("nomatch", SetKind::HashNet) => {
                    entry.nomatch = true;
                    place += 1;
                    continue;
                }
                ("before" | "after", SetKind::ListSet) => {
                    let (at_other, text) = value()?;
                    let other: SetName = text
                        .parse()
                        .map_err(|error: super::SetNameError| (at_other, error.into()))?;
                    let Element::Set { beside, .. } = &mut entry.element else {
                        return Err(at(SetLineErrorKind::BesideForm));
                    };
                    if beside.is_some() {
                        return Err(at(SetLineErrorKind::BesideTwice));
                    }
                    *beside = Some(match option.as_str() {
                        "before" => Beside::Before(other),
                        _ => Beside::After(other),
                    });
                }
                ("packets" | "bytes" | "skbmark" | "skbprio" | "skbqueue", _) => {
                    return Err(at(SetLineErrorKind::NotEnforced { option: option.clone() }));
                }
                _ => return Err(at(SetLineErrorKind::UnknownArgument { text: option.clone() })),
            }
            place += 2;
        }
        Ok(entry)
    }

    /// As it travels: as it is saved where no file gives names.
    pub fn to_wire(&self) -> String {
        self.print(&WIRE)
    }

    /// Reads what [`Entry::to_wire`] has written.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_wire(form: SetForm, text: &str) -> Result<Self, SetLineErrorKind> {
        let words = super::text::words(text)?;
        Self::parse(form, &words, &WIRE).map_err(|(_, error)| error)
    }

    /// What `ipset list` and `ipset save` print of it.
    pub fn print(&self, names: &Names) -> String {
        let mut text = self.element.print(names);
        if let Some(seconds) = self.timeout_s {
            let _ = write!(text, " timeout {seconds}");
        }
        if self.nomatch {
            text.push_str(" nomatch");
        }
        if let Some(comment) = &self.comment {
            let _ = write!(text, " comment \"{comment}\"");
        }
        text
    }

    /// Its element alone, as `ipset test` names it.
    pub fn print_element(&self, names: &Names) -> String {
        self.element.print(names)
    }

    /// Whether `ipset test` takes it: most kinds are asked for one element.
    ///
    /// # Errors
    /// Why it does not.
    pub fn check_test(&self, SetForm { kind, family }: SetForm) -> Result<(), SetLineErrorKind> {
        let refused = |what| Err(SetLineErrorKind::NotTested { what, kind, family });
        let (addresses, ports) = match &self.element {
            Element::Addresses(addresses) => (addresses.to, None),
            Element::Ports { addresses, first, last, .. } => (addresses.to, Some((first, last))),
            Element::Set { .. } => return Ok(()),
        };
        match (addresses, kind) {
            (To::Length(_), SetKind::HashIpPort) => refused("IP/CIDR range"),
            (To::Address(_), SetKind::HashIpPort | SetKind::HashNet) => refused("FROM-TO IP range"),
            _ if ports.is_some_and(|(first, last)| first != last) => refused("FROM-TO port range"),
            _ => Ok(()),
        }
    }
}

fn comment(text: &str) -> Result<String, SetLineErrorKind> {
    if text.contains('"') {
        return Err(SetLineErrorKind::CommentQuote);
    }
    if text.len() > SET_COMMENT_BYTES_MAX {
        return Err(SetLineErrorKind::CommentTooLong);
    }
    if text.contains(char::is_control) {
        return Err(SetLineErrorKind::CommentControl);
    }
    Ok(text.to_owned())
}
