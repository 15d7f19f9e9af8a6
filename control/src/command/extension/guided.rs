//! Values that libxtables reads for its extensions from a table of options (libxtables/xtoptions.c),
//! and lists of names.

use std::net::IpAddr;
use std::ops::BitOr;

use super::super::error::ParseErrorKind;
use super::super::getopt::Word;
use super::super::refusal::Refusal;
use super::super::value_error::ValueError;
use crate::rule::{
    CountRange, CtAddress, Family, IpNet, Names, NumberRange, PortRange, SizeRange, number_prefix,
    number_prefix64, parse_host_and_mask, parse_number,
};

/// The value of an option.
#[derive(Debug, Clone, Copy)]
pub(super) struct Argument<'a> {
    /// Of which match.
    pub(super) name: &'static str,
    /// Without dashes.
    pub(super) option: &'static str,
    pub(super) word: Word<'a>,
}

impl<'a> Argument<'a> {
    /// `PORT`, `FIRST:LAST`, `:LAST`, `FIRST:`. No port at all is port 0.
    pub(super) fn ports(self, names: &Names) -> Result<PortRange, Refusal<'a>> {
        let mut bounds = [0, u16::MAX];
        let (mut offset, mut least) = (0, 0);
        for (index, text) in self.word.text.split(':').enumerate() {
            let Some(bound) = bounds.get_mut(index) else { return Err(self.too_many()) };
            let word = Word { text, offset: self.word.offset + offset, ..self.word };
            offset += text.len() + 1;
            if text.is_empty() {
                continue;
            }
            let port = parse_port(word, names)?;
            if port < least {
                let kind = ParseErrorKind::PortRangeNegative { first: least, last: port };
                return Err(Refusal::at(self.word, kind));
            }
            (*bound, least) = (port, port);
        }
        let [first, last] = bounds;
        let last = if self.word.text.contains(':') { last } else { first };
        PortRange::new(first, last).map_err(|error| Refusal::at(self.word, error))
    }

    /// Numbers as [`Self::bounds`], in 32 bits.
    pub(super) fn numbers(self) -> Result<NumberRange, Refusal<'a>> {
        let (first, last) = self.bounds(32)?;
        let narrow = |bound: u64| u32::try_from(bound).ok();
        let ends = narrow(first).zip(narrow(last.unwrap_or(first)));
        let range = ends.and_then(|(first, last)| NumberRange::new(first, last).ok());
        // Each bound was read as not above the most, and not below the one before.
        range.ok_or_else(|| self.unordered(first, 32))
    }

    /// Sizes as [`Self::bounds`], in 16 bits.
    pub(super) fn sizes(self) -> Result<SizeRange, Refusal<'a>> {
        let (first, last) = self.bounds(16)?;
        let narrow = |bound: u64| u16::try_from(bound).ok();
        let sizes = narrow(first).zip(narrow(last.unwrap_or(first)));
        let range = sizes.and_then(|(first, last)| SizeRange::new(first, last).ok());
        // Likewise.
        range.ok_or_else(|| self.unordered(first, 16))
    }

    /// Counts as [`Self::bounds`], in 64 bits. A number alone is the first of all from there on.
    pub(super) fn counts(self) -> Result<CountRange, Refusal<'a>> {
        let (first, last) = self.bounds(64)?;
        let range = CountRange::new(first, last.unwrap_or(u64::MAX));
        // Likewise.
        range.map_err(|_| self.unordered(first, 64))
    }

    /// `N`, `FIRST:LAST`, `:LAST`, `FIRST:`, of so many bits. No number at all is 0; there is no last where
    /// there is no colon.
    fn bounds(self, bits: u8) -> Result<(u64, Option<u64>), Refusal<'a>> {
        let (mut bounds, mut count, mut least) = ([0, u64::MAX >> (64 - bits)], 0, 0);
        let mut rest = self.word.text;
        loop {
            let Some(bound) = bounds.get_mut(count) else { return Err(self.too_many()) };
            count += 1;
            if !rest.is_empty() && !rest.starts_with(':') {
                (*bound, rest) = self.number_of(rest, least, bits)?;
                least = *bound;
            }
            match rest.strip_prefix(':') {
                Some(next) => rest = next,
                None => break,
            }
        }
        let [first, last] = bounds;
        Ok((first, (count > 1).then_some(last)))
    }

    /// A number not above `most`, and nothing else.
    pub(super) fn number(self, most: u8) -> Result<u8, Refusal<'a>> {
        let number = self.in_range(0, most.into())?;
        u8::try_from(number).map_err(|_| self.out_of_range(0, most.into()))
    }

    /// A number in 16 bits.
    pub(super) fn offset(self) -> Result<u16, Refusal<'a>> {
        let number = self.in_range(0, u16::MAX.into())?;
        u16::try_from(number).map_err(|_| self.out_of_range(0, u16::MAX.into()))
    }

    /// A number from `least` to `most`.
    pub(super) fn in_range(self, least: u32, most: u32) -> Result<u32, Refusal<'a>> {
        let number = parse_number(self.word.text, most).filter(|number| *number >= least);
        number.ok_or_else(|| self.out_of_range(least, most))
    }

    /// `VALUE[/MASK]` in 32 bits each (`xtopt_parse_mark_mask`); without a mask all bits are meant.
    pub(super) fn masked_number(self) -> Result<(u32, u32), Refusal<'a>> {
        let (name, option) = (self.name, self.option);
        let bad = || Refusal::at(self.word, ValueError::MaskedNumber { name, option });
        let number = |text: &'a str| match number_prefix(text) {
            Some((Some(number), rest)) => Ok((number, rest)),
            _ => Err(bad()),
        };
        let (value, rest) = number(self.word.text)?;
        let (mask, rest) = match rest.strip_prefix('/') {
            Some(mask) => number(mask)?,
            None => (u32::MAX, rest),
        };
        if rest.is_empty() {
            return Ok((value, mask));
        }
        Err(Refusal::at(self.word, ValueError::MaskedNumberEnds { name, option }))
    }

    /// How many bits of an address count, as a number or as a mask (`xtopt_parse_plenmask` for one side). Weir's rules
    /// say whether addresses have so many.
    pub(super) fn mask_bits(self, family: Family) -> Result<u8, Refusal<'a>> {
        let text = self.word.text;
        if let Some(bits) = parse_number(text, 128).and_then(|bits| u8::try_from(bits).ok()) {
            return Ok(bits);
        }
        // iptables takes a number for an address, and the kernel refuses it as a mask.
        if family == Family::V4 && parse_number(text, u32::MAX).is_some() {
            return Ok(u8::MAX);
        }
        let host = if family == Family::V4 { "0.0.0.0" } else { "::" };
        match parse_host_and_mask(host, Some(text), family).1 {
            // One with gaps is for the kernel to refuse.
            Some(mask) => Ok(mask_len(mask).unwrap_or(u8::MAX)),
            None => Err(self.bad_mask(text, 0, family)),
        }
    }

    /// The word is no value from `least` to `most`.
    pub(super) fn out_of_range(self, least: u32, most: u32) -> Refusal<'a> {
        let (name, option) = (self.name, self.option);
        Refusal::at(self.word, ParseErrorKind::OptionRange { name, option, least, most })
    }

    /// The number at the beginning of `text`, from `least` on, of so many bits, and what follows it.
    fn number_of(self, text: &'a str, least: u64, bits: u8) -> Result<(u64, &'a str), Refusal<'a>> {
        let place = |text: &'a str| {
            let offset = self.word.offset + self.word.text.len() - text.len();
            Word { text, offset, ..self.word }
        };
        let most = u64::MAX >> (64 - bits);
        let read = number_prefix64(text);
        let in_range = |(number, rest): (Option<u64>, _)| {
            Some((number.filter(|number| (least..=most).contains(number))?, rest))
        };
        let Some((number, rest)) = read.and_then(in_range) else {
            return Err(Refusal::at(place(text), self.bad_number(text, least, bits)));
        };
        if !rest.is_empty() && !rest.starts_with(':') {
            let (name, option, near) = (self.name, self.option, rest.to_owned());
            let kind = ParseErrorKind::OptionCharacters { name, option, near };
            return Err(Refusal::at(place(rest), kind));
        }
        Ok((number, rest))
    }

    fn bad_number(self, near: &str, least: u64, bits: u8) -> ParseErrorKind {
        let (name, option, near) = (self.name, self.option, near.into());
        let range = Box::new((least, u64::MAX >> (64 - bits)));
        ParseErrorKind::OptionNumber { name, option, near, range }
    }

    fn unordered(self, least: u64, bits: u8) -> Refusal<'a> {
        Refusal::at(self.word, self.bad_number(self.word.text, least, bits))
    }

    fn too_many(self) -> Refusal<'a> {
        let (name, option) = (self.name, self.option);
        Refusal::at(self.word, ParseErrorKind::OptionComponents { name, option })
    }

    /// `ADDRESS[/MASK]`. Names of hosts are refused.
    pub(super) fn address(self, family: Family) -> Result<CtAddress, Refusal<'a>> {
        let (host, mask) = match self.word.text.split_once('/') {
            Some((host, mask)) => (host, Some(mask)),
            None => (self.word.text, None),
        };
        let (address, netmask) = parse_host_and_mask(host, mask, family);
        if let Some(read) = address.zip(netmask).and_then(|(host, mask)| CtAddress::new(host, mask))
        {
            return Ok(read);
        }
        match address {
            Some(_) => Err(self.bad_mask(mask.unwrap_or_default(), host.len() + 1, family)),
            None => Err(self.no_host(host)),
        }
    }

    /// `ADDRESS`. Names of hosts are refused.
    pub(super) fn host(self, family: Family) -> Result<IpAddr, Refusal<'a>> {
        let (address, _) = parse_host_and_mask(self.word.text, None, family);
        address.ok_or_else(|| self.no_host(self.word.text))
    }

    /// A prefix length, or a mask that is one.
    pub(super) fn prefix_len(self, family: Family) -> Result<u8, Refusal<'a>> {
        let (_, mask) = parse_host_and_mask("", Some(self.word.text), family);
        mask.and_then(mask_len).ok_or_else(|| self.bad_mask(self.word.text, 0, family))
    }

    /// The word begins with no address of the family.
    fn no_host(self, text: &'a str) -> Refusal<'a> {
        let reason = match text.parse::<IpAddr>() {
            Ok(_) => "Address family for hostname not supported",
            Err(_) => "Name or service not known",
        };
        Refusal::at(self.part(text, 0), ParseErrorKind::HostName { reason })
    }

    /// What stands at `offset` of the word is no mask.
    fn bad_mask(self, text: &'a str, offset: usize, family: Family) -> Refusal<'a> {
        let (name, option, most) = (self.name, self.option, family.address_bits());
        let kind = ParseErrorKind::OptionMask { name, option, most };
        Refusal::at(self.part(text, offset), kind)
    }

    /// A part of the word. Where it is empty there is nothing to point at but the whole.
    fn part(self, text: &'a str, offset: usize) -> Word<'a> {
        match text {
            "" => self.word,
            _ => Word { text, offset: self.word.offset + offset, ..self.word },
        }
    }
}

/// The length of a mask that is a prefix.
fn mask_len(mask: IpAddr) -> Option<u8> {
    u8::try_from(IpNet::masked(mask, mask)?.prefix_len()?).ok()
}

/// A decimal number, or the name of a service of any transport.
fn parse_port<'a>(word: Word<'a>, names: &Names) -> Result<u16, Refusal<'a>> {
    let number = word.text.trim_start_matches(' ').parse().ok();
    number.or_else(|| names.port(word.text, None)).ok_or_else(|| {
        let port = word.text.to_owned();
        Refusal::at(word, ParseErrorKind::UdpPort { port })
    })
}

/// An item of a list that is no name.
#[derive(Debug)]
pub(super) struct UnknownItem<'a> {
    pub(super) word: Word<'a>,
    /// The item and what follows it, which is what iptables prints.
    pub(super) list: String,
}

/// The values of names that stand in a list with commas. A name may be shortened to any beginning
/// that is not empty (the first that fits is meant), and capitals do not count.
pub(super) fn listed<'a, T: Default + BitOr<Output = T>>(
    list: Word<'a>,
    known: impl IntoIterator<Item = (&'static str, T), IntoIter: Clone>,
) -> Result<T, UnknownItem<'a>> {
    let known = known.into_iter();
    let (mut value, mut offset) = (T::default(), 0);
    for text in list.text.split(',') {
        let begins = |name: &str| {
            let beginning = name.get(..text.len());
            !text.is_empty() && beginning.is_some_and(|name| name.eq_ignore_ascii_case(text))
        };
        let Some((_, named)) = known.clone().find(|(name, _)| begins(name)) else {
            let word = match text {
                "" => list,
                _ => Word { text, offset: list.offset + offset, ..list },
            };
            return Err(UnknownItem { word, list: list.text[offset..].to_owned() });
        };
        value = value | named;
        offset += text.len() + 1;
    }
    Ok(value)
}
