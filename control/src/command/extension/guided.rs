//! Values that libxtables reads for its extensions from a table of options (libxtables/xtoptions.c).

use super::super::error::ParseErrorKind;
use super::super::getopt::Word;
use super::super::refusal::Refusal;
use crate::rule::{Names, PortRange};

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

    fn too_many(self) -> Refusal<'a> {
        let (name, option) = (self.name, self.option);
        Refusal::at(self.word, ParseErrorKind::OptionComponents { name, option })
    }
}

/// A decimal number, or the name of a service of any transport.
fn parse_port<'a>(word: Word<'a>, names: &Names) -> Result<u16, Refusal<'a>> {
    let number = word.text.trim_start_matches(' ').parse().ok();
    number.or_else(|| names.port(word.text, None)).ok_or_else(|| {
        let port = word.text.to_owned();
        Refusal::at(word, ParseErrorKind::UdpPort { port })
    })
}
