//! What the `time` match looks at: the clock.
//!
//! The words are those of extensions/libxt_time.c of iptables, the meaning is that of
//! net/netfilter/xt_time.c. All times are UTC; the kernel's own time zone (`--kerneltz`) is not
//! enforced, since programs cannot ask for it.

use serde::{Deserialize, Serialize};

use super::{CalendarDate, Extension, InvalidRule, ListedLine, Negatable, SavedWords};

/// Seconds of a day.
const DAY_S: u32 = 86_400;

/// Without `--datestop`: what 31 bits hold. The rule matches nothing afterwards.
const DATE_STOP_DEFAULT: u32 = i32::MAX as u32;

/// The `time` match. All conditions must hold; the default has those that always hold (till 2038).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeMatch {
    /// `--datestart`: from this second on, since 1970.
    pub date_start: u32,
    /// `--datestop`: to this second, included.
    pub date_stop: u32,
    /// `--timestart`: from this second of the day on.
    pub daytime_start: u32,
    /// `--timestop`: to this second of the day, included. Not after `daytime_start`: to that of the
    /// next day.
    pub daytime_stop: u32,
    /// `--monthdays`: a bit for each day, from bit 1 to bit 31.
    pub monthdays: u32,
    /// `--weekdays`: likewise, bit 1 is Monday, bit 7 Sunday.
    pub weekdays: u8,
    /// `--contiguous`: what comes after midnight belongs to the day before.
    pub contiguous: bool,
}

/// Why a text is no time, or a `time` match means nothing. The words are iptables' where it has
/// some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each message says what the variant means")]
pub enum TimeError {
    #[error(
        "invalid time \"{0}\" specified, should be hh:mm[:ss] format and within the boundaries"
    )]
    Daytime(String),
    #[error("Invalid date \"{0}\" specified. Should be YYYY[-MM[-DD[Thh[:mm[:ss]]]]]")]
    Date(String),
    #[error("mktime returned an error")]
    BeforeEpoch,
    #[error("{0} is not a valid day for --monthdays")]
    Monthday(String),
    #[error("{0} is not a valid day specifier")]
    Weekday(String),
    #[error("No, the week does NOT begin with Sunday.")]
    SundayFirst,
    #[error("time: no day is left, so that the rule would never match")]
    NoDay,
    #[error("time: --contiguous only makes sense when stoptime is smaller than starttime")]
    Contiguous,
    #[error("time: a day has 86,400 seconds, a month 31 days and a week 7, counted from 1")]
    Bounds,
}

/// A number as C's `strtoul` reads it, base 10, and what follows; 0 where there is none.
fn number(text: &str) -> (Option<u32>, &str) {
    let blank = [' ', '\t', '\n', '\u{b}', '\u{c}', '\r'];
    let signed = text.trim_start_matches(blank);
    let digits = signed.strip_prefix(['+', '-']).unwrap_or(signed);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    match digits.parse() {
        _ if digits.is_empty() => (Some(0), text),
        // A number that is too large, or negative, is above every limit.
        Ok(number) if number == 0 || !signed.starts_with('-') => (Some(number), rest),
        _ => (None, rest),
    }
}

/// The number before one of `marks` or the end, at most `most`; and what follows, if there is more.
fn part(text: &str, most: u32, mark: char) -> Option<(u32, Option<&str>)> {
    let (number, rest) = number(text);
    let number = number.filter(|number| *number <= most)?;
    match rest {
        "" => Some((number, None)),
        _ => Some((number, Some(rest.strip_prefix(mark)?))),
    }
}

impl TimeMatch {
    /// Names of the days of the week; the index is the bit.
    const WEEKDAYS: [&str; 8] = ["", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    /// Every day of the month.
    pub const ALL_MONTHDAYS: u32 = 0xffff_fffe;
    /// Every day of the week.
    pub const ALL_WEEKDAYS: u8 = 0xfe;

    /// `hh:mm[:ss]` as seconds of the day.
    ///
    /// # Errors
    /// Says from where on it is wrong, as iptables does.
    pub fn daytime(text: &str) -> Result<u32, TimeError> {
        let wrong = |text: &str| TimeError::Daytime(text.to_owned());
        let Some((hour, Some(rest))) = part(text, 23, ':') else { return Err(wrong(text)) };
        let (minute, seconds) = part(rest, 59, ':').ok_or_else(|| wrong(rest))?;
        let mut daytime = hour * 3600 + minute * 60;
        if let Some(rest) = seconds {
            match part(rest, 59, ':') {
                Some((second, None)) => daytime += second,
                _ => return Err(wrong(rest)),
            }
        }
        Ok(daytime)
    }

    /// `YYYY[-MM[-DD[Thh[:mm[:ss]]]]]`, 1970 to 2038, as seconds since 1970.
    ///
    /// # Errors
    /// If it is no date.
    pub fn date(text: &str) -> Result<u32, TimeError> {
        let wrong = || TimeError::Date(text.to_owned());
        // Year, month, day, hour, minute, second: the most of each, and the mark behind it.
        let limits = [2038, 12, 31, 23, 59, 59].into_iter().zip(['-', '-', 'T', ':', ':', '\0']);
        let (mut parts, mut rest) = ([1970, 1, 1, 0, 0, 0], Some(text));
        for (place, (most, mark)) in parts.iter_mut().zip(limits) {
            let Some(text) = rest else { break };
            (*place, rest) = part(text, most, mark).ok_or_else(wrong)?;
        }
        let [year, month, day, hour, minute, second] = parts;
        if year < 1970 || rest.is_some() {
            return Err(wrong());
        }
        let days = CalendarDate { year, month, day }.days();
        let seconds = days * i64::from(DAY_S) + i64::from(hour * 3600 + minute * 60 + second);
        u32::try_from(seconds).map_err(|_| TimeError::BeforeEpoch)
    }

    /// Days of the month, joined by commas. (There is no day 0; iptables lets it pass.)
    ///
    /// # Errors
    /// If one is no day.
    pub fn monthdays_of(list: &str) -> Result<u32, TimeError> {
        let days = segments(list, 2).map(|text| match text {
            "" => Ok(0),
            _ => super::parse_number(text, 31).ok_or_else(|| TimeError::Monthday(text.to_owned())),
        });
        let mask = days.map(|day| Ok(1 << day?)).try_fold(0, |mask, bit| Ok(mask | bit?))?;
        Ok(mask & Self::ALL_MONTHDAYS)
    }

    /// Days of the week, by number or name, joined by commas. (Of numbers above 7 iptables makes
    /// something; here they are no days.)
    ///
    /// # Errors
    /// If one is no day.
    pub fn weekdays_of(list: &str) -> Result<u8, TimeError> {
        let mut mask = 0;
        for text in segments(list, 3) {
            let begins_with = |name: &str| text.get(..2).is_some_and(|two| name.starts_with(two));
            let named = Self::WEEKDAYS.iter().position(|name| begins_with(name));
            let day = match super::parse_number(text, 7) {
                Some(0) => return Err(TimeError::SundayFirst),
                None if text.is_empty() => return Err(TimeError::SundayFirst),
                Some(day) => day as usize,
                None => named.ok_or_else(|| TimeError::Weekday(text.to_owned()))?,
            };
            mask |= 1 << day;
        }
        Ok(mask)
    }

    fn has_daytime(&self) -> bool {
        (self.daytime_start, self.daytime_stop) != (0, DAY_S - 1)
    }

    fn named_weekdays(&self) -> String {
        let set = |day: &usize| self.weekdays >> day & 1 == 1;
        let names: Vec<_> = (1..8).filter(set).map(|day| Self::WEEKDAYS[day]).collect();
        names.join(",")
    }

    fn numbered_monthdays(&self, suffix: fn(u32) -> &'static str) -> String {
        let set = |day: &u32| self.monthdays >> day & 1 == 1;
        let days: Vec<_> = (1..32).filter(set).map(|day| format!("{day}{}", suffix(day))).collect();
        days.join(",")
    }
}

/// The items of a list, of each only the first bytes, as iptables has room for. What ends with a
/// comma has no item behind it.
fn segments(list: &str, bytes_max: usize) -> impl Iterator<Item = &str> {
    let list = list.strip_suffix(',').unwrap_or(list);
    let items = (!list.is_empty()).then(|| list.split(','));
    items.into_iter().flatten().map(move |item| &item[..item.floor_char_boundary(bytes_max)])
}

fn clock(daytime: u32) -> String {
    let (hour, minute, second) = (daytime / 3600, daytime / 60 % 60, daytime % 60);
    format!("{hour:02}:{minute:02}:{second:02}")
}

fn date_and_clock(seconds: u32, between: char) -> String {
    let CalendarDate { year, month, day } = CalendarDate::from_days(seconds / DAY_S);
    format!("{year:04}-{month:02}-{day:02}{between}{}", clock(seconds % DAY_S))
}

/// English, as iptables knows it.
fn ordinal(day: u32) -> &'static str {
    match day % 10 {
        1 => "st",
        2 => "nd",
        3 => "rd",
        _ => "th",
    }
}

impl Default for TimeMatch {
    fn default() -> Self {
        Self {
            date_start: 0,
            date_stop: DATE_STOP_DEFAULT,
            daytime_start: 0,
            daytime_stop: DAY_S - 1,
            monthdays: Self::ALL_MONTHDAYS,
            weekdays: Self::ALL_WEEKDAYS,
            contiguous: false,
        }
    }
}

impl Extension for TimeMatch {
    fn name(&self) -> &'static str {
        "time"
    }

    fn validate(&self) -> Result<(), InvalidRule> {
        let Self { daytime_start, daytime_stop, monthdays, weekdays, contiguous, .. } = *self;
        if contiguous && daytime_start < daytime_stop {
            return Err(TimeError::Contiguous.into());
        }
        if monthdays == 0 || weekdays == 0 {
            return Err(TimeError::NoDay.into());
        }
        let days = monthdays & !Self::ALL_MONTHDAYS == 0 && weekdays & !Self::ALL_WEEKDAYS == 0;
        if !days || daytime_start >= DAY_S || daytime_stop >= DAY_S {
            return Err(TimeError::Bounds.into());
        }
        Ok(())
    }

    /// As iptables, but for a `--datestop` of 0, which it loses.
    fn save(&self, words: &mut SavedWords) {
        let mut option = |name, value: String| words.option(name, &Negatable::is(value));
        if self.has_daytime() {
            option("--timestart", clock(self.daytime_start));
            option("--timestop", clock(self.daytime_stop));
        }
        if self.monthdays != Self::ALL_MONTHDAYS {
            option("--monthdays", self.numbered_monthdays(|_| ""));
        }
        if self.weekdays != Self::ALL_WEEKDAYS {
            option("--weekdays", self.named_weekdays());
        }
        if self.date_start != 0 {
            option("--datestart", date_and_clock(self.date_start, 'T'));
        }
        option("--datestop", date_and_clock(self.date_stop, 'T'));
        if self.contiguous {
            words.flag("--contiguous", false);
        }
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        line.push(format_args!(" TIME"));
        if self.has_daytime() {
            let (start, stop) = (clock(self.daytime_start), clock(self.daytime_stop));
            line.push(format_args!(" from {start} to {stop}"));
        }
        if self.weekdays != Self::ALL_WEEKDAYS {
            line.push(format_args!(" on {}", self.named_weekdays()));
        }
        if self.monthdays != Self::ALL_MONTHDAYS {
            line.push(format_args!(" on {}", self.numbered_monthdays(ordinal)));
        }
        if self.date_start != 0 {
            line.push(format_args!(" starting from {}", date_and_clock(self.date_start, ' ')));
        }
        if self.date_stop != DATE_STOP_DEFAULT {
            line.push(format_args!(" until date {}", date_and_clock(self.date_stop, ' ')));
        }
        line.push(format_args!(" UTC{}", if self.contiguous { " contiguous" } else { "" }));
    }
}
