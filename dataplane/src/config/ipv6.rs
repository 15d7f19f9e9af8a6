//! `ipv6`: whether IPv6 is forwarded.

use weir_control::ruleset::Policy;

use super::{ConfigError, refuse};

/// Whether the configuration asks for IPv6 to be forwarded; `policy` is that of chain FORWARD.
pub(super) fn parse(word: &str, policy: Policy) -> Result<bool, ConfigError> {
    match word {
        "drop" => Ok(false),
        // Whoever wants nothing to pass that no rule allows must not be mistaken.
        "forward" if policy == Policy::Drop => refuse(
            "ipv6",
            "\"forward\"",
            "`drop` with policy = \"drop\": this version has no rules for IPv6, so all of it would pass; or \
             policy = \"accept\"",
        ),
        "forward" => Ok(true),
        other => refuse("ipv6", format!("{other:?}"), "`drop` or `forward`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_is_forwarded_only_where_that_is_what_the_operator_means() {
        let parse = |word, policy| parse(word, policy).map_err(|error| error.to_string());
        assert_eq!(parse("drop", Policy::Accept), Ok(false));
        assert_eq!(parse("drop", Policy::Drop), Ok(false));
        assert_eq!(parse("forward", Policy::Accept), Ok(true));
        let error = parse("forward", Policy::Drop).expect_err("nothing would be dropped");
        assert!(error.contains("no rules for IPv6"), "{error}");
        for other in ["", "yes", "Forward"] {
            let error = parse(other, Policy::Accept).expect_err(other);
            assert!(error.contains("`drop` or `forward`"), "{error}");
        }
    }
}
