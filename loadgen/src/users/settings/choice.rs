//! Where a profile has the choice between words.

use serde::{Deserialize, Serialize};

/// What is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Talk {
    /// Bytes that are known by their place.
    #[default]
    Text,
    /// The same with heads of HTTP/1.1 before them, for boxes that look and servers that are real.
    Http,
}

/// How a client knows that the answer is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerEnd {
    /// By its length; every byte is compared.
    #[default]
    Bytes,
    /// By the server's close, whatever it has said.
    Close,
}

/// How a server knows that the request is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestEnd {
    /// By its length; every byte is compared.
    #[default]
    Bytes,
    /// By a blank line, as in HTTP, whatever stands before.
    BlankLine,
}

/// Who closes first, and so has TIME-WAIT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Closer {
    /// The server, as in HTTP with `Connection: close`.
    #[default]
    Server,
    /// The client.
    Client,
}

/// When a server answers a SYN with a cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CookieUse {
    /// Never: with a full queue, SYNs are thrown away.
    Off,
    /// When the queue is full (`tcp_syncookies = 1`).
    #[default]
    WhenFull,
    /// Always (`tcp_syncookies = 2`).
    Always,
}
