//! The rule language from outside: against the real iptables, and against itself.

mod chains;
mod connbytes;
mod connlimit;
mod connmark;
mod conntrack;
mod content;
mod differential;
mod fuzzy;
mod generate;
mod hashlimit;
mod limit;
mod lint;
mod mark;
mod messages;
mod messages6;
mod oracle;
mod parsing;
mod properties;
mod raw;
mod recent;
mod rulesets;
mod set;
mod synproxy;
mod texts;
mod vocabulary;
