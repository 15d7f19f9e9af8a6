//! `ipv6`: whether IPv6 is forwarded.

use super::{ConfigError, refuse};

/// Whether the configuration asks for IPv6 to be forwarded.
pub(super) fn parse(word: &str) -> Result<bool, ConfigError> {
    match word {
        "drop" => Ok(false),
        "forward" => Ok(true),
        other => refuse("ipv6", format!("{other:?}"), "`drop` or `forward`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_is_forwarded_only_where_somebody_says_so() {
        let parse = |word| parse(word).map_err(|error| error.to_string());
        assert_eq!((parse("drop"), parse("forward")), (Ok(false), Ok(true)));
        for other in ["", "yes", "Forward"] {
            let error = parse(other).expect_err(other);
            assert!(error.contains("`drop` or `forward`"), "{error}");
        }
    }
}
