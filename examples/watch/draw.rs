//! From the state to lines, and from lines to the terminal.

use std::io::{IsTerminal, Write, stdout};

use crate::frame::Entry;
use crate::state::{State, WatchedPoll};

/// Characters of a bar, at most.
const BAR_CHARS: usize = 30;
/// Characters of a text, at most; the rest is cut off.
const TEXT_CHARS: usize = 24;
/// Eighths of a character, from none.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// The terminal, or what stands in its place.
#[derive(Debug)]
pub(crate) struct Screen {
    is_terminal: bool,
    /// Lines that were drawn last, over which the next are drawn.
    drawn: usize,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { is_terminal: stdout().is_terminal(), drawn: 0 }
    }

    /// Draws over what was drawn before; into a file, below it.
    pub(crate) fn draw(&mut self, state: &State) {
        let lines = lines(state);
        let back = if self.is_terminal && self.drawn > 0 { format!("\x1b[{}A\x1b[J", self.drawn) } else { String::new() };
        self.drawn = lines.len();
        let mut out = stdout().lock();
        // Whoever closed the output does not look any more.
        let _closed = writeln!(out, "{back}{}", lines.join("\n")).and_then(|()| out.flush());
    }
}

/// What there is to see.
pub(crate) fn lines(state: &State) -> Vec<String> {
    let mut lines = Vec::new();
    for poll in &state.polls {
        draw_poll(poll, &mut lines);
    }
    if let Some(board) = &state.board {
        lines.push("Leaderboard".to_owned());
        lines.extend(board.iter().map(place));
    }
    lines.extend(state.trouble.iter().map(|trouble| format!("({trouble})")));
    lines
}

fn draw_poll(poll: &WatchedPoll, lines: &mut Vec<String>) {
    let about = match (&poll.trouble, &poll.newest) {
        (Some(trouble), _) => trouble.clone(),
        (None, None) => "…".to_owned(),
        (None, Some(results)) => format!("{}, {} voters", results.state, results.voters),
    };
    let watching = poll.viewers.map(|viewers| format!(", {viewers} watching")).unwrap_or_default();
    lines.push(format!("{}  ({about}{watching})", poll.question));
    let voters = poll.newest.as_ref().map_or(0, |results| results.voters);
    for (text, votes) in poll.options() {
        let (bar, number) = match votes {
            Some(votes) => (bar(votes, voters), votes.to_string()),
            None => (String::new(), "hidden".to_owned()),
        };
        let number = if poll.newest.is_some() { number } else { String::new() };
        lines.push(format!("  {:TEXT_CHARS$}  {bar:BAR_CHARS$} {number}", cut(text)));
    }
}

fn place(entry: &Entry) -> String {
    let moved = match entry.previous_rank {
        None => '•',
        Some(before) if before > entry.rank => '▲',
        Some(before) if before < entry.rank => '▼',
        Some(_) => ' ',
    };
    format!("  {:2} {moved} {:TEXT_CHARS$}  {:TEXT_CHARS$} {}", entry.rank, cut(&entry.text), cut(&entry.question), entry.votes)
}

/// A bar as long as the share is great.
fn bar(votes: u64, voters: u64) -> String {
    let whole = (BAR_CHARS * EIGHTHS.len()) as u64;
    let eighths = usize::try_from((votes * whole).checked_div(voters).unwrap_or(0).min(whole)).unwrap_or_default();
    format!("{}{}", "█".repeat(eighths / EIGHTHS.len()), EIGHTHS[eighths % EIGHTHS.len()])
}

/// The first characters of a text. Texts come from strangers, and a terminal obeys control characters.
fn cut(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).take(TEXT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::state::tests::{results, state, take};

    #[test]
    fn a_bar_is_as_long_as_the_share() {
        assert_eq!((bar(0, 0), bar(0, 4), bar(5, 4)), (String::new(), String::new(), "█".repeat(30)));
        assert_eq!((bar(1, 2), bar(1, 240)), ("█".repeat(15), "▏".to_owned()));
    }

    #[test]
    fn polls_and_the_leaderboard_are_lines() {
        let mut state = state();
        let entry = json!({ "rank": 1, "previous_rank": 2, "question": "Tea or coffee?", "text": "\u{1b}[2J", "votes": 3 });
        take(&mut state, results(2, [1, 3]));
        take(&mut state, json!({ "type": "leaderboard", "version": 1, "entries": [entry] }));
        let lines = lines(&state);
        assert_eq!(lines[0], "Tea or coffee?  (open, 4 voters)");
        assert!(lines[1].starts_with("  Tea ") && lines[1].ends_with(" 1") && lines[1].contains("███████▌"), "{lines:?}");
        assert!(lines[4].contains("1 ▲  [2J") && lines[4].ends_with(" 3"), "{lines:?}");
    }
}
