//! The engine over ports in memory: packets in, packets out, and every counter between.
//!
//! No thread, no clock, no device (but for `threads`, which is about threads, and `oracle`, which
//! asks the kernel). After *every* poll of every worker the [`world`] checks that no frame is lost
//! and that each packet is accounted for.
//!
//! | file | what it tells |
//! |---|---|
//! | `world` `side` `sizes` `delta` `packet` `chance` | the harness: engines, counters, packets, dice |
//! | `words` `spec` `asked` `content` | iptables words to rules; a naive evaluator beside them |
//! | `forward` | packets that go through |
//! | `refuse` | packets that end here, and what their senders hear |
//! | `reasons` | that every drop reason is reached |
//! | `rules` `twin` `oracle` `time_oracle` | chain FORWARD: directed, beside the naive twin, beside the kernel |
//! | `chains` | user-defined chains, beside the kernel |
//! | `residual` | the flow cache, beside the rules themselves |
//! | `reject` `reject_oracle` | packets that a rule rejects: directed, beside the kernel |
//! | `log` `log_oracle` | what rules write about packets: directed, beside the kernel |
//! | `limits` | rules that limit, over virtual time and with several workers |
//! | `set_oracle` | sets that rules look into, beside the kernel's |
//! | `recent_oracle` `connlimit_oracle` | addresses seen lately, and limits of connections, beside the kernel |
//! | `verified` | sources that have completed a handshake |
//! | `track` | connection tracking in the pipeline |
//! | `mark` `count` `flow_oracle` | marks of flows, and what their packets come to: directed, beside the kernel |
//! | `fragments` | datagrams that are put together to be judged |
//! | `raw` `raw_oracle` | table raw: directed, beside the kernel |
//! | `synproxy` `synproxy_oracle` | connections that SYNPROXY makes: directed, beside the kernel |
//! | `attacks` | floods, users beside them, and what each limit is worth |
//! | `host` | what is for the machine itself, and what it sends |
//! | `six` | all of that for IPv6 |
//! | `snapshot` | flows that go on in another process |
//! | `hold` | packets that wait for next hops |
//! | `chaos` | random everything |
//! | `threads` | workers as they run |
//! | `capture` | pcap files in and out |

mod asked;
mod attacks;
mod capture;
mod chains;
mod chance;
mod chaos;
mod connlimit;
mod connlimit_oracle;
mod content;
mod count;
mod delta;
mod flow_oracle;
mod forward;
mod fragments;
mod hashlimit_oracle;
mod hold;
mod host;
mod limits;
mod log;
mod log_oracle;
mod mark;
mod oracle;
mod packet;
mod raw;
mod raw_oracle;
mod reasons;
mod recent_oracle;
mod refuse;
mod reject;
mod reject_oracle;
mod residual;
mod rules;
mod set_oracle;
mod side;
mod six;
mod sizes;
mod snapshot;
mod spec;
mod synproxy;
mod synproxy_oracle;
mod threads;
mod time_oracle;
mod track;
mod twin;
mod verified;
mod words;
mod world;
