//! The body of a new poll: read in one go when it is right, explained in full when it is not.

use bytes::Bytes;
use poem_openapi::Object;
use polling_core::clock::Timestamp;
use polling_core::model::{OPTIONS_MAX, OwnerKey, Poll, PollDraft, ResultsVisibility};
use serde::Deserialize;
use serde_json::Value;

use super::fields::{FieldErrors, Fields, ObjectOf, any_json};
use super::problem::{FieldError, Problem};

/// A new poll, as a client sends it.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(rename = "NewPoll", write_only_all, deny_unknown_fields)]
pub(crate) struct NewPoll {
    /// What is asked: 1 to 500 characters after trimming.
    #[oai(validator(min_length = 1, max_length = 500))]
    pub(crate) question: String,
    /// What can be chosen: 2 to 100 distinct texts of 1 to 200 characters after trimming. They get the ids 1, 2, 3… in this order.
    #[oai(validator(min_items = 2, max_items = 100, unique_items))]
    pub(crate) options: Vec<String>,
    /// How many options one vote may name: 1 to the number of options. Absent: 1, a single choice.
    #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
    pub(crate) max_choices: Option<u64>,
    /// Whether a voter may change or retract the vote. Absent: no.
    pub(crate) allow_change: Option<bool>,
    /// From when on votes are taken, as in RFC 3339. Absent: at once.
    pub(crate) opens_at: Option<String>,
    /// Until when votes are taken, as in RFC 3339; in the future and after `opens_at`. Absent: until the owner closes the poll.
    pub(crate) closes_at: Option<String>,
    /// Who sees the results: `always` everybody, `after_vote` viewers with a counted vote, `after_close` everybody once the poll
    /// is closed. Absent: `always`.
    pub(crate) results: Option<String>,
}

/// Reads the body of a new poll, to be owned by `owner` and created at `now`.
pub(crate) fn read_poll(bytes: &Bytes, owner: OwnerKey, now: Timestamp) -> Result<Poll, Problem> {
    let draft = serde_json::from_slice::<ObjectOf<NewPoll>>(bytes).ok().and_then(|body| draft(body.0));
    match draft.map(|draft| draft.into_poll(owner, now)) {
        Some(Ok(poll)) => Ok(poll),
        Some(Err(broken)) => Err(Problem::validation(
            broken.into_iter().map(|violation| FieldError::at(violation.pointer, violation.detail)).collect(),
        )),
        None => Err(explain(&any_json(bytes)?, now)),
    }
}

/// The draft; `None` when a time or a word in it cannot be read.
fn draft(body: NewPoll) -> Option<PollDraft> {
    let time = |text: Option<String>| match text {
        Some(text) => Timestamp::parse(&text).map(Some),
        None => Some(None),
    };
    Some(PollDraft {
        question: body.question,
        options: body.options,
        max_choices: body.max_choices,
        allow_change: body.allow_change.unwrap_or(false),
        results: body.results.map_or(Some(ResultsVisibility::default()), |word| ResultsVisibility::parse(&word))?,
        opens_at: time(body.opens_at)?,
        closes_at: time(body.closes_at)?,
    })
}

/// Everything that is wrong with a body: what cannot be read, and the rules that the rest of it breaks.
fn explain(value: &Value, now: Timestamp) -> Problem {
    let mut errors = FieldErrors::default();
    let Some(mut fields) = Fields::new(value, "", &mut errors) else {
        return errors.into_problem();
    };
    let question = fields.required("question", &mut errors).and_then(|value| text(value, "/question", &mut errors));
    let options = fields.required("options", &mut errors).and_then(|value| options(value, &mut errors));
    let max_choices = fields.optional("max_choices").and_then(|value| {
        let number = value.as_u64();
        if number.is_none() {
            errors.push("/max_choices", "must be a whole number of at least 1");
        }
        number
    });
    let allow_change = fields.optional_boolean("allow_change", &mut errors);
    let results = fields.optional_text("results", &mut errors).and_then(|word| {
        let visibility = ResultsVisibility::parse(word);
        if visibility.is_none() {
            errors.push("/results", "must be always, after_vote or after_close");
        }
        visibility
    });
    let draft = PollDraft {
        // What could not be read is replaced by something that breaks no rule, so that only real errors are named.
        question: question.unwrap_or_else(|| "?".to_owned()),
        options: options.unwrap_or_else(|| (0..OPTIONS_MAX).map(placeholder).collect()),
        max_choices,
        allow_change: allow_change.unwrap_or(false),
        results: results.unwrap_or_default(),
        opens_at: fields.optional_time("opens_at", &mut errors),
        closes_at: fields.optional_time("closes_at", &mut errors),
    };
    fields.refuse_others(&mut errors);
    if let Err(broken) = draft.into_poll(OwnerKey([0; 32]), now) {
        for violation in broken {
            if !errors.covers(&violation.pointer) {
                errors.push(violation.pointer, violation.detail);
            }
        }
    }
    errors.into_problem()
}

fn options(value: &Value, errors: &mut FieldErrors) -> Option<Vec<String>> {
    let Value::Array(items) = value else {
        errors.push("/options", "must be an array");
        return None;
    };
    let texts = items.iter().enumerate().map(|(index, item)| {
        // Beyond the bound the number of items is the error, and looking further would only lengthen the answer.
        let read = if index < OPTIONS_MAX { text(item, &format!("/options/{index}"), errors) } else { None };
        read.unwrap_or_else(|| placeholder(index))
    });
    Some(texts.collect())
}

fn text(value: &Value, pointer: &str, errors: &mut FieldErrors) -> Option<String> {
    let text = value.as_str();
    if text.is_none() {
        errors.push(pointer, "must be a string");
    }
    text.map(str::to_owned)
}

/// A text that differs from the others and from whatever a client is likely to send.
fn placeholder(index: usize) -> String {
    format!("\u{fffd}{index}")
}
