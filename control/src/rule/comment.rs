//! The `comment` match, which every packet fulfils (net/netfilter/xt_comment.c).

use serde::{Deserialize, Serialize};

use super::{Extension, InvalidRule, ListedLine, SavedWords};

/// How long a comment may be in bytes: the kernel's XT_MAX_COMMENT_LEN less the final zero.
pub const COMMENT_BYTES_MAX: usize = 255;

/// The `comment` match: a note beside a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommentMatch {
    /// `--comment`, at most [`COMMENT_BYTES_MAX`] bytes, no control characters but tabs: a saved rule
    /// set with a newline in it could not be read again, and others would spoil the lists.
    pub comment: String,
}

impl Extension for CommentMatch {
    fn name(&self) -> &'static str {
        "comment"
    }

    fn validate(&self) -> Result<(), InvalidRule> {
        if self.comment.len() > COMMENT_BYTES_MAX {
            return Err(InvalidRule::CommentTooLong);
        }
        if self.comment.contains(|c: char| c.is_control() && c != '\t') {
            return Err(InvalidRule::CommentControl);
        }
        Ok(())
    }

    fn save(&self, words: &mut SavedWords) {
        words.word("--comment");
        words.text(&self.comment);
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        line.push(format_args!(" /* {} */", self.comment));
    }
}
