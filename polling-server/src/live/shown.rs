//! What a connection was shown: nothing goes back, and nothing comes twice.

use polling_core::model::Version;

use super::frame::{BoardFrame, PollFrame, Rendered};

/// What a connection was shown of a poll.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shown {
    version: Option<Version>,
}

impl Shown {
    /// As if this version had been shown; `None`: nothing was.
    #[must_use]
    pub const fn up_to(version: Option<Version>) -> Self {
        Self { version }
    }

    /// What of the frame is new to the connection; an insider sees results that not everybody sees.
    pub fn news_in<'a>(&mut self, frame: &'a PollFrame, is_insider: bool) -> Option<&'a Rendered> {
        if self.version.is_some_and(|shown| shown >= frame.version) {
            return None;
        }
        self.version = Some(frame.version);
        Some(if frame.public || is_insider { &frame.with_results } else { &frame.without_results })
    }
}

/// What a connection was shown of the leaderboard.
#[derive(Debug, Clone, Copy, Default)]
pub struct ShownBoard {
    version: Option<Version>,
}

impl ShownBoard {
    /// As if this version had been shown; `None`: nothing was.
    #[must_use]
    pub const fn up_to(version: Option<Version>) -> Self {
        Self { version }
    }

    /// The frame, if it is new to the connection. What another server has shown says nothing of ours.
    pub fn news_in<'a>(&mut self, frame: &'a BoardFrame) -> Option<&'a Rendered> {
        let version = frame.version;
        if self.version.is_some_and(|shown| shown.epoch == version.epoch && shown.number >= version.number) {
            return None;
        }
        self.version = Some(version);
        Some(&frame.rendered)
    }
}
