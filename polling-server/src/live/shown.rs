//! What a connection was shown: nothing goes back, and nothing comes twice.

use polling_core::model::Version;

use super::frame::{BoardFrame, PollFrame, Rendered};

/// What a connection was shown of a poll.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shown {
    version: Option<Version>,
    viewers: Option<u64>,
}

impl Shown {
    /// As if this version had been shown; `None`: nothing was.
    #[must_use]
    pub const fn up_to(version: Option<Version>) -> Self {
        Self { version, viewers: None }
    }

    /// What of the frame is new to the connection; an insider sees results that not everybody sees.
    pub fn news_in<'a>(&mut self, frame: &'a PollFrame, is_insider: bool) -> Option<&'a Rendered> {
        let known_viewers = std::mem::replace(&mut self.viewers, frame.viewers.as_ref().map(|viewers| viewers.count));
        if self.version.is_some_and(|shown| shown >= frame.version) {
            return frame.viewers.as_ref().filter(|viewers| known_viewers != Some(viewers.count)).map(|viewers| &viewers.alone);
        }
        self.version = Some(frame.version);
        let (with_results, without_results) = match &frame.viewers {
            Some(viewers) => (&viewers.with_results, &viewers.without_results),
            None => (&frame.with_results, &frame.without_results),
        };
        Some(if frame.public || is_insider { with_results } else { without_results })
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
